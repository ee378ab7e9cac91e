"""An attempt's clock: its wall-clock limit, time excused because a provider failed, and requests to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class OutOfTimeError(Exception):
    """The wall-clock limit has passed."""


class StopRequestedError(Exception):
    """The caller asked the attempt to end."""


class Watch:
    def __init__(self, limit_seconds: float = 0, should_stop: Callable[[], bool] | None = None) -> None:
        """`limit_seconds` of 0 means no limit. `should_stop` is asked often and must be cheap."""
        self.limit_seconds = limit_seconds
        self.should_stop = should_stop or (lambda: False)
        self.started = time.monotonic()
        self.excused = 0.0

    def remaining(self) -> float:
        """Seconds left, not below zero; infinite without a limit."""
        if not self.limit_seconds:
            return math.inf
        return max(0.0, self.limit_seconds + self.excused - (time.monotonic() - self.started))

    def excuse(self, seconds: float) -> None:
        """Give back time that a provider's failure cost: it must not become the model's failure."""
        self.excused += seconds

    def check(self) -> None:
        """Raise StopRequestedError or OutOfTimeError when the attempt has to end."""
        if self.should_stop():
            raise StopRequestedError
        if self.remaining() <= 0:
            raise OutOfTimeError

    def pause(self, seconds: float) -> None:
        """Sleep between retries, excused, ending early with StopRequestedError when asked to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.should_stop():
                raise StopRequestedError
            time.sleep(min(left, 0.2))
        self.excuse(seconds)
