"""The bus itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventide.registry import Registry
from eventide.subscription import Event, Handler, Subscription
from eventide.topics import check_topic


class DispatchError(Exception):
    """Some handlers of an event raised; `errors` are their exceptions in the order of calling."""

    def __init__(self, event: Event, errors: list[Exception]) -> None:
        super().__init__(f"{len(errors)} handler(s) of {event.topic!r} raised, first: {errors[0]!r}")
        self.event = event
        self.errors = errors


class EventBus:
    """Delivers events to the subscriptions that match their topic; see the README for the rules."""

    def __init__(self) -> None:
        self._registry = Registry()

    def subscribe(self, pattern: str, handler: Handler, *, priority: int = 0) -> Subscription:
        """Calls `handler` with every event on a topic that matches `pattern`."""
        return self._registry.add(pattern, handler, priority, once=False)

    def once(self, pattern: str, handler: Handler, *, priority: int = 0) -> Subscription:
        """Like subscribe, for one event only."""
        return self._registry.add(pattern, handler, priority, once=True)

    def on(self, pattern: str, *, priority: int = 0) -> Callable[[Handler], Handler]:
        """A decorator that subscribes a function for good."""

        def decorate(handler: Handler) -> Handler:
            self.subscribe(pattern, handler, priority=priority)
            return handler

        return decorate

    def publish(self, topic: str, payload: Any = None) -> int:
        """Delivers an event; returns how many handlers were called.

        Raises DispatchError, after all of them were called, if any raised.
        """
        check_topic(topic)
        event = Event(topic, payload)
        errors: list[Exception] = []
        called = 0
        for subscription in self._registry.matching(topic):
            called += 1
            try:
                subscription.handler(event)
            except Exception as error:  # noqa: BLE001 (the other handlers come first)
                errors.append(error)
            if subscription.once:
                subscription.cancel()
        if errors:
            raise DispatchError(event, errors)
        return called

    def __len__(self) -> int:
        """The number of subscriptions."""
        return len(self._registry)
