"""What a run's store holds of a cell: its state, its row, its failures, and attempts that were replaced."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from agents.leaks import Flag
from harness.grading.verdict import Verdict

KILLED = "killed"
"""Failure of a cell whose agent was at work when the run was killed."""

LOST = "lost"
"""Failure of a cell whose finished attempt is no longer on the disk."""

WAITS_UNTIL = "waits for its model's turn until "
"""Begins the detail of a running cell whose agent waits under its model's `rpm` or `tpm`; the time follows."""


class State(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    """The agent is at work, or was when the run was killed: it starts anew."""
    AGENT_DONE = "agent done"
    """The patch is on disk; only the grading is missing."""
    GRADED = "graded"
    FAILED = "failed"
    """A failure that was not the model's; the next start tries again."""


ATTEMPTED = frozenset((State.AGENT_DONE, State.GRADED))
"""States of a cell whose attempt has finished."""


@dataclass(frozen=True, order=True)
class Cell:
    """One instance, attempted by one model; the number tells repeated attempts apart."""

    instance_id: str
    model: str
    attempt: int = 1

    def __str__(self) -> str:
        """For messages."""
        return f"{self.instance_id} / {self.model}" + (f", attempt {self.attempt}" if self.attempt > 1 else "")

    @property
    def label(self) -> str:
        """Marks its containers."""
        return f"{self.instance_id}/{self.model}" + (f"@{self.attempt}" if self.attempt > 1 else "")


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
    """Without the wait for other instances' tests; stores of earlier versions include it."""
    test_seconds: float | None
    """Run time of the test script alone."""
    unsubmitted: bool
    scripted: bool
    updated_at: str
    signals: Mapping[str, float] = field(default_factory=dict)
    """What the finished attempt shows, without knowledge of the hidden tests; see `agents.signals`."""
    attempt: int = 1
    """From 1; further ones are repeats."""

    @property
    def cell(self) -> Cell:
        return Cell(self.instance_id, self.model, self.attempt)


COLUMNS = tuple(column.name for column in fields(CellRow))
"""What a row of the table `cells` holds, by the name of the field that takes it."""
JUDGING = 0
"""Number of the attempt under which the calls of an instance's judge are recorded: they belong to no cell."""
OF_CELL = "instance_id = ? AND model = ? AND attempt = ?"
"""Condition for the rows of one cell; its values are the cell's fields in their order."""


@dataclass(frozen=True)
class FailureRow:
    """One thing that went wrong and was not the model's."""

    instance_id: str
    model: str
    at: str
    kind: str
    detail: str
    cost_usd: float
    attempt: int = 1

    @property
    def cell(self) -> Cell:
        return Cell(self.instance_id, self.model, self.attempt)


@dataclass(frozen=True)
class Replaced:
    """A finished attempt whose cell was attempted again."""

    row: CellRow
    number: int
    """Of the cell's earlier attempts, from 1."""
    moved: bool
    """Its folder has its new name."""
    closed: bool
    """The command that replaced it has come to its end."""
    flags: Sequence[Flag] = ()

    @property
    def cell(self) -> Cell:
        return self.row.cell

    @property
    def cost_usd(self) -> float:
        """Everything that was paid for it."""
        return (self.row.cost_usd or 0.0) + self.row.lost_cost_usd


@dataclass(frozen=True)
class EvidenceRow:
    """What tests say of an instance's finished attempts."""

    instance_id: str
    digest: str
    """Of the patches, tests and settings it was made from; empty while it is being gathered."""
    content: Mapping[str, Any]
    """The tests, and what came of each with each attempt's patch, as JSON takes it."""
    seconds: float
    """Of writing and running the tests."""
    cost_usd: float
    """Of writing and judging them."""


def cell_of(row: sqlite3.Row) -> Cell:
    """The cell that a row of any table belongs to. Tables of earlier versions do not number attempts."""
    return Cell(row["instance_id"], row["model"], row["attempt"] if "attempt" in row.keys() else 1)  # noqa: SIM118


def flag_of(row: sqlite3.Row | Mapping[str, Any]) -> Flag:
    """The flag that a row of the table `flags` holds."""
    failed = None if row["failed"] is None else bool(row["failed"])
    return Flag(kind=row["kind"], step=row["step"], command=row["command"], failed=failed)


def cell_row(row: sqlite3.Row | Mapping[str, Any]) -> CellRow:
    """A row of the table `cells`.

    Raises:
        ValueError: the row is damaged.
    """
    values: dict[str, Any] = dict(row)
    values["state"] = State(row["state"])
    values["verdict"] = None if row["verdict"] is None else Verdict(row["verdict"])
    values["signals"] = json.loads(row["signals"])
    values["unsubmitted"] = bool(row["unsubmitted"])
    values["scripted"] = bool(row["scripted"])
    return CellRow(**values)
