"""All subscriptions of a bus, and which of them match a topic."""

from __future__ import annotations

import itertools
import threading
from bisect import insort
from collections.abc import Sequence

from eventide.subscription import Handler, Subscription
from eventide.topics import check_pattern, matches


def _rank(subscription: Subscription) -> tuple[int, int]:
    return subscription.rank


class Registry:
    """Keeps, for every topic that has been asked for, the list of matching subscriptions in the order of calling.

    Publishing is frequent and subscribing is rare: the lists are made once per topic and then kept up to date.
    """

    def __init__(self) -> None:
        self._all: list[Subscription] = []
        self._by_topic: dict[str, list[Subscription]] = {}
        self._serials = itertools.count()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._all)

    def add(self, pattern: str, handler: Handler, priority: int, once: bool) -> Subscription:
        check_pattern(pattern)
        with self._lock:
            subscription = Subscription(pattern, handler, priority, once, next(self._serials), self.discard)
            self._all.append(subscription)
            for topic, matching in self._by_topic.items():
                if matches(pattern, topic):
                    insort(matching, subscription, key=_rank)
            return subscription

    def discard(self, subscription: Subscription) -> None:
        with self._lock:
            for known in (self._all, *self._by_topic.values()):
                if subscription in known:
                    known.remove(subscription)

    def matching(self, topic: str) -> Sequence[Subscription]:
        """The subscriptions that get events on `topic`, in the order of calling."""
        with self._lock:
            if topic not in self._by_topic:
                found = [subscription for subscription in self._all if matches(subscription.pattern, topic)]
                self._by_topic[topic] = sorted(found, key=_rank)
            return self._by_topic[topic]
