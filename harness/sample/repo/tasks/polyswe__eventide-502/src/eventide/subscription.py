"""Who wants to hear about what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Event:
    """What handlers are called with."""

    topic: str
    payload: Any


Handler = Callable[[Event], object]


@dataclass(eq=False)
class Subscription:
    """A handler's connection to a bus, for as long as it is not cancelled; leaving its `with` block cancels it, too."""

    pattern: str
    handler: Handler
    priority: int
    once: bool
    serial: int
    _detach: Callable[[Subscription], None] = field(repr=False)
    active: bool = True

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts subscriptions in the order in which they are called."""
        return -self.priority, self.serial

    def cancel(self) -> None:
        """Ends the subscription; doing so twice is harmless."""
        if self.active:
            self.active = False
            self._detach(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
