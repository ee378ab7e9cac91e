"""The cells a report lists: from a folder's outcomes.csv, and from its store where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from agents.leaks import Flag
from harness.data.instances import repositories_of
from harness.data.rows import read_rows
from harness.evaluation.formats import money_kind
from harness.importers.recorded import RecordedCell
from harness.importers.source import read_source
from harness.importers.table import read as read_csv
from harness.report.flag_kinds import explain_flag
from harness.store.rows import Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

NO_VERDICT = "no verdict"
"""Stands for the verdict of a cell that has none."""


@dataclass(frozen=True)
class FlagNote:
    """One flag of a cell."""

    kind: str
    explanation: str
    step: int
    """The model's reply that showed it, from 1; 0 where it belongs to no reply."""
    command: str
    """The command, or another piece of evidence."""


@dataclass(frozen=True)
class CellFacts:
    """One instance with one model."""

    instance: str
    model: str
    resolved: bool | None
    verdict: str
    """The store's verdict; "resolved", "unresolved" or "no verdict" where only outcomes are recorded."""
    cost_usd: float | None = None
    money_kind: str = ""
    """Stands before the cost where nobody pays it."""
    api_calls: float | None = None
    seconds: float | None = None
    exit_status: str = ""
    detail: str = ""
    """Why there is no verdict, or what explains the verdict."""
    failure: str = ""
    """Kind of the failure that left the cell without a verdict."""
    pending: bool = False
    """The run has not finished this cell, and no failure is recorded."""
    flags: tuple[FlagNote, ...] = ()
    attempt: int = 1

    @property
    def label(self) -> str:
        """The model, and which of its repeated attempts."""
        return self.model + (f", attempt {self.attempt}" if self.attempt > 1 else "")


@dataclass(frozen=True)
class Cells:
    """All cells of a folder of results."""

    instances: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    facts: tuple[CellFacts, ...] = ()
    """By instance, then model: the first attempts, which the results are made of."""
    further: tuple[CellFacts, ...] = ()
    """Repeated attempts. They have pages of their own, which the first attempts' pages link to."""
    run: RunFolder | None = None
    """The run whose cell folders hold patches, test output and trajectories; None for recorded outcomes."""
    repositories: Mapping[str, str] = field(default_factory=dict)
    """By instance, where known."""
    issues: Mapping[str, str] = field(default_factory=dict)
    """Problem statements by instance, as the run's folder has them."""
    date: str = ""
    """Day of a run's last verdict, else of the folder's results.json; empty where there is neither."""


def load_cells(folder: Path) -> Cells:
    """The cells of a run folder, of its `selection/`, or of a replay's folder; empty when it has no outcomes.csv.

    Raises:
        InputError: `outcomes.csv`, `dataset.jsonl` or the store is damaged.
    """
    table = folder / "outcomes.csv"
    if not table.is_file():
        return Cells(date=_written(folder))
    recorded = read_csv(read_source(str(table)))
    instances = tuple(dict.fromkeys(instance for run in recorded.runs for instance in run.cells))
    run = _run_of(folder)
    stored = {} if run is None else _stored(run)
    facts: list[CellFacts] = []
    for instance in instances:
        for outcomes in recorded.runs:
            if (cell := Cell(instance, outcomes.name)) in stored:
                facts.append(_facts_from_store(*stored[cell]))
            elif instance in outcomes.cells:
                facts.append(_facts_from_record(instance, outcomes.name, outcomes.cells[instance]))
    listed = {(fact.instance, fact.model) for fact in facts}
    rows = [] if run is None else _dataset_rows(run)
    by_id = {str(row.get("instance_id")): row for row in rows}
    repositories = repositories_of([{"instance_id": name} | by_id.get(name, {}) for name in instances])
    return Cells(
        instances=instances,
        models=tuple(outcomes.name for outcomes in recorded.runs),
        facts=tuple(facts),
        further=tuple(
            _facts_from_store(row, flags)
            for cell, (row, flags) in stored.items()
            if cell.attempt > 1 and (cell.instance_id, cell.model) in listed
        ),
        run=run,
        repositories={name: repository for name, repository in repositories.items() if repository},
        issues={name: str(row.get("problem_statement") or "") for name, row in by_id.items()},
        date=max((row.updated_at[:10] for row, _ in stored.values()), default="") or _written(folder),
    )


def _written(folder: Path) -> str:
    """The day on which the folder's results.json was written; empty when there is none."""
    file = folder / "results.json"
    return date.fromtimestamp(file.stat().st_mtime).isoformat() if file.is_file() else ""


def _dataset_rows(run: RunFolder) -> list[dict[str, Any]]:
    path = run.path / "dataset.jsonl"
    return read_rows(path) if path.is_file() else []


def _run_of(folder: Path) -> RunFolder | None:
    for place in (folder, folder.resolve().parent):
        if (place / "outcomes.sqlite").is_file() and (place == folder or folder.name == "selection"):
            return RunFolder(place)
    return None


def _stored(run: RunFolder) -> dict[Cell, tuple[CellRow, Sequence[Flag]]]:
    with Store(run.store_path, read_only=True) as store:
        flags = store.flags()
        return {row.cell: (row, flags.get(row.cell, ())) for row in store.rows()}


def _facts_from_store(row: CellRow, flags: Sequence[Flag]) -> CellFacts:
    graded = row.state is State.GRADED and row.verdict is not None
    return CellFacts(
        instance=row.instance_id,
        model=row.model,
        attempt=row.attempt,
        resolved=row.verdict == "resolved" if graded else None,
        verdict=str(row.verdict) if graded else NO_VERDICT,
        cost_usd=row.cost_usd,
        money_kind=money_kind(scripted=row.scripted, simulated=False),
        api_calls=row.api_calls,
        seconds=row.agent_seconds,
        exit_status=row.exit_status or "",
        detail=row.detail,
        failure=row.failure or ("" if graded else f"not finished ({row.state})"),
        pending=not graded and not row.failure,
        flags=tuple(
            FlagNote(kind=flag.kind, explanation=explain_flag(flag.kind), step=flag.step, command=flag.command)
            for flag in flags
        ),
    )


def _facts_from_record(instance: str, model: str, cell: RecordedCell) -> CellFacts:
    return CellFacts(
        instance=instance,
        model=model,
        resolved=cell.resolved,
        verdict=NO_VERDICT if cell.resolved is None else "resolved" if cell.resolved else "unresolved",
        cost_usd=cell.cost_usd,
        api_calls=cell.api_calls,
        seconds=cell.seconds,
        exit_status=cell.exit_status or "",
    )
