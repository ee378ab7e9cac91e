"""What a log proves: the official grader's verdict, read again from the test output.

The log is somebody else's text and the grader's parsers were not made for hostile ones. They run in a process of its
own, which is ended when a log takes it too long, and may take so much memory and no more.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentUnavailableError
from harness.submission.tree import MAX_UNPACKED_BYTES, Tree

TEST_OUTPUT = "test_output.txt"
GRADING_FIELDS = ("log_parser", "eval_type", "FAIL_TO_PASS", "PASS_TO_PASS")
"""What reading a log takes; the script that made it is not run again."""
SENT_FIELDS = ("instance_id", "repo", "version", "eval_script", "test_patch", "problem_statement", *GRADING_FIELDS)
"""Fields of a row that the grading process is given."""
SECONDS = 120.0
"""Processor time to grade one log; most take less than a second, one of 200 MB about 35."""
WAIT = 10
"""Times as long is waited for it, on a busy machine."""
START_SECONDS = 300.0
"""Time to load the official harness, on a busy machine with a slow disk."""
MEMORY_BYTES = 6 * 2**30
"""Address space of the grading process."""


class DamagedLogError(ValueError):
    """A test output that cannot be graded: too large, too slow to read, a broken archive, or no text."""


class CostlyLogError(DamagedLogError):
    """A test output that took more time or memory than it may."""


@dataclass(frozen=True)
class LogVerdict:
    """What the official grader says of a log, and what makes its passes doubtful."""

    resolved: bool
    suspicions: tuple[str, ...]
    """Kinds of `harness.grading.suspect`."""


def can_be_graded(row: Mapping[str, Any]) -> bool:
    """Whether a dataset row says how its log is read."""
    return all(row.get(name) not in (None, "") for name in GRADING_FIELDS)


def find_test_output(tree: Tree, folder: str) -> str | None:
    """The name of `test_output.txt` or `test_output.txt.gz` in a log folder."""
    names = (f"{folder}/{TEST_OUTPUT}", f"{folder}/{TEST_OUTPUT}.gz")
    return next((name for name in names if name in tree.sizes), None)


class LogGrader:
    """Grades logs in a process of its own that starts with the first log, and again after one that ended it.

    Args:
        seconds: Processor time for one log.
        memory: Address space of the process in bytes.
    """

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY_BYTES) -> None:
        self.seconds = seconds
        self.memory = memory
        self._process: subprocess.Popen[bytes] | None = None

    def grade(self, row: Mapping[str, Any], patch: str, tree: Tree, name: str) -> LogVerdict:
        """Whether the official grader finds the instance resolved in a test output (plain or .gz).

        The report that came with it is not looked at: `swebench.harness.grading.get_eval_report` on the log is the
        verdict.

        Raises:
            DamagedLogError: The log cannot be graded; CostlyLogError where that takes too much.
            EnvironmentUnavailableError: The grading process cannot be started.
            UnreadableFileError: The log cannot be read.
        """
        with _plain(tree, name) as log:
            sent = {name: row[name] for name in SENT_FIELDS if row.get(name) is not None}
            answer = self._ask({"row": {"version": None, **sent}, "patch": patch, "log": str(log)})
        if error := answer.get("error"):
            raise (CostlyLogError if answer.get("costly") else DamagedLogError)(error)
        return LogVerdict(bool(answer["resolved"]), tuple(answer["suspicions"]))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self._start()
        answer = self._exchange(json.dumps(job).encode() + b"\n", self.seconds * WAIT)
        if answer is None:
            self.close()
            limits = f"{self.seconds:.0f} s of processor time and {self.memory / 2**30:.0f} GB of memory"
            return {"error": f"not graded within {limits}", "costly": True}
        if answer.get("costly"):  # what is left of its memory is in pieces
            self.close()
        return answer

    def _start(self) -> None:
        self.close()
        self._process = subprocess.Popen(
            # -X utf8: the official harness reads logs in the locale's encoding
            [
                sys.executable,
                "-P",
                "-X",
                "utf8",
                "-m",
                "harness.submission.log_process",
                str(self.memory),
                str(self.seconds),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._exchange(b"", START_SECONDS) is None:
            self.close()
            raise EnvironmentUnavailableError("the official harness cannot be loaded to grade logs: see polyswe doctor")

    def _exchange(self, message: bytes, seconds: float) -> dict[str, Any] | None:
        """The process's next answer, or None when it ended or took too long."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(message)
            process.stdin.flush()
        except BrokenPipeError:
            return None
        until = time.monotonic() + seconds
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
            part = os.read(process.stdout.fileno(), 2**16) if ready else b""
            if not part:
                return None
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer


@cache
def shared_grader() -> LogGrader:
    """The grader of this process; its process ends with this one."""
    return LogGrader()


@contextmanager
def _plain(tree: Tree, name: str) -> Iterator[Path]:
    """A test output as a file that is not packed."""
    if not name.endswith(".gz"):
        if tree.sizes[name] > MAX_UNPACKED_BYTES:
            raise DamagedLogError(f"larger than {MAX_UNPACKED_BYTES >> 20} MB")
        yield tree.root / name
        return
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        try:
            for block in tree.blocks(name):
                file.write(block)
            file.flush()
        except OSError as error:
            raise EnvironmentUnavailableError(f"no room to unpack a log in {file.name} ({error.strerror})") from error
        yield Path(file.name)
