"""Working through a queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from jobqueue.model import Lease, LeaseLost
from jobqueue.queue import JobQueue

Handler = Callable[[dict[str, Any]], object]


class Outcome(Enum):
    """What became of one round."""

    IDLE = "idle"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


class Worker:
    """Takes jobs from `queue` and calls the handler of their kind with their payload."""

    def __init__(self, queue: JobQueue, name: str, handlers: Mapping[str, Handler]) -> None:
        self._queue = queue
        self._name = name
        self._handlers = handlers

    def run_one(self) -> Outcome:
        """Works on one job; LOST means that it took so long that somebody else has it now, or has done it."""
        lease = self._queue.lease(self._name)
        if lease is None:
            return Outcome.IDLE
        try:
            return self._work(lease)
        except LeaseLost:
            return Outcome.LOST

    def _work(self, lease: Lease) -> Outcome:
        try:
            self._handlers[lease.kind](lease.payload)
        except Exception as error:  # noqa: BLE001 (whatever a handler raises is the job's failure, not the worker's)
            self._queue.nack(lease, repr(error))
            return Outcome.FAILED
        self._queue.ack(lease)
        return Outcome.DONE
