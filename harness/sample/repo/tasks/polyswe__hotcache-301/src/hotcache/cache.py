"""The cache itself: recency, expiry and the ledger put together."""

from collections.abc import Callable, Hashable
from typing import Any

from hotcache.clock import Clock
from hotcache.entry import Entry
from hotcache.ledger import Ledger, ValueTooLargeError
from hotcache.recency import Recency

Listener = Callable[[Hashable, Any, str], None]


class Cache:
    def __init__(
        self,
        capacity: int,
        weigher: Callable[[Any], int] = lambda value: 1,
        ttl: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if clock is None:
            from time import monotonic as clock
        self._clock = clock
        self._ttl = ttl
        self._recency = Recency()
        self._ledger = Ledger(capacity, weigher)
        self._listeners: list[Listener] = []

    @property
    def used(self) -> int:
        return self._ledger.used

    @property
    def capacity(self) -> int:
        return self._ledger.capacity

    def __len__(self) -> int:
        self.expire()
        return len(self._recency)

    def __contains__(self, key: Hashable) -> bool:
        return self._live(key) is not None

    def keys(self) -> list[Hashable]:
        """Least recently used first."""
        self.expire()
        return [entry.key for entry in self._recency]

    def on_evicted(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def get(self, key: Hashable, default: Any = None) -> Any:
        entry = self._live(key)
        if entry is None:
            return default
        self._recency.touch(key)
        return entry.value

    def put(self, key: Hashable, value: Any, ttl: float | None = None) -> None:
        """Store a value, making room for it. ``ttl`` overrides the cache's own. Raises ValueTooLargeError."""
        self.discard(key)
        self._insert(Entry(key, value, self._deadline(ttl)))

    def update(self, key: Hashable, change: Callable[[Any], Any]) -> None:
        """Let ``change`` work on the stored value in place, then account for its new weight; keeps the deadline.

        Raises KeyError for an absent key and ValueTooLargeError when the value outgrew the cache (it is dropped then).
        """
        entry = self._live(key)
        if entry is None:
            raise KeyError(key)
        self._remove(key)
        change(entry.value)
        self._insert(entry)

    def discard(self, key: Hashable) -> bool:
        """Forget a key; whether it was there."""
        return self._remove(key) is not None

    def clear(self) -> None:
        for entry in self._recency.drain():
            self._ledger.refund(entry)

    def expire(self) -> int:
        """Drop whatever is past its deadline; how many entries that were."""
        now = self._clock()
        gone = [entry for entry in self._recency if entry.expired(now)]
        for entry in gone:
            self._evict(entry, "expired")
        return len(gone)

    def _insert(self, entry: Entry) -> None:
        try:
            weight = self._ledger.admit(entry.value)
        except ValueTooLargeError as error:
            raise ValueTooLargeError(f"{entry.key!r}: {error}") from None
        if not self._ledger.fits(weight):
            self.expire()
        while not self._ledger.fits(weight):
            self._evict(self._recency.coldest(), "capacity")
        self._ledger.charge(entry)
        self._recency.push(entry)

    def _deadline(self, ttl: float | None) -> float | None:
        seconds = self._ttl if ttl is None else ttl
        return None if seconds is None else self._clock() + seconds

    def _live(self, key: Hashable) -> Entry | None:
        entry = self._recency.peek(key)
        if entry is not None and entry.expired(self._clock()):
            self._evict(entry, "expired")
            return None
        return entry

    def _remove(self, key: Hashable) -> Entry | None:
        entry = self._recency.pop(key)
        if entry is not None:
            self._ledger.refund(entry)
        return entry

    def _evict(self, entry: Entry, reason: str) -> None:
        self._remove(entry.key)
        for listener in self._listeners:
            listener(entry.key, entry.value, reason)
