"""Recorded outcomes of other people's runs, and our own, as one matrix."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.importers.leaderboards import read_leaderboards
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import read_source
from harness.importers.table import read_csv, write_outcomes_csv
from harness.names import match_names

if TYPE_CHECKING:
    from router.outcomes import OutcomeMatrix

__all__ = [
    "RecordedCell",
    "RecordedOutcomes",
    "RecordedRun",
    "load_outcomes",
    "outcome_matrix",
    "write_outcomes_csv",
]


def load_outcomes(sources: Sequence[str | Path], *, cache: Path | None = None) -> RecordedOutcomes:
    """Every run recorded in some files, run folders or URLs, each run once.

    Args:
        sources: the SWE-bench site's leaderboards.json, CSVs of outcomes (see `harness.importers.table`), run folders
            with an outcomes.csv, or http(s) addresses of the first two.
        cache: folder for downloads (default `harness.cache.cache_dir()`).

    Raises:
        InputError: a source is missing, unreadable, damaged, or of no known shape.
        EnvironmentFault: a URL cannot be reached.
    """
    if not sources:
        raise InputError("no outcomes given: name a leaderboards.json or a CSV of outcomes")
    runs: dict[tuple[str, str], RecordedRun] = {}
    notes: list[str] = []
    for name in dict.fromkeys(map(str, sources)):
        source = read_source(name, cache)
        loaded = read_leaderboards(source) if source.text.lstrip()[0] in "{[" else read_csv(source)
        notes += [*source.notes, *loaded.notes]
        for run in loaded.runs:
            first = runs.setdefault((run.label, run.name if run.folder is None else ""), run)
            if first is not run and first.cells != run.cells:
                notes.append(
                    f"'{run.name}' is in {first.source} and {run.source} with other outcomes; the first is used"
                )
    return RecordedOutcomes(tuple(runs.values()), tuple(notes))


def outcome_matrix(
    runs: Sequence[RecordedRun],
    pool: Sequence[str] | None,
    instances: Sequence[str],
    *,
    allow_faulty: bool = False,
) -> tuple[OutcomeMatrix, list[str]]:
    """The outcomes of a pool over some instances, and what a reader has to know about them.

    Args:
        runs: as `load_outcomes` gives them; those that know none of `instances` are not considered.
        pool: parts of names, see `harness.names.match_names`; None takes every sound run that knows all instances.
        instances: instance ids in the order wanted; those no model of the pool knows are left out (with a note).
        allow_faulty: use runs whose outcomes contradict what was published for them.

    Raises:
        InputError: unknown or ambiguous names, a faulty run asked for, or nothing recorded for these instances.
    """
    wanted = frozenset(instances)
    named = _by_name([run for run in runs if any(run.cells[i].resolved is not None for i in wanted & run.cells.keys())])
    if not named:
        elsewhere = next((instance for run in runs for instance in run.cells), "nothing")
        raise InputError(
            f"none of {len(runs)} recorded runs knows any of the {len(wanted)} instances (recorded: {elsewhere}, …; "
            f"tasks: {next(iter(instances), 'none')}, …); outcomes and tasks are of different datasets"
        )
    notes: list[str] = []
    if pool:
        models = match_names(pool, list(named))
    else:
        models = _default_pool(named, wanted, allow_faulty)
        notes.append(f"no pool was named: all {len(models)} sound runs with the widest coverage were taken")
    for model in models:
        fault = named[model].fault
        if fault is not None and not allow_faulty:
            raise InputError(f"'{model}' cannot be used: {fault}; take another run, or allow faulty runs")
        notes += [f"{model} contradicts itself: {fault}"] if fault is not None else []
        notes += named[model].notes
    chosen = [named[model] for model in models]
    known = [i for i in instances if any(i in run.cells and run.cells[i].resolved is not None for run in chosen)]
    if len(known) < len(instances):
        notes.append(
            f"{len(instances) - len(known)} of {len(instances)} instances have no outcome of the pool; left out"
        )
    return _matrix(models, chosen, known), notes


def _by_name(runs: Sequence[RecordedRun]) -> dict[str, RecordedRun]:
    """Runs under names of their own: where two share one, each says where it is from."""
    counts = Counter(run.name for run in runs)
    return {run.name if counts[run.name] == 1 else f"{run.name} [{run.label}]": run for run in runs}


def _default_pool(named: dict[str, RecordedRun], wanted: frozenset[str], allow_faulty: bool) -> list[str]:
    sound = {name: run for name, run in named.items() if allow_faulty or run.fault is None}
    if not sound:
        raise InputError("every recorded run contradicts its published rate; name other outcomes or allow faulty runs")
    coverage = {
        name: sum(run.cells[i].resolved is not None for i in wanted & run.cells.keys()) for name, run in sound.items()
    }
    return [name for name, n in coverage.items() if n == max(coverage.values())]


def _matrix(models: Sequence[str], runs: Sequence[RecordedRun], instances: Sequence[str]) -> OutcomeMatrix:
    from router.outcomes import OutcomeMatrix

    unknown = RecordedCell(None)
    cells = [[run.cells.get(instance, unknown) for run in runs] for instance in instances]

    def column(field: str) -> list[list[float]]:
        return [[_number(getattr(cell, field)) for cell in row] for row in cells]

    return OutcomeMatrix.build(
        instances, models, column("resolved"), column("cost_usd"), column("api_calls"), column("seconds")
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
