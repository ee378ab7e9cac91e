"""Every cell (instance × model) of a run in one SQLite file: its state, its verdict, what it cost.

The store says what is finished; patches and logs lie beside it as files, written before the store says so.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, RunMismatchError
from harness.files import sync_folder
from harness.grading.verdict import Grade, Verdict

if TYPE_CHECKING:
    from agents.attempt import Attempt
    from agents.budget import Call
    from agents.leaks import Flag

SCHEMA = 1
KILLED = "killed"
"""Failure of a cell whose agent was at work when the run was killed."""

TABLES = """
CREATE TABLE IF NOT EXISTS cells (
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    key TEXT NOT NULL,                  -- fingerprint of everything the outcome depends on
    state TEXT NOT NULL,
    verdict TEXT,                       -- of a graded cell
    failure TEXT,                       -- kind of a failed cell's failure, which was not the model's
    detail TEXT NOT NULL DEFAULT '',
    exit_status TEXT,
    cost_usd REAL,
    lost_cost_usd REAL NOT NULL DEFAULT 0,  -- spent on attempts that ended in a failure that was not the model's
    api_calls INTEGER,
    failed_calls INTEGER,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    agent_seconds REAL,
    grading_seconds REAL,
    unsubmitted INTEGER NOT NULL DEFAULT 0, -- a diff was left in the container but never submitted
    scripted INTEGER NOT NULL DEFAULT 0,
    signals TEXT NOT NULL DEFAULT '{}',     -- JSON: what the attempt shows of its chances, by name
    updated_at TEXT NOT NULL,
    PRIMARY KEY (instance_id, model)
) STRICT;
CREATE TABLE IF NOT EXISTS calls (      -- every request to a provider, answered or not
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    started_at REAL NOT NULL,           -- seconds since the epoch
    seconds REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL,     -- cached ones included
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    estimated INTEGER NOT NULL,         -- the reply stated no usage
    failure TEXT NOT NULL               -- kind; empty when answered
) STRICT;
CREATE INDEX IF NOT EXISTS calls_by_cell ON calls (instance_id, model);
CREATE TABLE IF NOT EXISTS failures (   -- everything that went wrong and was not the model's, also what was overcome
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    cost_usd REAL NOT NULL              -- paid for nothing
) STRICT;
CREATE TABLE IF NOT EXISTS images (     -- pulled by this run, so that only these are removed again
    name TEXT NOT NULL PRIMARY KEY
) STRICT;
"""


class State(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    """The agent is at work, or was when the run was killed: it starts anew."""
    AGENT_DONE = "agent done"
    """The patch is on disk; only the grading is missing."""
    GRADED = "graded"
    FAILED = "failed"
    """A failure that was not the model's; the next start tries again."""


TABLES += """
CREATE TABLE IF NOT EXISTS flags (      -- signs in a finished attempt's trajectory that it had help
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    step INTEGER NOT NULL,
    command TEXT NOT NULL,              -- its beginning
    failed INTEGER                      -- whether the command ended with an error; NULL when unknown
) STRICT;
"""


@dataclass(frozen=True, order=True)
class Cell:
    instance_id: str
    model: str


@dataclass(frozen=True)
class CellRow:
    """One row of the store, as read."""

    instance_id: str
    model: str
    key: str
    state: State
    verdict: Verdict | None
    failure: str | None
    detail: str
    exit_status: str | None
    cost_usd: float | None
    lost_cost_usd: float
    api_calls: int | None
    failed_calls: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    agent_seconds: float | None
    grading_seconds: float | None
    unsubmitted: bool
    scripted: bool
    updated_at: str
    signals: Mapping[str, float] = field(default_factory=dict)
    """What the finished attempt shows, without knowledge of the hidden tests; see `agents.signals`."""

    @property
    def cell(self) -> Cell:
        return Cell(self.instance_id, self.model)


COLUMNS = tuple(column.name for column in fields(CellRow))
STATES = {str(state): state for state in State}
VERDICTS = {str(verdict): verdict for verdict in Verdict}
"""looked up for every row read: an enumeration's own look-up takes ten times as long"""


@dataclass(frozen=True)
class FailureRow:
    """One thing that went wrong and was not the model's."""

    instance_id: str
    model: str
    at: str
    kind: str
    detail: str
    cost_usd: float

    @property
    def cell(self) -> Cell:
        return Cell(self.instance_id, self.model)


@dataclass(frozen=True)
class ModelCalls:
    """What a model's calls add up to, over all attempts."""

    model: str
    answered: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: float
    seconds: float


