"""An attempt's clock: its wall-clock limit, and time excused because a provider failed."""

from __future__ import annotations

import math
import time


class OutOfTimeError(Exception):
    """The wall-clock limit has passed."""


class Deadline:
    """The clock of one attempt."""

    def __init__(self, limit_seconds: float = 0) -> None:
        """Start the clock.

        Args:
            limit_seconds: 0 means no limit.
        """
        self.limit_seconds = limit_seconds
        self.started = time.monotonic()
        self.excused = 0.0

    def remaining(self) -> float:
        """Seconds left, not below zero; infinite without a limit."""
        if not self.limit_seconds:
            return math.inf
        return max(0.0, self.limit_seconds + self.excused - (time.monotonic() - self.started))

    def extend(self, seconds: float) -> None:
        """Give back time that a provider's failure cost: it must not become the model's failure."""
        self.excused += seconds

    def check(self) -> None:
        """Raise OutOfTimeError when the attempt has to end."""
        if self.remaining() <= 0:
            raise OutOfTimeError

    def pause(self, seconds: float) -> None:
        """Sleep between retries, excused."""
        time.sleep(seconds)
        self.extend(seconds)
