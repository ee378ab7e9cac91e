"""The queue as its users see it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobqueue.model import DEAD, READY, STATES, Lease, LeaseLost, UnknownJob
from jobqueue.store import Store


class JobQueue:
    """Jobs in the file `path`; `clock` returns seconds since the epoch and must be the same for all users of a file."""

    def __init__(
        self,
        path: str | Path,
        *,
        lease_seconds: float = 60.0,
        max_attempts: int = 3,
        retry_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lease_seconds = lease_seconds
        self.max_attempts = max_attempts
        self.retry_seconds = retry_seconds
        self._clock = clock
        self._store = Store(path)

    def close(self) -> None:
        self._store.close()

    def put(self, kind: str, payload: dict[str, Any] | None = None, *, delay: float = 0.0) -> int:
        """Adds a job, to be handed out in `delay` seconds at the earliest; returns its number."""
        return self._store.insert(kind, json.dumps(payload or {}), self._clock() + delay)

    def lease(self, worker: str) -> Lease | None:
        """Hands out a job, None if there is nothing to do."""
        now = self._clock()
        row = self._store.claim(worker, now, now + self.lease_seconds, self.max_attempts)
        if row is None:
            return None
        return Lease(row["id"], row["kind"], json.loads(row["payload"]), worker, row["attempts"], row["due_at"])

    def ack(self, lease: Lease) -> None:
        """The job is done. Raises LeaseLost."""
        if not self._store.finish(lease.job_id):
            raise _lost(lease)

    def nack(self, lease: Lease, error: str = "") -> None:
        """The job failed: it is retried later on, or given up after its last attempt. Raises LeaseLost."""
        state = READY if lease.attempt < self.max_attempts else DEAD
        due_at = self._clock() + self.retry_seconds * 2 ** (lease.attempt - 1)
        if not self._store.give_back(lease.job_id, state, due_at, error):
            raise _lost(lease)

    def heartbeat(self, lease: Lease) -> Lease:
        """The job takes longer: returns the lease with its time started anew. Raises LeaseLost."""
        expires_at = self._clock() + self.lease_seconds
        if not self._store.extend(lease.job_id, expires_at):
            raise _lost(lease)
        return replace(lease, expires_at=expires_at)

    def revive(self, job_id: int) -> None:
        """Gives a dead job a fresh set of attempts. Raises UnknownJob if there is no such dead job."""
        if not self._store.revive(job_id, self._clock()):
            raise UnknownJob(f"job {job_id} is not dead, so it cannot be revived")

    def counts(self) -> dict[str, int]:
        """The number of jobs in each state."""
        found = Counter(row["state"] for row in self._store.rows())
        return {state: found[state] for state in STATES}

    def dead(self) -> dict[int, str]:
        """The last error of each dead job."""
        return {row["id"]: row["last_error"] for row in self._store.rows() if row["state"] == DEAD}


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"{lease.worker} has lost job {lease.job_id} ({lease.kind}, attempt {lease.attempt})")
