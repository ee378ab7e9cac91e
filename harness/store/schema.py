"""The tables of an outcome store, and how a file of an earlier version becomes one of this version."""

from __future__ import annotations

import sqlite3

SCHEMA = 2
"""Version of the file's tables. Earlier versions are read as they are, and brought to this one when written to."""

CELLS = """
CREATE TABLE IF NOT EXISTS cells (
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1, -- from 1; further ones are repeats
    key TEXT NOT NULL,                  -- of everything the outcome depends on; see harness.store.keys
    state TEXT NOT NULL,
    verdict TEXT,                       -- of a graded cell
    failure TEXT,                       -- kind of a failed cell's failure, which was not the model's
    detail TEXT NOT NULL DEFAULT '',
    exit_status TEXT,
    cost_usd REAL,
    lost_cost_usd REAL NOT NULL DEFAULT 0,  -- spent on tries that ended in a failure that was not the model's
    api_calls INTEGER,
    failed_calls INTEGER,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    agent_seconds REAL,
    grading_seconds REAL,               -- without the wait for other instances' tests
    test_seconds REAL,                  -- of them, those of the test script
    unsubmitted INTEGER NOT NULL DEFAULT 0, -- a diff was left in the container but never submitted
    scripted INTEGER NOT NULL DEFAULT 0,
    signals TEXT NOT NULL DEFAULT '{}',     -- JSON: what the attempt shows of its chances, by name
    updated_at TEXT NOT NULL,
    PRIMARY KEY (instance_id, model, attempt)
) STRICT
"""
"""The cells. A file whose table lacks one of these columns is rebuilt with it."""

BESIDE = (
    """
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
    failure TEXT NOT NULL,              -- kind; empty when answered
    attempt INTEGER NOT NULL DEFAULT 1
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS failures (   -- everything that went wrong and was not the model's, also what was overcome
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    cost_usd REAL NOT NULL,             -- paid for nothing
    attempt INTEGER NOT NULL DEFAULT 1
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS images (     -- pulled by this run, so that only these are removed again
    name TEXT NOT NULL PRIMARY KEY
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS flags (      -- signs that a finished attempt had help or fakes passes
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    step INTEGER NOT NULL,
    command TEXT NOT NULL,              -- its beginning
    failed INTEGER,                     -- whether the command ended with an error; NULL when unknown
    attempt INTEGER NOT NULL DEFAULT 1
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS replaced (   -- finished attempts of cells that were attempted again
    instance_id TEXT NOT NULL,
    model TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    number INTEGER NOT NULL,            -- of the cell's earlier attempts, from 1
    at REAL NOT NULL,                   -- seconds since the epoch; the cell's calls from then on are the new attempt's
    moved INTEGER NOT NULL DEFAULT 0,   -- its folder has its new name
    closed INTEGER NOT NULL DEFAULT 0,  -- the command that replaced it has come to its end
    row TEXT NOT NULL,                  -- JSON: the row of the table cells
    flags TEXT NOT NULL,                -- JSON: its rows of the table flags
    PRIMARY KEY (instance_id, model, attempt, number)
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS evidence (   -- what tests say of an instance's finished attempts; see harness.run.evidence
    instance_id TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL,               -- of the patches, tests and settings it was made from; empty: not complete yet
    content TEXT NOT NULL,              -- JSON: the tests, and what came of each with each attempt's patch
    seconds REAL NOT NULL,              -- of writing and running the tests
    cost_usd REAL NOT NULL,             -- of writing and judging them
    updated_at TEXT NOT NULL
) STRICT
""",
)
"""What is kept beside the cells."""

NUMBERED = ("calls", "failures", "flags")
"""Tables that earlier versions wrote without the number of the attempt."""

CALLS_INDEX = "CREATE INDEX IF NOT EXISTS calls_of_cell ON calls (instance_id, model, attempt)"


def make_tables(db: sqlite3.Connection) -> None:
    """Make the tables that are missing and rebuild those of an earlier version. Call it within a transaction.

    Doing it again changes nothing; killed before the transaction ends, it has done nothing.
    """
    before = columns_of(db, "cells")
    if before and not before >= _wanted_columns():
        db.execute("ALTER TABLE cells RENAME TO cells_before")
        db.execute(CELLS)
        shared = ", ".join(sorted(before & columns_of(db, "cells")))
        db.execute(f"INSERT INTO cells ({shared}) SELECT {shared} FROM cells_before")
        db.execute("DROP TABLE cells_before")
    for statement in (CELLS, *BESIDE):
        db.execute(statement)
    for table in NUMBERED:
        if "attempt" not in columns_of(db, table):
            db.execute(f"ALTER TABLE {table} ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1")
    db.execute("DROP INDEX IF EXISTS calls_by_cell")  # of earlier versions
    db.execute(CALLS_INDEX)
    db.execute(f"PRAGMA user_version={SCHEMA}")


def columns_of(db: sqlite3.Connection, table: str) -> frozenset[str]:
    """Names of a table's columns; none where there is no such table."""
    return frozenset(row[1] for row in db.execute(f"PRAGMA table_info({table})"))


def _wanted_columns() -> frozenset[str]:
    fresh = sqlite3.connect(":memory:")
    try:
        fresh.execute(CELLS)
        return columns_of(fresh, "cells")
    finally:
        fresh.close()
