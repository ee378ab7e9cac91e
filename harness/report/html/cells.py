"""The cells a report lists: from a folder's outcomes.csv, and from its store where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.leaks import Flag
from harness.data.instances import repository_of
from harness.importers.source import read_source
from harness.importers.table import read as read_csv
from harness.store.run_folder import RunFolder
from harness.store.store import CellRow, State, Store

NO_VERDICT = "no verdict"


@dataclass(frozen=True)
class CellFacts:
    """One instance with one model."""

    instance: str
    model: str
    resolved: bool | None
    verdict: str
    """As the store says it; "resolved", "unresolved" or "no verdict" where only outcomes are known."""
    cost_usd: float | None = None
    api_calls: float | None = None
    seconds: float | None = None
    exit_status: str = ""
    detail: str = ""
    """Why there is no verdict, or what the verdict alone does not say."""
    failure: str = ""
    """Kind of a failure that was not the model's."""
    flags: tuple[str, ...] = ()
    """Kinds of what was noticed in the trajectory."""
    flagged: tuple[str, ...] = ()
    """The same in words, with the step and what was run."""


@dataclass(frozen=True)
class Cells:
    """All cells of a folder of results."""

    instances: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    facts: tuple[CellFacts, ...] = ()
    """By instance, then model."""
    run: RunFolder | None = None
    """FaultOwner cell folders hold patches, test output and trajectories; None for recorded outcomes."""
    repositories: Mapping[str, str] = field(default_factory=dict)
    """By instance, where known."""


def load_cells(folder: Path) -> Cells:
    """The cells of a run folder, of its `selection/`, or of a replay's folder; empty when it has no outcomes.csv.

    Raises:
        InputError: a damaged outcomes.csv or store.
    """
    table = folder / "outcomes.csv"
    if not table.is_file():
        return Cells()
    recorded = read_csv(read_source(str(table)))
    models = tuple(run.name for run in recorded.runs)
    instances = tuple(dict.fromkeys(instance for run in recorded.runs for instance in run.cells))
    run = _run_of(folder)
    rows = {} if run is None else _stored(run)
    facts = []
    for instance in instances:
        for of_model in recorded.runs:
            cell = of_model.cells.get(instance)
            row = rows.get((instance, of_model.name))
            if row is not None:
                facts.append(_of_store(*row))
            elif cell is not None:
                verdict = NO_VERDICT if cell.resolved is None else "resolved" if cell.resolved else "unresolved"
                facts.append(
                    CellFacts(
                        instance, of_model.name, cell.resolved, verdict, cell.cost_usd, cell.api_calls, cell.seconds,
                        cell.exit_status or "",
                    )
                )  # fmt: skip
    repositories = {name: repository_of(name).replace("__", "/", 1) for name in instances}
    return Cells(instances, models, tuple(facts), run, {name: repo for name, repo in repositories.items() if repo})


def _run_of(folder: Path) -> RunFolder | None:
    for place in (folder, folder.resolve().parent):
        if (place / "outcomes.sqlite").is_file() and (place == folder or folder.name == "selection"):
            return RunFolder(place)
    return None


def _stored(run: RunFolder) -> dict[tuple[str, str], tuple[CellRow, Sequence[Flag]]]:
    with Store(run.store_path) as store:
        flags = store.flags()
        return {(row.instance_id, row.model): (row, flags.get(row.cell, ())) for row in store.rows()}


def _of_store(row: CellRow, flags: Sequence[Flag]) -> CellFacts:
    graded = row.state is State.GRADED and row.verdict is not None
    return CellFacts(
        instance=row.instance_id,
        model=row.model,
        resolved=row.verdict == "resolved" if graded else None,
        verdict=str(row.verdict) if graded else NO_VERDICT,
        cost_usd=row.cost_usd,
        api_calls=row.api_calls,
        seconds=row.agent_seconds,
        exit_status=row.exit_status or "",
        detail=row.detail,
        failure=row.failure or ("" if graded else f"not finished ({row.state})"),
        flags=tuple(dict.fromkeys(flag.kind for flag in flags)),
        flagged=tuple(f"{flag.kind}, step {flag.step}: {flag.command}" for flag in flags),
    )
