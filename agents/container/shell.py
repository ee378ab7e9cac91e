"""A shell in a container that runs one command after another.

To start a process in a container takes the engine a tenth of a second of processor time; this is paid once, and again
after a command that leaves the shell in doubt.
"""

from __future__ import annotations

import errno
import os
import re
import selectors
import subprocess
import time
import uuid
from collections.abc import Sequence
from typing import IO, cast

from agents.container.capture import Bounded, Captured
from agents.container.shell_scripts import LISTEN, SHELL

DRAIN_SECONDS = 2.0
"""How long a command's output is read after the command has ended, should a process in the background hold it open: as
long as the engine itself waits for a process it has started."""

UNSWEPT = -254
"""Return code of a command that could not be ended, or not be started for want of processes."""

LONGEST_WORD = 131_071
"""Bytes of one argument of a program, by Linux (MAX_ARG_STRLEN)."""

_CHUNK = 65_536


class Shell:
    """Not thread-safe: a container has one agent, which does one thing at a time."""

    def __init__(self, executable: str, container: str) -> None:
        """executable: docker's client program."""
        self.command = [executable, "exec", "-i", "-w", "/", container, "bash", "-p", "-c", LISTEN]
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, words: Sequence[str], *, cwd: str, ticks: int, tag: str, timeout: float, max_bytes: int) -> Captured:
        """Run a program and wait for it, at most `timeout` seconds.

        ticks: hundredths of a second after which whatever the program has started is killed when it ends.
        tag: an assignment in the program's environment, by which what it has started is known.
        Raises OSError for words that are too long, ValueError or TypeError for those that are no arguments.
        """
        mark = uuid.uuid4().bytes.hex().encode()
        fields = [mark, *(_field(word) for word in (cwd, str(ticks), tag, *words))]
        request = b"".join(field + b"\0" for field in (str(len(fields)).encode(), *fields))
        deadline = time.monotonic() + timeout
        answer = self._ask(request, mark, deadline, max_bytes)
        if answer.unheard and not answer.fresh:  # the shell was killed after its last command, not by this one
            answer = self._ask(request, mark, deadline, max_bytes)
        return answer.captured

    def close(self) -> None:
        """End the client; the shell ends with its standard input. Safe to call again; `run` starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()

    def _ask(self, request: bytes, mark: bytes, deadline: float, max_bytes: int) -> _Answer:
        fresh = self._process is None
        if self._process is None:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                start_new_session=True,  # a terminal's Ctrl-C must not cut off what a command prints
            )  # fmt: skip
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)
            request = SHELL.encode() + b"\0" + request
        answer = _Answer(self._process, request, mark, max_bytes, fresh=fresh)
        try:
            answer.read(deadline)
        finally:
            if not answer.done:  # it may be in the middle of anything: the next command gets another
                self.close()
        return answer


class _Answer:
    """What comes back for one request."""

    def __init__(
        self, process: subprocess.Popen[bytes], request: bytes, mark: bytes, size: int, *, fresh: bool
    ) -> None:
        self.process = process
        self.stdin, self.stdout, self.stderr = (
            cast(IO[bytes], p) for p in (process.stdin, process.stdout, process.stderr)
        )
        self.request = memoryview(request)
        self.mark = mark
        self.fresh = fresh
        self.returncode: int | None = None
        self._begun = False
        self._marked: int | None = None
        self._unended = False
        self._end = re.compile(re.escape(mark) + rb"(\d{1,3})\0\Z")
        self._ended = re.compile(rb"^ended " + re.escape(mark) + rb" (\d{1,3})\n", re.MULTILINE)
        self._kept = Bounded(size)
        self._pending = b""
        self._said = b""

    @property
    def unheard(self) -> bool:
        """Whether the shell was gone before it began."""
        return self.returncode is not None and not self.answered

    @property
    def answered(self) -> bool:
        return self._begun or self._marked is not None

    @property
    def done(self) -> bool:
        """Whether the shell is ready for the next request. The two pipes keep no step with each other."""
        return self._marked is not None and (self._marked > 0 or self.returncode is not None)

    @property
    def captured(self) -> Captured:
        return Captured(self._kept.value(), self._kept.complete, self.returncode, self.answered, self._unended)

    def read(self, deadline: float) -> None:
        """Until the mark, the shell's end, the end of a drained command, or the deadline."""
        with selectors.PollSelector() as selector:  # unlike epoll's it asks the kernel for nothing but to wait
            selector.register(self.stdin, selectors.EVENT_WRITE)
            selector.register(self.stdout, selectors.EVENT_READ)
            selector.register(self.stderr, selectors.EVENT_READ)
            drained = float("inf")
            while not self.done:
                left = min(deadline, drained) - time.monotonic()
                if left <= 0:
                    break
                for key, _ in selector.select(left):
                    self._step(selector, key.fileobj)  # type: ignore[arg-type]
                if self.stdout not in (key.fileobj for key in selector.get_map().values()):
                    self._shell_ended(deadline)
                    return
                if self.returncode is not None and drained == float("inf"):
                    drained = time.monotonic() + DRAIN_SECONDS
        if self._marked is None:
            self._kept.add(self._pending)
        elif self._marked:
            self.returncode = _without_exit_code(self._marked)

    def _step(self, selector: selectors.BaseSelector, pipe: IO[bytes]) -> None:
        if pipe is self.stdin:
            try:
                self.request = self.request[os.write(pipe.fileno(), self.request[:_CHUNK]) :]
            except BrokenPipeError:
                self.request = self.request[:0]
            if not self.request:
                selector.unregister(pipe)
            return
        chunk = os.read(pipe.fileno(), _CHUNK)
        if not chunk:
            selector.unregister(pipe)
        elif pipe is self.stderr:
            self._hear(chunk)
        else:
            self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        """Keep output, but hold back what may be the mark: it is the last thing the shell prints."""
        pending = self._pending + chunk
        if end := self._end.search(pending, max(0, len(pending) - len(self.mark) - 4)):
            self._marked = int(end[1])
            self._kept.add(pending[: end.start()])
            return
        cut = max(0, len(pending) - len(self.mark) - 4)
        self._kept.add(pending[:cut])
        self._pending = pending[cut:]

    def _hear(self, chunk: bytes) -> None:
        self._said = (self._said + chunk)[-10_000:]
        self._begun = self._begun or b"begun " + self.mark in self._said
        if ended := self._ended.search(self._said):
            self.returncode = int(ended[1])

    def _shell_ended(self, deadline: float) -> None:
        """Somebody killed it, or the container is gone, or the engine: its client says which."""
        self._kept.add(self._pending)
        self._unended = self._marked is None
        try:
            code = self.process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return
        self._hear(self.stderr.read() or b"")
        words = re.compile(rb"^(begun|ended) " + re.escape(self.mark) + rb".*\n", re.MULTILINE)
        self._kept.add(words.sub(b"", self._said))
        self.returncode = _without_exit_code(code)


def _without_exit_code(status: int) -> int:
    """Of a shell that says, or whose end says, that there is none of the command's."""
    return UNSWEPT if status == 254 else status


def _field(word: str) -> bytes:
    field = os.fsencode(word)
    if b"\0" in field:
        raise ValueError("embedded null byte")
    if len(field) > LONGEST_WORD:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    return field
