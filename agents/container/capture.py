"""Run a program and keep a bounded part of what it prints."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Captured:
    """What a program left."""

    output: bytes
    """Standard output and error as they came, or their head and tail."""
    complete: bool
    """Whether all of the output was kept."""
    returncode: int | None
    """None when the program was still running at the timeout (and was killed)."""

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")


def run_captured(command: Sequence[str], *, timeout: float, max_bytes: int) -> Captured:
    """Run a program without input.

    Args:
        command: the program and its arguments.
        timeout: seconds after which the program is killed.
        max_bytes: bytes of output to keep, half from its head and half from its tail.

    Raises:
        OSError: the program cannot be started, or an argument is too long.
        ValueError: an argument holds a NUL byte or cannot be encoded.
        TypeError: an argument is not a string.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,  # a program that waits for input would otherwise read the user's terminal
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,  # Ctrl-C in a terminal is handled by us: it must not cut off what the program prints
    )
    kept = Bounded(max_bytes)
    # joining a thread returns the moment it ends, where Popen.wait(timeout) polls with pauses of up to 50 ms
    reader = threading.Thread(target=_read_all, args=(process, kept), daemon=True)
    reader.start()
    try:
        reader.join(min(timeout, threading.TIMEOUT_MAX))
        if reader.is_alive():
            return Captured(kept.value(), kept.complete, None)
        return Captured(kept.value(), kept.complete, process.wait())
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _read_all(process: subprocess.Popen[bytes], kept: Bounded) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        while chunk := stream.read(65536):
            kept.add(chunk)


class Bounded:
    """The head and the tail of a stream, so that a command that prints without end does not fill the memory."""

    def __init__(self, limit: int) -> None:
        """Keep everything up to about `limit` bytes; beyond that the first and the last half of it."""
        self.half = max(1, limit // 2)
        self.head = bytearray()
        self.tail: deque[bytes] = deque()
        self.tail_size = 0
        self.dropped = 0

    @property
    def complete(self) -> bool:
        return not self.dropped

    def add(self, chunk: bytes) -> None:
        if room := self.half - len(self.head):
            self.head += chunk[:room]
            chunk = chunk[room:]
        if chunk:
            self.tail.append(chunk)
            self.tail_size += len(chunk)
        while self.tail and self.tail_size - len(self.tail[0]) >= self.half:
            self.dropped += len(self.tail[0])
            self.tail_size -= len(self.tail.popleft())

    def value(self) -> bytes:
        note = f"\n[{self.dropped} bytes of output dropped]\n".encode() if self.dropped else b""
        return bytes(self.head) + note + b"".join(list(self.tail))
