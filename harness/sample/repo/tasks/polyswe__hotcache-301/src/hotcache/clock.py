"""Where the cache takes the time from; replaceable so that expiry can be tested without waiting."""

from typing import Protocol


class Clock(Protocol):
    def __call__(self) -> float: ...


class ManualClock:
    """A clock that stands still until told otherwise."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self.now += seconds