class Store:
    """The run's cells. Safe for many threads of one process; the run folder's lock keeps other processes out."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises InputError when the file is not a store of this schema."""
        self.path = path
        self._lock = threading.Lock()
        address = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        self._db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise InputError(
                    f"{path}: outcome store of schema {version}, this polyswe reads {SCHEMA}; update polyswe"
                )
            if read_only:
                return
            self._db.executescript(TABLES)
            if "signals" not in {row["name"] for row in self._db.execute("PRAGMA table_info(cells)")}:  # of before
                self._db.execute("ALTER TABLE cells ADD COLUMN signals TEXT NOT NULL DEFAULT '{}'")
            if version != SCHEMA:
                self._db.execute(f"PRAGMA user_version={SCHEMA}")
        except sqlite3.OperationalError:  # disk full, read-only, locked: not the file's fault
            raise
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: not a readable outcome store ({error})") from error
        sync_folder(path.parent)  # a file that SQLite has just created

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(self, cells: Mapping[Cell, str]) -> None:
        """Add the cells that are not there yet; `cells` maps each to the key of its configuration.

        Raises:
            RunMismatchError: a cell was already worked on under another key. Nothing is changed then.
        """
        now = _now()
        with self._lock, self._db:
            known = {
                (instance, model): (key, state)
                for instance, model, key, state in self._tuples("SELECT instance_id, model, key, state FROM cells")
            }
            # new, or known under another key: a start that finds every cell planned has nothing to write
            other = [(cell, key) for cell, key in cells.items() if known.get(_key(cell), (None, None))[0] != key]
            changed = [
                cell
                for cell, _ in other
                if _key(cell) in known and known[_key(cell)][1] in (State.AGENT_DONE, State.GRADED)
            ]
            if changed:
                models = sorted({cell.model for cell in changed})
                raise RunMismatchError(
                    f"{self.path.parent} holds {len(changed)} outcomes obtained with other settings "
                    f"(models: {', '.join(models)}); choose another --run-id, or put them aside with --fresh"
                )
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO cells (instance_id, model, key, state, updated_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET key = excluded.key",
                [(*_key(cell), key, State.PLANNED, now) for cell, key in other],
            )
            self._db.execute("COMMIT")

    def agent_started(self, cell: Cell) -> None:
        self._update(cell, state=State.RUNNING, failure=None, detail="")

    def agent_done(self, cell: Cell, attempt: Attempt, signals: Mapping[str, float] | None = None) -> None:
        """Record a finished attempt. Call it only after the patch is safely on disk."""
        known = {name: value for name, value in (signals or {}).items() if math.isfinite(value)}
        self._update(
            cell,
            state=State.AGENT_DONE,
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
            signals=json.dumps(known, sort_keys=True),
        )

    def add_signals(self, cell: Cell, signals: Mapping[str, float], cost_usd: float = 0.0) -> None:
        """Signals that came after the attempt was recorded, and what they cost."""
        known = {name: value for name, value in signals.items() if math.isfinite(value)}
        with self._lock:
            self._db.execute(
                "UPDATE cells SET signals = json_patch(signals, ?), cost_usd = cost_usd + ? "
                "WHERE instance_id = ? AND model = ?",
                (json.dumps(known), cost_usd, cell.instance_id, cell.model),
            )

    def called(self, cell: Cell, call: Call) -> None:
        """Record a request that has ended: what a killed attempt had paid is known to the call."""
        with self._lock:
            self._db.execute(
                "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    cell.instance_id,
                    cell.model,
                    call.started_at,
                    call.seconds,
                    call.prompt_tokens,
                    call.cached_tokens,
                    call.completion_tokens,
                    call.cost_usd,
                    int(call.estimated),
                    call.failure,
                ),
            )

    def graded(self, cell: Cell, grade: Grade, failure: str = "grading: unknown") -> None:
        """Record a final verdict; after a `failure` of the infrastructure the patch waits for the next start."""
        if grade.verdict.final:
            self._update(
                cell,
                state=State.GRADED,
                verdict=grade.verdict,
                failure=None,
                detail=grade.detail,
                grading_seconds=grade.seconds,
            )
        else:
            with self._transaction():
                self._db.execute(
                    "UPDATE cells SET failure = ?, detail = ?, updated_at = ? WHERE instance_id = ? AND model = ?",
                    (failure, grade.detail, _now(), cell.instance_id, cell.model),
                )
                self._note_failure(cell, failure, grade.detail, 0.0)

    def failed(self, cell: Cell, failure: str, detail: str, lost_cost_usd: float = 0.0) -> None:
        """Record a failure that was not the model's, with what it cost."""
        detail = _storable(detail)  # a provider's own words, perhaps
        with self._transaction():
            self._db.execute(
                "UPDATE cells SET state = ?, failure = ?, detail = ?, lost_cost_usd = lost_cost_usd + ?, "
                "updated_at = ? WHERE instance_id = ? AND model = ?",
                (State.FAILED, failure, detail, lost_cost_usd, _now(), cell.instance_id, cell.model),
            )
            self._note_failure(cell, failure, detail, lost_cost_usd)

    def killed(self, cell: Cell, on_record: float = 0.0) -> None:
        """Record that the run was killed while the cell's agent was at work; what its calls had cost is lost.

        on_record: USD that the attempt's trajectory says were paid, for stores that knew no calls yet.
        """
        with self._lock:
            calls, paid = self._db.execute(
                "SELECT COUNT(*), TOTAL(cost_usd) FROM calls WHERE instance_id = ? AND model = ?",
                (cell.instance_id, cell.model),
            ).fetchone()
            known = self._db.execute(
                "SELECT TOTAL(lost_cost_usd) FROM cells WHERE instance_id = ? AND model = ?",
                (cell.instance_id, cell.model),
            ).fetchone()[0]
        # a cell whose agent was at work has no finished attempt: whatever its calls cost is lost, now or before
        lost = max(0.0, paid - known) if calls else on_record
        self.failed(cell, KILLED, "the run was killed while the agent was at work", lost)

    def failures(self) -> list[FailureRow]:
        """Everything that went wrong so far and was not the model's, in order."""
        with self._lock:
            found = self._db.execute("SELECT * FROM failures ORDER BY rowid").fetchall()
        return [FailureRow(**dict(row)) for row in found]

    def calls_by_model(self) -> list[ModelCalls]:
        """What the providers were asked and what it cost, by model; unanswered requests count as failed."""
        with self._lock:
            found = self._db.execute(
                "SELECT model, SUM(failure = '') AS answered, SUM(failure <> '') AS failed, "
                "SUM(prompt_tokens) AS prompt_tokens, SUM(cached_tokens) AS cached_tokens, "
                "SUM(completion_tokens) AS completion_tokens, TOTAL(cost_usd) AS cost_usd, TOTAL(seconds) AS seconds "
                "FROM calls GROUP BY model ORDER BY model"
            ).fetchall()
        return [ModelCalls(**dict(row)) for row in found]

    def image_pulled(self, name: str) -> None:
        """Note that an image is about to be pulled by this run."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO images VALUES (?)", (name,))

    def images_pulled(self) -> set[str]:
        """Images that this run has pulled, at this start or an earlier one."""
        with self._lock:
            return {row["name"] for row in self._db.execute("SELECT name FROM images")}

    def rows(self) -> list[CellRow]:
        """All cells, by instance and model."""
        with self._lock:
            found = self._tuples(f"SELECT {', '.join(COLUMNS)} FROM cells ORDER BY instance_id, model").fetchall()
        return [_cell_row(row) for row in found]

    def spent(self) -> float:
        """USD spent so far, failed attempts included."""
        with self._lock:
            total = self._db.execute("SELECT TOTAL(cost_usd) + TOTAL(lost_cost_usd) FROM cells").fetchone()[0]
        return float(total)

    def _tuples(self, query: str) -> sqlite3.Cursor:
        """Of a hundred thousand rows: without names, which take longer to look up than the row to read."""
        cursor = self._db.cursor()
        cursor.row_factory = None
        return cursor.execute(query)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and alone."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _note_failure(self, cell: Cell, kind: str, detail: str, cost: float) -> None:
        self._db.execute(
            "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)",
            (cell.instance_id, cell.model, _now(), kind, detail, cost),
        )

    def _update(self, cell: Cell, **columns: object) -> None:
        columns["updated_at"] = _now()
        assignments = ", ".join(f"{name} = ?" for name in columns)
        with self._lock:
            changed = self._db.execute(
                f"UPDATE cells SET {assignments} WHERE instance_id = ? AND model = ?",
                (*columns.values(), cell.instance_id, cell.model),
            ).rowcount
        if changed != 1:
            raise KeyError(f"{cell} was never planned")

    def flagged(self, cell: Cell, flags: Iterable[Flag]) -> None:
        """Record the signs of help in a cell's attempt, in place of those of an earlier attempt."""
        rows = [(*_key(cell), flag.kind, flag.step, _storable(flag.command), flag.failed) for flag in flags]
        with self._transaction():
            self._db.execute("DELETE FROM flags WHERE instance_id = ? AND model = ?", _key(cell))
            self._db.executemany("INSERT INTO flags VALUES (?, ?, ?, ?, ?, ?)", rows)

    def flags(self) -> dict[Cell, list[Flag]]:
        """Flagged cells, and what was seen in each."""
        from agents.leaks import Flag

        with self._lock:
            found = self._db.execute("SELECT * FROM flags ORDER BY instance_id, model, rowid").fetchall()
        flags: dict[Cell, list[Flag]] = {}
        for row in found:
            failed = None if row["failed"] is None else bool(row["failed"])
            flag = Flag(row["kind"], row["step"], row["command"], failed)
            flags.setdefault(Cell(row["instance_id"], row["model"]), []).append(flag)
        return flags


def _storable(text: str) -> str:
    """A text without lone surrogates, which a model's JSON may hold and SQLite does not take."""
    return text.encode("utf-8", "replace").decode()


def _key(cell: Cell) -> tuple[str, str]:
    return cell.instance_id, cell.model


def _cell_row(values: tuple[Any, ...]) -> CellRow:
    """From the values of COLUMNS."""
    instance_id, model, key, state, verdict, *others, unsubmitted, scripted, updated_at, signals = values
    outcome = STATES[state], None if verdict is None else VERDICTS[verdict]
    last = bool(unsubmitted), bool(scripted), updated_at, json.loads(signals) if signals != "{}" else {}
    return CellRow(*(instance_id, model, key, *outcome, *others, *last))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
