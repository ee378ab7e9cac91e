"""A bucket per key."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass

from bucketeer.bucket import TokenBucket
from bucketeer.clock import SECOND, Clock, SystemClock
from bucketeer.rate import Rate


class AcquireTimeout(Exception):
    """The tokens would not have been there in time; none were taken."""

    def __init__(self, key: Hashable, wait_ns: int) -> None:
        super().__init__(f"{key!r} is limited for another {wait_ns / SECOND:.3f} s")
        self.key = key
        self.wait_ns = wait_ns


@dataclass(frozen=True)
class KeyState:
    """What a dashboard shows about a key; `retry_after` is in seconds."""

    available: int
    burst: int
    retry_after: float


class Limiter:
    """Hands out tokens of a rate to the consumers of each key."""

    def __init__(self, rate: Rate, burst: int, clock: Clock | None = None) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock or SystemClock()
        self._buckets: dict[Hashable, TokenBucket] = {}
        self._lock = threading.Lock()

    def try_acquire(self, key: Hashable, count: int = 1) -> bool:
        """Takes the tokens now or not at all."""
        return self._bucket(key).try_take(count)

    def acquire(self, key: Hashable, count: int = 1, timeout: float | None = None) -> None:
        """Waits for the tokens; raises AcquireTimeout as soon as it is clear that `timeout` seconds are too few."""
        bucket = self._bucket(key)
        deadline = None if timeout is None else self._clock.now_ns() + round(timeout * SECOND)
        while not bucket.try_take(count):
            wait = bucket.wait_ns(count)
            if deadline is not None and self._clock.now_ns() + wait > deadline:
                raise AcquireTimeout(key, wait)
            self._clock.sleep_ns(wait)

    def retry_after(self, key: Hashable, count: int = 1) -> float:
        """Seconds until `count` tokens are there."""
        return self._bucket(key).wait_ns(count) / SECOND

    def snapshot(self) -> dict[Hashable, KeyState]:
        """The state of every key that has been used."""
        with self._lock:
            buckets = list(self._buckets.items())
        return {key: KeyState(b.level(), b.burst, b.wait_ns() / SECOND) for key, b in buckets}

    def forget_idle(self) -> int:
        """Drops the buckets that are full, which a new one could not be told from; returns how many."""
        with self._lock:
            idle = [key for key, bucket in self._buckets.items() if bucket.level() == bucket.burst]
            for key in idle:
                del self._buckets[key]
        return len(idle)

    def _bucket(self, key: Hashable) -> TokenBucket:
        with self._lock:
            if key not in self._buckets:
                self._buckets[key] = TokenBucket(self.rate, self.burst, self._clock)
            return self._buckets[key]
