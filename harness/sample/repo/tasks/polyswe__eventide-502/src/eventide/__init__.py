"""An in-process event bus."""

from eventide.bus import DispatchError, EventBus
from eventide.subscription import Event, Subscription

__all__ = ["DispatchError", "Event", "EventBus", "Subscription"]
