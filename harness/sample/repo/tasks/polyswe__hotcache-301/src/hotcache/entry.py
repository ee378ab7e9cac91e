"""What the cache keeps per key."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Entry:
    key: Hashable
    value: Any
    deadline: float | None
    """Clock reading from which the entry counts as gone; None for never."""

    def expired(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline
