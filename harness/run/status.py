"""How far a run is, read from its store alone: at once, also while the run is at work in another process."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import InputError
from harness.run.failures import kind_of
from harness.run.journal import continuing_command
from harness.store.rows import ATTEMPTED, WAITS_UNTIL, CellRow, FailureRow, Replaced, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

RATE_WINDOW = timedelta(minutes=30)
"""How far back the rate of finished cells and of spending looks."""
SHORTEST_WINDOW = timedelta(seconds=30)
"""Cells that ended within less say nothing about a rate: the first gradings of a run often end together."""
INTERRUPTED = "interrupted"
"""What has become of a cell whose agent was at work when the run's process ended."""
LAST_FAILURES = 5
"""How many of the latest failures are named."""


@dataclass(frozen=True)
class ModelStatus:
    """One model's cells by what has become of them."""

    name: str
    cells: int
    graded: int
    resolved: int
    running: int
    """An agent is at work, or a patch waits for its grading, while a process has the run."""
    awaiting_turn: int
    """Of them, agents that wait for their model's turn under its `rpm` or `tpm`."""
    failed: int
    """Ended by a failure that was not the model's, and not tried again yet."""
    waiting: int
    """Not started yet."""
    cost_usd: float
    """Of finished attempts, of what was lost to failures, and of earlier attempts of cells that were redone."""
    cells_per_hour: float | None
    """Of the last half hour in which its cells were finished; None before there are 30 seconds of them."""
    hours_left: float | None
    redone: int = 0
    """Cells that were attempted again after they had a verdict."""
    earlier_cost_usd: float = 0.0
    """Of their earlier attempts."""
    unpriced: int = 0
    """Finished attempts whose cost is unknown: `polyswe grade` took them in without."""
    interrupted: int = 0
    """Running when the run's process ended: the next start makes the attempt anew, or grades the patch."""


@dataclass(frozen=True)
class TestsStatus:
    """How far the tests are that are written for a run's instances and run on its attempts."""

    __test__: ClassVar[bool] = False  # no test class of pytest's

    planned: int
    """Cells of test writers: instances × writers."""
    written: int
    running: int
    failed: int
    """Ended by a failure that was not the writer's, and not tried again yet."""
    instances: int
    """With an attempt."""
    tested: int
    """Instances whose tests were run on the attempts made so far."""
    cost_usd: float
    """Of writing and judging tests."""


@dataclass(frozen=True)
class RunStatus:
    """A run as its store shows it."""

    run: str
    at_work: bool
    """Another process holds the run's lock."""
    models: Sequence[ModelStatus]
    started: datetime | None
    updated: datetime | None
    cells_per_hour: float | None
    """Of the last half hour in which cells were finished; None before there are 30 seconds of them."""
    usd_per_hour: float | None
    hours_left: float | None
    failures: Sequence[FailureRow]
    """The latest ones, the newest first."""
    scripted: bool = False
    """Every attempt so far is a scripted stand-in's: nobody pays these costs."""
    tests: TestsStatus | None = None
    """None where no tests are written."""
    command: Sequence[str] = ()
    """The words after `polyswe` that continue the run; empty where they are not on record."""

    @property
    def graded(self) -> int:
        return sum(model.graded for model in self.models)

    @property
    def cells(self) -> int:
        return sum(model.cells for model in self.models)

    @property
    def unpriced(self) -> int:
        return sum(model.unpriced for model in self.models)

    @property
    def cost_usd(self) -> float:
        return sum(model.cost_usd for model in self.models) + (self.tests.cost_usd if self.tests else 0.0)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        values = asdict(self)
        for name in ("started", "updated"):
            values[name] = values[name].isoformat() if values[name] else None
        return {**values, "cells": self.cells, "graded": self.graded, "cost_usd": self.cost_usd}


def run_status(
    folder: RunFolder, part: Callable[[Sequence[CellRow]], Sequence[CellRow]] = lambda rows: rows
) -> RunStatus:
    """The state of a run.

    Args:
        folder: the run's.
        part: which of its cells are looked at.

    Raises:
        InputError: the folder holds no run, or its store cannot be read.
    """
    every, failures = read_cells(folder)
    rows = part(every)
    cells = {row.cell for row in rows}
    failures = [event for event in failures if event.cell in cells]
    replaced = [earlier for earlier in read_replaced(folder) if earlier.cell in cells]
    order = list(dict.fromkeys(row.model for row in rows))
    rate, spending = _rates(rows)
    missing = sum(row.state is not State.GRADED for row in rows)
    models = [_model_status(name, rows, replaced) for name in order]
    working = at_work(folder)
    if not working:
        models = [replace(one, running=0, awaiting_turn=0, interrupted=one.running) for one in models]
    return RunStatus(
        run=folder.path.name,
        at_work=working,
        models=models,
        started=min(map(_time, rows), default=None),
        updated=max(map(_time, rows), default=None),
        cells_per_hour=rate,
        usd_per_hour=spending,
        hours_left=missing / rate if rate else None,
        failures=sorted(failures, key=lambda event: event.at, reverse=True)[:LAST_FAILURES],
        scripted=all(row.scripted for row in rows if row.state in ATTEMPTED),
        tests=_tests_status(folder, rows),
        command=continuing_command(folder.path) if missing else (),
    )


