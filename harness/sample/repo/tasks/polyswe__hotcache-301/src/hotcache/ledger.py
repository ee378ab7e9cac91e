"""Size accounting, apart from the cache so that no path can forget one half of it."""

from collections.abc import Callable
from typing import Any

from hotcache.entry import Entry


class ValueTooLargeError(ValueError):
    """One value alone would not fit the cache."""


class Ledger:
    """Books entries in and out and knows how much of the capacity is taken."""

    def __init__(self, capacity: int, weigher: Callable[[Any], int]) -> None:
        if capacity <= 0:
            raise ValueError(f"capacity must be positive, not {capacity}")
        self.capacity = capacity
        self.used = 0
        self._weigher = weigher

    def weigh(self, value: Any) -> int:
        weight = self._weigher(value)
        if weight < 0:
            raise ValueError(f"weigher returned {weight} for a {type(value).__name__}")
        return weight

    def admit(self, value: Any) -> int:
        """The weight of a value that may come in; raises ValueTooLargeError when it never could."""
        weight = self.weigh(value)
        if weight > self.capacity:
            raise ValueTooLargeError(f"weight {weight} exceeds the capacity of {self.capacity}")
        return weight

    def fits(self, weight: int) -> bool:
        return self.used + weight <= self.capacity

    def charge(self, entry: Entry) -> None:
        self.used += self.weigh(entry.value)

    def refund(self, entry: Entry) -> None:
        self.used -= self.weigh(entry.value)
