"""Where the time comes from."""

from __future__ import annotations

import threading
import time
from typing import Protocol

SECOND = 1_000_000_000


class Clock(Protocol):
    """A monotonic clock that counts nanoseconds from an arbitrary start."""

    def now_ns(self) -> int: ...

    def sleep_ns(self, duration: int) -> None: ...


class SystemClock:
    """The machine's monotonic clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_ns(self, duration: int) -> None:
        time.sleep(duration / SECOND)


class ManualClock:
    """A clock for tests: it moves when it is told to, and whoever sleeps moves it."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        with self._lock:
            return self._now

    def sleep_ns(self, duration: int) -> None:
        with self._lock:
            self._now += duration

    def advance(self, seconds: float) -> None:
        self.sleep_ns(round(seconds * SECOND))
