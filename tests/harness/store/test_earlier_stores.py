"""Stores of earlier versions: read as they are, brought to this version when a run goes on, never half."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from agents.attempt import Attempt
from agents.budget import Call
from agents.leaks import Flag
from harness.grading.verdict import Grade, Verdict
from harness.store.rows import Cell, CellRow, FailureRow, State
from harness.store.schema import SCHEMA, make_tables
from harness.store.store import Store

FIRST, OTHER = Cell("i-1", "small"), Cell("i-1", "large")
SECOND = Cell("i-1", "small", 2)
TABLES_1 = """
CREATE TABLE IF NOT EXISTS cells (
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    verdict TEXT,
    failure TEXT,
    detail TEXT NOT NULL DEFAULT '',
    exit_status TEXT,
    cost_usd REAL,
    lost_cost_usd REAL NOT NULL DEFAULT 0,
    api_calls INTEGER,
    failed_calls INTEGER,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    agent_seconds REAL,
    grading_seconds REAL,
    test_seconds REAL,
    unsubmitted INTEGER NOT NULL DEFAULT 0,
    scripted INTEGER NOT NULL DEFAULT 0,
    signals TEXT NOT NULL DEFAULT '{}',
    updated_at TEXT NOT NULL,
    PRIMARY KEY (instance_id, model)
) STRICT;
CREATE TABLE IF NOT EXISTS calls (
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    started_at REAL NOT NULL,
    seconds REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    estimated INTEGER NOT NULL,
    failure TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS calls_by_cell ON calls (instance_id, model);
CREATE TABLE IF NOT EXISTS failures (
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    cost_usd REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS images (
    name TEXT NOT NULL PRIMARY KEY
) STRICT;
CREATE TABLE IF NOT EXISTS flags (
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    step INTEGER NOT NULL,
    command TEXT NOT NULL,
    failed INTEGER
) STRICT;
"""
"""As schema 1 made them."""
CALL = Call(
    started_at=0.0, seconds=1.0, prompt_tokens=10, cached_tokens=4, completion_tokens=2, cost_usd=0.25,
    estimated=False, failure="",
)  # fmt: skip


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A run of an earlier version that was stopped: one cell graded, one whose agent was at work."""
    path = tmp_path / "outcomes.sqlite"
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode=WAL;" + TABLES_1 + "PRAGMA user_version=1;")
    rows = [("i-1", "small", "graded", "resolved", 0.5, 0.1), ("i-1", "large", "running", None, None, 0.0)]
    db.executemany(
        "INSERT INTO cells (instance_id, model, key, state, verdict, cost_usd, lost_cost_usd, updated_at) "
        "VALUES (?, ?, 'k', ?, ?, ?, ?, '2026-09-01T00:00:00+00:00')",
        rows,
    )
    db.executemany("INSERT INTO calls VALUES ('i-1', ?, 0.0, 1.0, 10, 4, 2, 0.25, 0, '')", [("small",), ("large",)])
    db.execute("INSERT INTO failures VALUES ('i-1', 'small', '2026-09-01', 'engine', 'gone', 0.1)")
    db.execute("INSERT INTO flags VALUES ('i-1', 'small', 'download', 1, 'curl', 0)")
    db.execute("INSERT INTO images VALUES ('an-image')")
    db.commit()
    db.close()
    return path


def content(
    path: Path, *, read_only: bool = True
) -> tuple[list[CellRow], list[FailureRow], dict[Cell, list[Flag]], set[str], float]:
    """Everything a store holds."""
    with Store(path, read_only=read_only) as store:
        return store.rows(), store.failures(), store.flags(), store.images_pulled(), store.spent()


def test_a_store_of_an_earlier_version_is_read_as_it_is(earlier: Path) -> None:
    before = earlier.read_bytes()
    rows, failures, flags, images, spent = content(earlier)
    assert {row.cell: row.state for row in rows} == {FIRST: State.GRADED, OTHER: State.RUNNING}
    assert [event.cell for event in failures] == [FIRST]
    assert flags == {FIRST: [Flag("download", 1, "curl", False)]}
    assert (images, spent) == ({"an-image"}, pytest.approx(0.6))
    with Store(earlier, read_only=True) as store:
        assert store.row(FIRST)
        assert store.row(SECOND) is None
    assert earlier.read_bytes() == before


def test_it_goes_on_with_repeats_and_keeps_everything(earlier: Path) -> None:
    before = content(earlier)
    for _ in range(2):  # opening it again changes nothing
        assert content(earlier, read_only=False) == before
    with Store(earlier) as store:
        store.plan({FIRST: "k", OTHER: "k", SECOND: "k"})
        store.agent_started(SECOND)
        store.called(SECOND, CALL)
        store.killed(SECOND)
        store.killed(OTHER)  # what its calls had cost in the earlier version is its own
        rows = {row.cell: row for row in store.rows()}
    assert [rows[cell].lost_cost_usd for cell in (FIRST, SECOND, OTHER)] == [0.1, 0.25, 0.25]
    assert rows[FIRST].verdict is Verdict.RESOLVED


def test_power_that_goes_while_it_is_rebuilt_costs_nothing(earlier: Path, tmp_path: Path) -> None:
    before = content(earlier)
    db = sqlite3.connect(earlier, isolation_level=None)
    db.execute("PRAGMA cache_size=1")  # pages are written before the transaction ends
    db.execute("BEGIN IMMEDIATE")
    make_tables(db)
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in tmp_path.glob("outcomes.sqlite*"):
        shutil.copy(file, cut)
    db.close()
    assert content(cut / earlier.name) == before
    assert content(cut / earlier.name, read_only=False) == before


def test_an_earlier_version_refuses_what_this_one_wrote(earlier: Path) -> None:
    """It would take all attempts of a model for one."""
    Store(earlier).close()
    db = sqlite3.connect(earlier)
    assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA,) != (1,)
    db.close()


def test_attempts_of_one_model_are_told_apart(tmp_path: Path) -> None:
    with Store(tmp_path / "outcomes.sqlite") as store:
        store.plan({FIRST: "k", SECOND: "k"})
        for cell, verdict, cost in ((FIRST, Verdict.RESOLVED, 1.0), (SECOND, Verdict.UNRESOLVED, 2.0)):
            store.agent_started(cell)
            store.called(cell, CALL)
            store.agent_done(cell, finished(cell, cost))
            store.graded(cell, Grade(verdict))
            store.flagged(cell, [Flag("download", cell.attempt, "curl")])
        store.add_signals(SECOND, {"patch_lines": 4.0})
        store.failed(SECOND, "engine", "gone", 0.5)
        store.flagged(FIRST, [], ["download"])
        rows = {row.cell: row for row in store.rows()}
        flags, failures = store.flags(), store.failures()
    assert (rows[FIRST].state, rows[FIRST].verdict, rows[FIRST].cost_usd) == (State.GRADED, Verdict.RESOLVED, 1.0)
    assert (rows[FIRST].signals, rows[FIRST].lost_cost_usd) == ({}, 0.0)
    assert (rows[SECOND].state, rows[SECOND].verdict, rows[SECOND].cost_usd) == (State.FAILED, Verdict.UNRESOLVED, 2.0)
    assert flags.keys() == {SECOND}
    assert [event.cell for event in failures] == [SECOND]


def finished(cell: Cell, cost: float) -> Attempt:
    return Attempt(
        instance_id=cell.instance_id, model=cell.model, patch="p", exit_status="Submitted", cost_usd=cost, api_calls=1,
        prompt_tokens=1, completion_tokens=1, cached_tokens=0, failed_calls=0, seconds=1.0, trajectory=Path("t"),
        unsubmitted_patch="", scripted=True,
    )  # fmt: skip
