"""The run's side of the grading processes (`harness.grading.worker` is the other)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from harness.grading.disk import GradingDisk


class HarnessProcess:
    """The process that has imported the official harness and forks a child for every grading.

    It dies with the thread that started it, and its children with it.
    """

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._log_path = scratch / "workers.log"
        self._control, theirs = socket.socketpair()
        with theirs, self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.grading.worker", str(scratch)],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                # Ctrl-C reaches the whole foreground group; the run decides what to finish
                start_new_session=True,
                # the official harness reads patches and logs in the locale's encoding
                env={**os.environ, "PYTHONUTF8": "1"},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self) -> GradingProcess:
        """A child for one grading. Where it cannot be had, it answers like one that died."""
        ours, theirs = socket.socketpair()
        with theirs, suppress(BrokenPipeError):
            socket.send_fds(self._control, [b"f"], [theirs.fileno()])
        return GradingProcess(ours)

    def last_log_line(self) -> str:
        """The last line any grading process of this run wrote to its log."""
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1].strip()[:200] if lines else "it logged nothing"

    def close(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


class GradingProcess:
    """A child that grades one prediction, by its socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lines = end.makefile("rw", encoding="utf-8", newline="\n")
        self._pid: int | None = None

    def run(
        self,
        job: Mapping[str, Any],
        *,
        disk: GradingDisk,
        on_ready: Callable[[], object],
        on_tested: Callable[[], object],
        reading_seconds: float,
    ) -> dict[str, Any] | None:
        """The answer to the job, or None when the process died over it.

        Args:
            job: what `harness.grading.worker.grade` takes.
            disk: watches its container.
            on_ready: called when the tests could begin; they begin when it returns.
            on_tested: called when they are over, also by the death of the process.
            reading_seconds: how long the official harness may read the test output.

        Raises:
            TimeoutError: it read longer.
        """
        testing = False
        try:
            self._send(job)
            while (answer := self._receive()) is not None and "phase" in answer:
                match answer["phase"]:
                    case "started":
                        self._pid = answer["pid"]
                    case "container":
                        disk.container_started(answer["name"])
                    case "ended":
                        self._send({"ended_for": disk.ended_for})
                    case "ready":
                        on_ready()
                        testing = True
                        self._send({"tests": "go"})
                    case "tested":
                        testing = False
                        on_tested()
                    case "reading":
                        # a regular expression at work cannot be interrupted, so the time is taken from outside
                        self._end.settimeout(reading_seconds)
                    case "read":
                        self._end.settimeout(None)
            return answer
        except ConnectionError:
            return None
        except TimeoutError:
            if self._pid is not None:
                os.kill(self._pid, signal.SIGKILL)
            raise
        finally:
            if testing:
                on_tested()

    def _send(self, message: Mapping[str, Any]) -> None:
        self._lines.write(json.dumps(message, default=str) + "\n")
        self._lines.flush()

    def _receive(self) -> dict[str, Any] | None:
        line = self._lines.readline()
        message: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be sent to a dead process is still in the buffer
            self._lines.close()
        self._end.close()
