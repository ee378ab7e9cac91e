"""The table of jobs. Every method is one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobqueue.model import DEAD, DONE, LEASED, READY

# leases: how often the job was handed out in all its life; attempts: since it was put or revived
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    payload    TEXT NOT NULL,
    state      TEXT NOT NULL,
    due_at     REAL NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    leases     INTEGER NOT NULL DEFAULT 0,
    worker     TEXT,
    last_error TEXT
)
"""


class Store:
    """Jobs in the SQLite file `path`. `due_at` is when a ready job may be handed out, or when a lease runs out."""

    def __init__(self, path: str | Path) -> None:
        self._db = sqlite3.connect(path, timeout=120, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._lock = threading.Lock()
        with self._transaction():
            self._db.execute(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def insert(self, kind: str, payload: str, due_at: float) -> int:
        with self._transaction():
            sql = "INSERT INTO jobs (kind, payload, state, due_at) VALUES (?, ?, ?, ?)"
            return int(self._db.execute(sql, (kind, payload, READY, due_at)).lastrowid or 0)

    def claim(self, worker: str, now: float, expires_at: float, max_attempts: int) -> sqlite3.Row | None:
        """Hands out the oldest job that is due; jobs whose last lease ran out are given up on the way."""
        with self._transaction():
            self._db.execute(
                "UPDATE jobs SET state = ?, last_error = 'lease ran out'"
                " WHERE state = ? AND due_at <= ? AND attempts >= ?",
                (DEAD, LEASED, now, max_attempts),
            )
            sql = "SELECT id FROM jobs WHERE state IN (?, ?) AND due_at <= ? ORDER BY id LIMIT 1"
            found = self._db.execute(sql, (READY, LEASED, now)).fetchone()
            if found is None:
                return None
            self._db.execute(
                "UPDATE jobs SET state = ?, worker = ?, due_at = ?, attempts = attempts + 1, leases = leases + 1"
                " WHERE id = ?",
                (LEASED, worker, expires_at, found["id"]),
            )
            row: sqlite3.Row = self._db.execute("SELECT * FROM jobs WHERE id = ?", (found["id"],)).fetchone()
            return row

    def finish(self, job_id: int) -> bool:
        """Leased → done; False if the job is not leased."""
        return self._update("UPDATE jobs SET state = ? WHERE id = ? AND state = ?", DONE, job_id, LEASED)

    def give_back(self, job_id: int, state: str, due_at: float, error: str) -> bool:
        """Leased → ready or dead; False if the job is not leased."""
        sql = "UPDATE jobs SET state = ?, due_at = ?, last_error = ? WHERE id = ? AND state = ?"
        return self._update(sql, state, due_at, error, job_id, LEASED)

    def extend(self, job_id: int, expires_at: float) -> bool:
        """Lets the lease run until `expires_at`; False if the job is not leased."""
        return self._update("UPDATE jobs SET due_at = ? WHERE id = ? AND state = ?", expires_at, job_id, LEASED)

    def revive(self, job_id: int, due_at: float) -> bool:
        """Dead → ready with no attempts made; False if the job is not dead."""
        sql = "UPDATE jobs SET state = ?, due_at = ?, attempts = 0 WHERE id = ? AND state = ?"
        return self._update(sql, READY, due_at, job_id, DEAD)

    def rows(self) -> list[sqlite3.Row]:
        """All jobs, oldest first."""
        with self._transaction():
            return self._db.execute("SELECT * FROM jobs ORDER BY id").fetchall()

    def _update(self, sql: str, *values: object) -> bool:
        with self._transaction():
            return self._db.execute(sql, values).rowcount == 1

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: other processes must not read what we are about to change
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
