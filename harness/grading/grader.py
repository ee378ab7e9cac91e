"""Verdicts, by the official harness only: `swebench.harness.run_evaluation.run_instance` on one prediction.

What is ours is around it: worker processes, a run id per cell and patch, no 15 s wait for a container to stop, and
telling apart why a run has no report (swebench 5.0.2 returns None for all of these).
"""

from __future__ import annotations

import hashlib
import json
import queue
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from tenacity import Retrying, retry_if_result, wait_exponential

from agents.container.limits import ContainerLimits
from harness.data.instances import Instance
from harness.docker.engine import CELL_LABEL, RUN_LABEL
from harness.files import slug
from harness.grading.verdict import Grade, Verdict, read_verdict

KEPT_FILES = ("report.json", "test_output.txt", "run_instance.log", "eval.sh")
"""Files of the official log folder that are kept in the cell's folder."""

PREPARED_AHEAD = 4
"""How many gradings at most are set up or cleaned up while others' tests run."""

CLEANUP_SECONDS = 70.0
"""Seconds that worker processes may take to remove their last containers."""


class Grader:
    """Grades with at most `workers` instances' tests at the same time; safe to call from many threads.

    While these run, the containers of up to PREPARED_AHEAD others are set up or cleaned up: call from
    `gradings_in_flight` threads.
    """

    def __init__(
        self,
        run_label: str,
        scratch: Path,
        *,
        workers: int,
        timeout: int = 1800,
        attempts: int = 3,
        limits: ContainerLimits | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            run_label: marks the containers of this run.
            scratch: folder in which the official harness may write; emptied cell by cell.
            workers: instances whose tests run at the same time.
            timeout: seconds an instance's tests may take.
            attempts: tries of a grading that failed, or may have failed, for infrastructure reasons.
            limits: what a grading's container may take of the machine; None takes no limits, as the official harness.
            give_up: asked before another try.
        """
        self.run_label = run_label
        self.scratch = scratch
        self.timeout = timeout
        self.attempts = attempts
        self.limits = limits.arguments() if limits else {}
        self.give_up = give_up
        self.gradings_in_flight = workers + min(workers, PREPARED_AHEAD)
        self._tests = threading.BoundedSemaphore(workers)
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.gradings_in_flight):
            self._idle.put(None)
        self._workers: list[_Worker] = []
        self._starting = threading.Lock()
        self._origin: _Origin | None = None

    def warm_up(self) -> None:
        """Begin to import the official harness before there is a patch to grade."""
        with self._starting:
            if self._origin is None or not self._origin.alive:
                self._origin = _Origin(self.scratch)

    def grade(self, instance: Instance, model: str, patch: str, cell_dir: Path) -> Grade:
        """The official verdict on a patch; report, test output and logs are kept in `cell_dir`."""
        if not patch:  # the official command line does not run these either
            return Grade(Verdict.EMPTY_PATCH)
        tries = Retrying(
            retry=retry_if_result(lambda grade: not grade.verdict.final or grade.suspect),
            stop=lambda state: state.attempt_number >= self.attempts or self.give_up(),
            wait=wait_exponential(multiplier=0.5, max=30),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        grade: Grade = tries(self._grade_once, instance, model, patch, cell_dir)
        return grade

    def _grade_once(self, instance: Instance, model: str, patch: str, cell_dir: Path) -> Grade:
        started = monotonic()
        model_slug = slug(model)
        # the patch's hash binds the verdict to the patch: the harness takes any report.json it finds for this run id
        digest = hashlib.sha256(patch.encode()).hexdigest()[:12]
        job = {
            "row": dict(instance.row),
            "model": model_slug,
            "patch": patch,
            "run_id": f"{self.run_label}.{model_slug}.{digest}",
            "timeout": self.timeout,
            "limits": self.limits,
            "labels": {RUN_LABEL: self.run_label, CELL_LABEL: f"{instance.instance_id}/{model}"},
        }
        worker = self._idle.get()
        try:
            if worker is None or not worker.alive:
                self.warm_up()
                assert self._origin is not None
                worker = _Worker(self._origin, self._tests)
                self._workers.append(worker)
            answer = worker.ask(job)
        finally:
            self._idle.put(worker)
        if answer is None:
            detail = f"the grading process died ({worker.last_words()})"
            return Grade(Verdict.INFRASTRUCTURE, detail, monotonic() - started)
        log_dir = self.scratch / answer["log_dir"]
        grade = read_verdict(log_dir, answer["report"])
        if answer["error"] and not grade.verdict.final:
            grade = replace(grade, detail=answer["error"])
        _keep(log_dir, cell_dir)
        return replace(grade, seconds=monotonic() - started)

    def close(self) -> None:
        """End the worker processes, once their containers are gone."""
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.wait()
        if self._origin is not None:
            self._origin.close()

    def __enter__(self) -> Grader:
        self.warm_up()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _keep(log_dir: Path, cell_dir: Path) -> None:
    cell_dir.mkdir(parents=True, exist_ok=True)
    for name in KEPT_FILES:
        if (log_dir / name).is_file():
            shutil.move(log_dir / name, cell_dir / name)
        else:
            (cell_dir / name).unlink(missing_ok=True)  # of an earlier try: would be taken for this one's
    shutil.rmtree(log_dir, ignore_errors=True)


class _Origin:
    """The process that has imported the official harness and forks the workers. It dies with the thread that started
    it, and the workers with it."""

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
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, end: socket.socket) -> None:
        """A worker at the other side of a socket; where there is none to be had, that side is simply closed."""
        with suppress(BrokenPipeError):
            socket.send_fds(self._control, [b"f"], [end.fileno()])

    def last_words(self) -> str:
        """The last line any grading process of this run wrote to its log."""
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1].strip()[:200] if lines else "it said nothing"

    def close(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


class _Worker:
    """One grading process, by its socket."""

    def __init__(self, origin: _Origin, tests: threading.BoundedSemaphore) -> None:
        self._origin = origin
        self._tests = tests
        self._end, theirs = socket.socketpair()
        self._lines = self._end.makefile("rw", encoding="utf-8", newline="\n")
        with theirs:
            origin.fork(theirs)
        ready = self._read()
        self.pid: int | None = ready["ready"] if ready else None

    @property
    def alive(self) -> bool:
        try:
            return self.pid is not None and self._end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except ConnectionError:
            return False

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to one job, or None when the process died over it."""
        testing = False
        try:
            self._say(job)
            while (answer := self._read()) is not None and "tests" in answer:
                if answer["tests"] == "ready":
                    self._tests.acquire()
                    testing = True
                    self._say({"tests": "go"})
                else:
                    self._tests.release()
                    testing = False
            return answer
        except ConnectionError:
            return None
        finally:
            if testing:
                self._tests.release()

    def _say(self, message: Mapping[str, Any]) -> None:
        self._lines.write(json.dumps(message, default=str) + "\n")
        self._lines.flush()

    def _read(self) -> dict[str, Any] | None:
        try:
            line = self._lines.readline()
        except ConnectionError:
            return None
        answer: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return answer

    def last_words(self) -> str:
        return self._origin.last_words()

    def hang_up(self) -> None:
        """No more jobs: the process ends when what it still has to remove is gone."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_WR)

    def wait(self) -> None:
        """Until the process has ended."""
        self._end.settimeout(CLEANUP_SECONDS)
        with suppress(OSError):  # it takes too long: it is killed with its origin
            self._end.recv(1)
        with suppress(OSError):  # what could not be said to a dead process is still in the buffer
            self._lines.close()
        self._end.close()
