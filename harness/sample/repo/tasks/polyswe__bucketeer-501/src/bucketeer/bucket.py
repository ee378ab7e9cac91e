"""One bucket."""

from __future__ import annotations

import threading

from bucketeer.clock import Clock
from bucketeer.rate import Rate


class TokenBucket:
    """Holds up to `burst` tokens and is refilled at `rate`; starts full. Safe to share between threads."""

    def __init__(self, rate: Rate, burst: int, clock: Clock) -> None:
        if burst < 1:
            raise ValueError(f"burst must be at least 1, got {burst}")
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = burst
        self._refilled_at = clock.now_ns()

    def try_take(self, count: int = 1) -> bool:
        """Takes `count` tokens if there are that many, else none."""
        if not 1 <= count <= self.burst:
            raise ValueError(f"count must be between 1 and {self.burst}, got {count}")
        with self._lock:
            self._refill()
            if self._tokens < count:
                return False
            self._tokens -= count
            return True

    def level(self) -> int:
        """The number of tokens that could be taken now."""
        with self._lock:
            self._refill()
            return self._tokens

    def wait_ns(self, count: int = 1) -> int:
        """Nanoseconds until `count` tokens are there, if nobody takes any until then; 0 if they are there now."""
        with self._lock:
            self._refill()
            missing = count - self._tokens
            if missing <= 0:
                return 0
            return -(-missing * self.rate.period_ns // self.rate.tokens)

    def _refill(self) -> None:
        now = self._clock.now_ns()
        elapsed = now - self._refilled_at
        if elapsed <= 0:  # another thread was faster
            return
        fresh = elapsed * self.rate.tokens // self.rate.period_ns
        self._tokens = min(self.burst, self._tokens + fresh)
        self._refilled_at = now