def _tests_status(folder: RunFolder, rows: Sequence[CellRow]) -> TestsStatus | None:
    if not folder.tests.store_path.is_file():
        return None
    instances = {row.instance_id for row in rows}
    attempted = {row.instance_id for row in rows if row.state in ATTEMPTED}
    with Store(folder.store_path, read_only=True) as store:
        tested = {name for name, row in store.evidence().items() if row.digest} & attempted
    with Store(folder.tests.store_path, read_only=True) as store:
        cells = [row for row in store.rows() if row.instance_id in instances]
        judged = sum(store.judging_cost(name) for name in instances)
    return TestsStatus(
        planned=len(cells),
        written=sum(row.state in ATTEMPTED for row in cells),
        running=sum(row.state is State.RUNNING for row in cells),
        failed=sum(row.state is State.FAILED for row in cells),
        instances=len(attempted),
        tested=len(tested),
        cost_usd=judged + sum((row.cost_usd or 0.0) + row.lost_cost_usd for row in cells),
    )


def read_cells(folder: RunFolder) -> tuple[list[CellRow], list[FailureRow]]:
    """Every cell of a run and every failure on record, without changing anything.

    Raises:
        InputError: the folder holds no run, or its store cannot be read.
    """
    if not folder.store_path.is_file():
        raise folder.without_run(folder.store_path.name)
    try:
        with Store(folder.store_path, read_only=True) as store:
            return store.rows(), store.failures()
    except sqlite3.DatabaseError as error:
        raise InputError(f"{folder.store_path}: not a readable outcome store ({error})") from error


def read_replaced(folder: RunFolder) -> list[Replaced]:
    """Earlier attempts of the run's cells that were attempted again."""
    with Store(folder.store_path, read_only=True) as store:
        return store.replaced()


def state_of(row: CellRow, *, working: bool = True) -> str:
    """One word or two for what has become of a cell: its verdict, its failure, or how far it is.

    Args:
        row: The cell.
        working: Whether a process has the run; without one, no cell is running.
    """
    if row.state is State.GRADED:
        return str(row.verdict)
    if row.state is State.RUNNING and not working:
        return INTERRUPTED
    if _awaits_turn(row):
        return "waits for its turn"
    return str(row.failure) if row.state is State.FAILED else str(row.state)


def at_work(folder: RunFolder) -> bool:
    """Whether a process has the run, or the run whose tests the folder holds."""
    return any(
        _is_held(path.with_name(f".{path.name}.lock")) for path in (folder.path, folder.path.parent) if path.name
    )


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock: trying to keep others out tells, and changes nothing."""
    try:
        with lock.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file: no process of this version ever worked here
        return False
    return False


def _model_status(name: str, rows: Sequence[CellRow], replaced: Sequence[Replaced]) -> ModelStatus:
    own = [row for row in rows if row.model == name]
    earlier = sum(one.cost_usd for one in replaced if one.row.model == name)
    rate, _ = _rates(own)
    missing = sum(row.state is not State.GRADED for row in own)
    by_state: Mapping[State, int] = {state: sum(row.state is state for row in own) for state in State}
    return ModelStatus(
        name=name,
        cells=len(own),
        graded=by_state[State.GRADED],
        resolved=sum(row.verdict == "resolved" for row in own),
        running=by_state[State.RUNNING] + by_state[State.AGENT_DONE],
        awaiting_turn=sum(_awaits_turn(row) for row in own),
        failed=sum(row.state is State.FAILED and not kind_of(row.failure or "").scored for row in own),
        waiting=by_state[State.PLANNED],
        cost_usd=sum((row.cost_usd or 0.0) + row.lost_cost_usd for row in own) + earlier,
        redone=len({one.cell for one in replaced if one.row.model == name}),
        earlier_cost_usd=earlier,
        unpriced=sum(row.state in ATTEMPTED and row.cost_usd is None for row in own),
        cells_per_hour=rate,
        hours_left=missing / rate if rate and missing else None,
    )


def _awaits_turn(row: CellRow) -> bool:
    if row.state is not State.RUNNING or not row.detail.startswith(WAITS_UNTIL):
        return False
    return datetime.fromisoformat(row.detail.removeprefix(WAITS_UNTIL)) > datetime.now(UTC)


def _rates(rows: Sequence[CellRow]) -> tuple[float | None, float | None]:
    """Cells and USD an hour over the last window in which cells were finished."""
    finished = sorted(_time(row) for row in rows if row.state is State.GRADED)
    if len(finished) < 2:
        return None, None
    since = max(finished[0], finished[-1] - RATE_WINDOW)
    recent = [row for row in rows if row.state is State.GRADED and _time(row) > since]
    if finished[-1] - since < SHORTEST_WINDOW:
        return None, None
    hours = (finished[-1] - since).total_seconds() / 3600
    return len(recent) / hours, sum((row.cost_usd or 0.0) for row in recent) / hours


def _time(row: CellRow) -> datetime:
    at = datetime.fromisoformat(row.updated_at)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
