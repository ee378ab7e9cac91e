"""Every cell (instance × model × attempt) of a run in one SQLite file: its state, its verdict, what it cost.

The store says what is finished; patches and logs lie beside it as files, written before the store says so.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agents.attempt import Attempt
from agents.budget import Call
from agents.leaks import Flag
from harness.errors import InputError, RunMismatchError
from harness.grading.verdict import Grade
from harness.store.database import open_database, transaction
from harness.store.keys import Change, change
from harness.store.rows import (
    ATTEMPTED,
    COLUMNS,
    JUDGING,
    KILLED,
    LOST,
    OF_CELL,
    WAITS_UNTIL,
    Cell,
    CellRow,
    EvidenceRow,
    FailureRow,
    Replaced,
    State,
    cell_of,
    cell_row,
    flag_of,
)
from harness.store.schema import columns_of


class Store:
    """The run's cells. Safe for many threads of one process; the run folder's lock keeps other processes out."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, as `open_database` does.

        Args:
            path: the SQLite file.
            read_only: refuse every change; the file must exist.

        Raises:
            InputError: the file is not a store of this schema, or is missing where it is only read.
        """
        self.path = path
        self._lock = threading.Lock()
        self._db = open_database(path, read_only=read_only)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- planning ----

    def plan(self, cells: Mapping[Cell, str]) -> int:
        """Add the cells that are not there yet; `cells` maps each to the key of its configuration.

        A graded cell whose grading alone is another now keeps its attempt and waits for another grading.

        Returns:
            How many cells are graded again.

        Raises:
            RunMismatchError: a cell was already attempted under another key. Nothing is changed then.
        """
        with self._transaction():
            query = "SELECT instance_id, model, attempt, key, state FROM cells"
            known = {cell_of(row): row for row in self._db.execute(query)}
            # a start that finds every cell planned has nothing to write
            new = {cell: key for cell, key in cells.items() if cell not in known or known[cell]["key"] != key}
            attempted = [cell for cell in new if cell in known and known[cell]["state"] in ATTEMPTED]
            changes = {cell: change(known[cell]["key"], new[cell]) for cell in attempted}
            if others := [cell for cell, what in changes.items() if what is Change.ATTEMPT]:
                models = ", ".join(sorted({cell.model for cell in others}))
                raise RunMismatchError(
                    f"{self.path.parent} holds {len(others)} outcomes obtained with other settings "
                    f"(models: {models}); choose another --run-id, or put them aside with --fresh"
                )
            now = _now()
            self._db.executemany(
                "INSERT INTO cells (instance_id, model, attempt, key, state, updated_at) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET key = excluded.key",
                [(*astuple(cell), key, State.PLANNED, now) for cell, key in new.items()],
            )
            again = [
                cell
                for cell, what in changes.items()
                if what is Change.GRADING and known[cell]["state"] == State.GRADED
            ]
            self._db.executemany(
                "UPDATE cells SET state = ?, verdict = NULL, detail = '', grading_seconds = NULL, test_seconds = NULL, "
                f"updated_at = ? WHERE {OF_CELL}",
                [(State.AGENT_DONE, now, *astuple(cell)) for cell in again],
            )
        return len(again)

    # ---- a cell's states ----

    def agent_started(self, cell: Cell) -> None:
        self._update(cell, state=State.RUNNING, failure=None, detail="")

    def waits(self, cell: Cell, seconds: float) -> None:
        """Record that the cell's agent waits for its model's next turn."""
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        self._update(cell, detail=WAITS_UNTIL + until.isoformat(timespec="seconds"))

    def called(self, cell: Cell, call: Call) -> None:
        """Record a request that has ended: what a killed attempt had paid is known to the call."""
        self._insert(
            "calls",
            instance_id=cell.instance_id,
            model=cell.model,
            attempt=cell.attempt,
            started_at=call.started_at,
            seconds=call.seconds,
            prompt_tokens=call.prompt_tokens,
            cached_tokens=call.cached_tokens,
            completion_tokens=call.completion_tokens,
            cost_usd=call.cost_usd,
            estimated=int(call.estimated),
            failure=call.failure,
        )

    def agent_done(self, cell: Cell, attempt: Attempt) -> None:
        """Record a finished attempt. Call it only after the patch is safely on disk."""
        self._update(
            cell,
            state=State.AGENT_DONE,
            detail="",
            exit_status=attempt.exit_status,
            cost_usd=attempt.cost_usd,
            api_calls=attempt.api_calls,
            failed_calls=attempt.failed_calls,
            prompt_tokens=attempt.prompt_tokens,
            completion_tokens=attempt.completion_tokens,
            cached_tokens=attempt.cached_tokens,
            agent_seconds=attempt.seconds,
            unsubmitted=int(bool(attempt.unsubmitted_patch)),
            scripted=int(attempt.scripted),
            signals=json.dumps(_finite(attempt.measured), sort_keys=True),
        )

    def attempt_imported(self, cell: Cell, **stated: str | float | None) -> None:
        """Record an attempt that was made elsewhere. Call it only after the patch is safely on disk.

        Args:
            cell: whose attempt it is.
            stated: columns with what is stated of the attempt; None is unknown.
        """
        self._update(cell, state=State.AGENT_DONE, verdict=None, failure=None, detail="", signals="{}", **stated)

    def forget(self, cells: Iterable[Cell]) -> None:
        """Take cells for new ones: their attempts, without verdicts, were made elsewhere and are others now."""
        keys = [astuple(cell) for cell in cells]
        with self._transaction():
            self._db.executemany(f"DELETE FROM flags WHERE {OF_CELL}", keys)
            self._db.executemany(
                f"UPDATE cells SET state = ?, failure = NULL, detail = '', updated_at = ? WHERE {OF_CELL}",
                [(State.PLANNED, _now(), *key) for key in keys],
            )

    def add_signals(self, cell: Cell, signals: Mapping[str, float], cost_usd: float = 0.0) -> None:
        """Signals that came after the attempt was recorded, and what they cost."""
        with self._lock:
            self._db.execute(
                f"UPDATE cells SET signals = json_patch(signals, ?), cost_usd = cost_usd + ? WHERE {OF_CELL}",
                (json.dumps(_finite(signals)), cost_usd, *astuple(cell)),
            )

    def add_evidence(self, row: EvidenceRow, signals: Mapping[Cell, Mapping[str, float]]) -> None:
        """Record an instance's evidence in place of earlier evidence, with the signals that follow; all or nothing.

        Args:
            row: the evidence.
            signals: the same names for every attempt; one that is not finite is removed from the attempt's signals.
        """
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO evidence (instance_id, digest, content, seconds, cost_usd, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (row.instance_id, row.digest, _storable(json.dumps(row.content)), row.seconds, row.cost_usd, _now()),
            )
            for cell, values in signals.items():
                change = {name: value if math.isfinite(value) else None for name, value in values.items()}
                self._db.execute(
                    f"UPDATE cells SET signals = json_patch(signals, ?) WHERE {OF_CELL}",
                    (json.dumps(change), *astuple(cell)),
                )

    def flagged(self, cell: Cell, flags: Iterable[Flag], kinds: Iterable[str] | None = None) -> None:
        """Record flags of a cell's attempt, in place of earlier ones of these kinds, or of all."""
        key = astuple(cell)
        rows = [(*key, flag.kind, flag.step, _storable(flag.command), flag.failed) for flag in flags]
        with self._transaction():
            if kinds is None:
                self._db.execute(f"DELETE FROM flags WHERE {OF_CELL}", key)
            else:
                one_kind = f"DELETE FROM flags WHERE {OF_CELL} AND kind = ?"
                self._db.executemany(one_kind, [(*key, kind) for kind in kinds])
            self._db.executemany(
                "INSERT INTO flags (instance_id, model, attempt, kind, step, command, failed) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def graded(self, cell: Cell, grade: Grade, failure: str = "grading: unknown") -> None:
        """Record a final verdict; after a `failure` of the infrastructure the patch waits for the next start."""
        if grade.verdict.final:
            self._update(
                cell,
                state=State.GRADED,
                verdict=grade.verdict,
                failure=None,
                detail=_storable(grade.detail),
                grading_seconds=grade.seconds,
                test_seconds=grade.test_seconds,
            )
            return
        detail = _storable(grade.detail)
        with self._transaction():
            self._db.execute(
                f"UPDATE cells SET failure = ?, detail = ?, updated_at = ? WHERE {OF_CELL}",
                (failure, detail, _now(), *astuple(cell)),
            )
            self._note_failure(cell, failure, detail, 0.0)

    def failed(self, cell: Cell, failure: str, detail: str, lost_cost_usd: float = 0.0) -> None:
        """Record a failure that was not the model's, with what it cost."""
        detail = _storable(detail)  # a provider's own words, perhaps
        with self._transaction():
            self._db.execute(
                "UPDATE cells SET state = ?, failure = ?, detail = ?, lost_cost_usd = lost_cost_usd + ?, "
                f"updated_at = ? WHERE {OF_CELL}",
                (State.FAILED, failure, detail, lost_cost_usd, _now(), *astuple(cell)),
            )
            self._note_failure(cell, failure, detail, lost_cost_usd)

    def killed(self, cell: Cell, cost_on_record: float = 0.0) -> None:
        """Record that the run was killed while the cell's agent was at work; what its calls had cost is lost.

        Args:
            cost_on_record: USD that the attempt's trajectory says were paid, for stores that knew no calls yet.
        """
        key = astuple(cell)
        with self._lock:
            calls = self._db.execute(
                f"SELECT COUNT(*) AS number, TOTAL(cost_usd) AS paid FROM calls WHERE {OF_CELL} AND started_at >= "
                f"(SELECT TOTAL(at) FROM (SELECT MAX(at) AS at FROM replaced WHERE {OF_CELL}))",
                (*key, *key),
            ).fetchone()
            earlier = self._db.execute(
                f"SELECT TOTAL(lost_cost_usd) AS lost FROM cells WHERE {OF_CELL}", key
            ).fetchone()
        # a cell whose agent was at work has no finished attempt: whatever its calls cost is lost, now or before
        lost = max(0.0, calls["paid"] - earlier["lost"]) if calls["number"] else cost_on_record
        self.failed(cell, KILLED, "the run was killed while the agent was at work", lost)

    def lost(self, cell: Cell) -> None:
        """Record that the patch of a finished attempt is nowhere: what the attempt had cost is lost."""
        row = self.row(cell)
        cost = row.cost_usd or 0.0 if row else 0.0
        self._update(cell, cost_usd=None)
        self.failed(cell, LOST, "the patch of its finished attempt is gone, and its trajectory does not hold it", cost)

    # ---- attempting finished cells again ----

    def replace(self, cells: Iterable[Cell]) -> None:
        """Put the finished attempts of these cells aside, all or none, so that the cells can be planned anew."""
        at = time.time()
        with self._transaction():
            for cell in cells:
                key = astuple(cell)
                row = dict(self._db.execute(f"SELECT * FROM cells WHERE {OF_CELL}", key).fetchone())
                flags = self._db.execute(f"SELECT kind, step, command, failed FROM flags WHERE {OF_CELL}", key)
                self._db.execute(
                    "INSERT INTO replaced (instance_id, model, attempt, number, at, row, flags) VALUES (?, ?, ?, "
                    f"(SELECT COUNT(*) + 1 FROM replaced WHERE {OF_CELL}), ?, ?, ?)",
                    (*key, *key, at, json.dumps(row), json.dumps([dict(flag) for flag in flags])),
                )
                self._db.execute(f"DELETE FROM flags WHERE {OF_CELL}", key)
                self._db.execute(f"DELETE FROM cells WHERE {OF_CELL}", key)

    def moved(self, earlier: Replaced) -> None:
        """Record that the folder of an earlier attempt has its new name."""
        with self._lock:
            key = *astuple(earlier.cell), earlier.number
            self._db.execute(f"UPDATE replaced SET moved = 1 WHERE {OF_CELL} AND number = ?", key)

    def close_redos(self) -> None:
        """Record that the commands have ended all of whose cells have a verdict again: their cells may be redone."""
        with self._transaction():
            self._db.execute(
                "UPDATE replaced SET closed = 1 WHERE closed = 0 AND at NOT IN (SELECT replaced.at FROM replaced JOIN "
                "cells USING (instance_id, model, attempt) WHERE cells.state != ?)",
                (State.GRADED,),
            )

    def replaced(self) -> list[Replaced]:
        """Earlier attempts of cells that were attempted again, by cell, the first one first."""
        if not columns_of(self._db, "replaced"):  # a file of an earlier version that is only read
            return []
        rows = self._select("SELECT * FROM replaced ORDER BY instance_id, model, attempt, number")
        return [self._replaced(row) for row in rows]

    # ---- what is on record ----

    def rows(self) -> list[CellRow]:
        """All cells, by instance, model and attempt.

        Raises:
            InputError: the file is damaged.
        """
        rows = self._select(f"SELECT {self._columns} FROM cells ORDER BY instance_id, model, attempt")
        return [self._cell_row(row) for row in rows]

    def row(self, cell: Cell) -> CellRow | None:
        """One cell; None when it was never planned."""
        rows = self._select(f"SELECT {self._columns} FROM cells WHERE {OF_CELL}", *astuple(cell))
        return self._cell_row(rows[0]) if rows else None

    def spent(self) -> float:
        """USD spent so far, failed and replaced attempts and calls of judges included."""
        (total,) = self._select("SELECT TOTAL(cost_usd) + TOTAL(lost_cost_usd) AS usd FROM cells")
        return float(total["usd"]) + sum(earlier.cost_usd for earlier in self.replaced()) + self.judging_cost()

    def judging_cost(self, instance_id: str | None = None) -> float:
        """USD of the calls of judges, of one instance or of all."""
        if "attempt" not in columns_of(self._db, "calls"):  # a file of an earlier version that is only read
            return 0.0
        where = "attempt = ?" if instance_id is None else "attempt = ? AND instance_id = ?"
        values = [JUDGING] if instance_id is None else [JUDGING, instance_id]
        (total,) = self._select(f"SELECT TOTAL(cost_usd) AS usd FROM calls WHERE {where}", *values)
        return float(total["usd"])

    def evidence(self, instance_id: str | None = None) -> dict[str, EvidenceRow]:
        """By instance, of one or of all: what tests say of its finished attempts.

        Raises:
            InputError: the file is damaged.
        """
        if not columns_of(self._db, "evidence"):  # a file of an earlier version that is only read
            return {}
        where, values = ("", ()) if instance_id is None else ("WHERE instance_id = ?", (instance_id,))
        columns = "instance_id, digest, content, seconds, cost_usd"
        rows = self._select(f"SELECT {columns} FROM evidence {where} ORDER BY instance_id", *values)
        try:
            return {
                row["instance_id"]: EvidenceRow(**{**dict(row), "content": json.loads(row["content"])}) for row in rows
            }
        except ValueError as error:
            raise self._damaged(f"evidence: {error}") from error

    def failures(self) -> list[FailureRow]:
        """Everything that went wrong so far and was not the model's, in order."""
        rows = self._select("SELECT * FROM failures ORDER BY rowid")
        return [FailureRow(**dict(row)) for row in rows]

    def flags(self) -> dict[Cell, list[Flag]]:
        """Flagged cells, and what was seen in each."""
        rows = self._select("SELECT * FROM flags ORDER BY instance_id, model, rowid")
        flags: dict[Cell, list[Flag]] = {}
        for row in rows:
            flags.setdefault(cell_of(row), []).append(flag_of(row))
        return flags

    # ---- images ----

    def image_pulled(self, name: str) -> None:
        """Note that an image is about to be pulled by this run."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO images (name) VALUES (?)", (name,))

    def images_pulled(self) -> set[str]:
        """Images that this run has pulled, at this start or an earlier one."""
        return {row["name"] for row in self._select("SELECT name FROM images")}

    # ---- private ----

    @property
    def _columns(self) -> str:
        """The columns of a CellRow; a file that is only read may lack those that were added later."""
        present = columns_of(self._db, "cells")
        missing = {"signals": "'{}'", "attempt": "1"}
        return ", ".join(name if name in present else f"{missing.get(name, 'NULL')} AS {name}" for name in COLUMNS)

    def _select(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.OperationalError:  # locked, disk full: not the file's fault
                raise
            except sqlite3.DatabaseError as error:
                raise self._damaged(str(error)) from error

    def _cell_row(self, row: sqlite3.Row) -> CellRow:
        try:
            return cell_row(row)
        except ValueError as error:
            raise self._damaged(f"cell {row['instance_id']} / {row['model']}: {error}") from error

    def _replaced(self, row: sqlite3.Row) -> Replaced:
        try:
            values = json.loads(row["row"])
            flags = [flag_of(flag) for flag in json.loads(row["flags"])]
            return Replaced(
                row=cell_row({name: values.get(name) for name in COLUMNS}),
                number=row["number"],
                moved=bool(row["moved"]),
                closed=bool(row["closed"]),
                flags=flags,
            )
        except (ValueError, LookupError, TypeError) as error:
            raise self._damaged(f"earlier attempt of {cell_of(row)}: {error}") from error

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            f"{self.path}: damaged ({reason}); bring back a copy of it, or start anew with --fresh, which puts the "
            "run aside"
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and alone."""
        with self._lock, transaction(self._db):
            yield

    def _insert(self, table: str, **columns: object) -> None:
        places = ", ".join("?" for _ in columns)
        with self._lock:
            self._db.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", tuple(columns.values()))

    def _update(self, cell: Cell, **columns: object) -> None:
        columns["updated_at"] = _now()
        assignments = ", ".join(f"{name} = ?" for name in columns)
        with self._lock:
            changed = self._db.execute(
                f"UPDATE cells SET {assignments} WHERE {OF_CELL}",
                (*columns.values(), *astuple(cell)),
            ).rowcount
        if changed != 1:
            raise KeyError(f"{cell} was never planned")

    def _note_failure(self, cell: Cell, kind: str, detail: str, cost: float) -> None:
        """Within a transaction."""
        self._db.execute(
            "INSERT INTO failures (instance_id, model, attempt, at, kind, detail, cost_usd) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*astuple(cell), _now(), kind, detail, cost),
        )


def _finite(signals: Mapping[str, float]) -> dict[str, float]:
    """What an attempt does not say is left out: JSON has no NaN."""
    return {name: value for name, value in signals.items() if math.isfinite(value)}


def _storable(text: str) -> str:
    """A text without lone surrogates, which a model's JSON may hold and SQLite does not take."""
    return text.encode("utf-8", "replace").decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
