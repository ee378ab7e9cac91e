"""What the parts of the queue talk about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

READY, LEASED, DONE, DEAD = "ready", "leased", "done", "dead"
STATES = (READY, LEASED, DONE, DEAD)


class JobQueueError(Exception):
    """Base of the errors that are the queue's own."""


class UnknownJob(JobQueueError):
    """No dead job with that number."""


class LeaseLost(JobQueueError):
    """The job is somebody else's by now, or finished; whatever was asked for has not been done."""


@dataclass(frozen=True)
class Lease:
    """A job in somebody's hands; times in seconds since the epoch, `attempt` counts from 1."""

    job_id: int
    kind: str
    payload: dict[str, Any]
    worker: str
    attempt: int
    expires_at: float
