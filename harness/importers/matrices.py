"""Matrices of recorded runs: a pool's, and that of runs which only inform difficulty."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.config.selection import Selection
from harness.data.instances import candidates
from harness.data.model_names import match_names
from harness.errors import InputError
from harness.importers.duplicates import same_verdicts
from harness.importers.recorded import RecordedCell, RecordedRun
from harness.importers.repeats import RepeatedModel, attempts_of
from harness.importers.same_model import run_date
from harness.text import counted, counted_part
from router.arrays import FloatArray
from router.outcomes import OutcomeMatrix

NAMED = 3
"""Instances named in a note; the others are counted."""
LEAST_COVERAGE = 0.8
"""Share of the widest run's instances that a run must know to enter a pool nobody named. Instances that a model of the
pool lacks are bounded in its row and left out of the others, so a lower share would leave few to compare on."""


def outcome_matrix(
    runs: Sequence[RecordedRun],
    pool: Sequence[str] | None,
    instances: Sequence[str],
    *,
    allow_faulty: bool = False,
) -> tuple[OutcomeMatrix, list[str]]:
    """The outcomes of a pool over some instances, and what a reader has to know about them.

    Args:
        runs: As `load_outcomes` gives them; those that know none of `instances` are not considered.
        pool: Parts of names, see `harness.data.model_names.match_names`; None takes every sound run that knows
            nearly as many of the instances as the widest (LEAST_COVERAGE).
        instances: Instance ids in the order wanted; those no model of the pool knows are left out (with a note).
        allow_faulty: Use runs whose outcomes contradict what was published for them.

    Raises:
        InputError: unknown or ambiguous names, a faulty run asked for, or nothing recorded for these instances.
    """
    wanted = frozenset(instances)
    named = _named(runs, wanted)
    if not named:
        elsewhere = next((instance for run in runs for instance in run.cells), "nothing")
        raise InputError(
            f"none of {len(runs)} recorded runs knows any of the {len(wanted)} instances (recorded: {elsewhere}, …; "
            f"tasks: {next(iter(instances), 'none')}, …); outcomes and tasks are of different datasets"
        )
    notes: list[str] = []
    if pool:
        models = match_names(pool, list(named), globs=True)
    else:
        models, pool_notes = _default_pool(named, wanted, allow_faulty)
        notes += pool_notes
    for model in models:
        fault = named[model].fault
        if fault is not None and not allow_faulty:
            raise InputError(f"'{model}' cannot be used: {fault}; take another run, or allow faulty runs")
        notes += [f"{model} contradicts itself: {fault}"] if fault is not None else []
        notes += named[model].notes
    table = _table([named[model] for model in models], instances)
    known = [i for i, row in zip(instances, table, strict=True) if any(cell.resolved is not None for cell in row)]
    if len(known) < len(instances):
        unknown = [i for i in instances if i not in set(known)]
        notes.append(
            f"{counted_part(len(unknown), len(instances), 'instance', 'has', 'have')} no outcome of the pool and "
            f"{'is' if len(unknown) == 1 else 'are'} left out, e.g. {', '.join(unknown[:NAMED])}"
        )
    kept = [row for row in table if any(cell.resolved is not None for cell in row)]
    return _matrix(models, kept, known), notes


def selected(
    outcomes: OutcomeMatrix, terms: Sequence[str], rows: Sequence[Mapping[str, Any]], source: str
) -> OutcomeMatrix:
    """The outcomes on the instances that a selection's terms choose.

    Args:
        outcomes: what there is.
        terms: see `harness.config.selection`; none chooses all.
        rows: of the dataset, for repositories, difficulties and the order.
        source: what `rows` are called in messages.

    Raises:
        SelectionError: a term cannot be used, or leaves nothing.
    """
    if not terms:
        return outcomes
    chosen = set(Selection.parse(terms).choose(candidates(rows, outcomes.instances), source))
    return outcomes.take(np.array([i for i, name in enumerate(outcomes.instances) if name in chosen], dtype=np.int64))


def unknown_verdicts(outcomes: OutcomeMatrix) -> list[str]:
    """For each model that lacks verdicts: how many, on which instances, and within what bounds its count lies."""
    n = len(outcomes)
    notes = []
    for model, verdicts in zip(outcomes.models, outcomes.resolved.T, strict=True):
        unknown = np.flatnonzero(np.isnan(verdicts)).tolist()
        if unknown:
            least = int(np.nansum(verdicts))
            named = ", ".join(outcomes.instances[i] for i in unknown[:NAMED])
            named += f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
            notes.append(
                f"{model}: {counted_part(len(unknown), n, 'verdict', 'is', 'are')} unknown ({named}); it resolved "
                f"{least} if they all failed, {least + len(unknown)} if none did"
            )
    return notes


def auxiliary_matrix(
    runs: Sequence[RecordedRun],
    outcomes: OutcomeMatrix,
    *,
    benchmark: Sequence[str] | None = None,
    not_after: str | None = None,
) -> tuple[OutcomeMatrix | None, list[str]]:
    """Runs that may inform how hard an instance is but are no candidates, over the instances of a pool's `outcomes`.

    Left out: runs that are members of the pool (the same verdicts, under whatever name), runs with a fault, and runs
    that know fewer than half of the instances. None when no run is left. Another run of a member's model is welcome.

    Args:
        runs: As `load_outcomes` gives them.
        outcomes: The pool's matrix, whose instances are the rows.
        benchmark: Every instance of the benchmark, where `outcomes` has only some; for sources that list only what
            they resolved.
        not_after: A day, YYYYMMDD: runs recorded later are left out, as nobody could have known them. Runs without a
            date stay.
    """
    known_runs = [run for run in runs if not_after is None or (run_date(run) or "") <= not_after]
    whole = list(benchmark or outcomes.instances)
    columns: dict[str, RecordedRun] = {}
    members = faulty = thin = 0
    for name, run in _named(known_runs, frozenset(outcomes.instances)).items():
        complete = run.speaks_of_all(whole)
        verdicts = np.array([_number(run.cell(i, complete).resolved) for i in outcomes.instances])
        own_name = f"{name} [{run.label}]" if name in outcomes.models else name
        if any(
            _same(verdicts, column, name == model)
            for model, column in zip(outcomes.models, outcomes.resolved.T, strict=True)
        ):
            members += 1
        elif run.fault is not None:
            faulty += 1
        elif np.isnan(verdicts).mean() > 0.5:
            thin += 1
        else:
            columns[own_name] = run
    later = "" if not_after is None else f", {len(runs) - len(known_runs)} later than {not_after}"
    notes = [
        f"{counted(len(columns), 'auxiliary run')}, to inform difficulty only and never chosen (left out: {members} "
        f"of the pool itself, {faulty} faulty or copies, {thin} that know fewer than half of the instances{later})"
    ]
    if not columns:
        return None, notes
    table = _table(list(columns.values()), outcomes.instances, whole)
    return _matrix(list(columns), table, outcomes.instances), notes


def pool_repeats(runs: Sequence[RecordedRun], outcomes: OutcomeMatrix) -> list[RepeatedModel]:
    """Repeated attempts of a pool whose matrix `outcome_matrix` made of `runs`."""
    named = _named(runs, frozenset(outcomes.instances))
    found = (attempts_of(named[model], outcomes.instances, model) for model in outcomes.models if model in named)
    return [model for model in found if model is not None]


def latest_date(runs: Sequence[RecordedRun], outcomes: OutcomeMatrix) -> str | None:
    """The day of the last run of a pool whose matrix `outcome_matrix` made of `runs`; None where none has a date."""
    named = _named(runs, frozenset(outcomes.instances))
    days = [run_date(named[model]) for model in outcomes.models if model in named]
    return max((day for day in days if day is not None), default=None)


def _named(runs: Sequence[RecordedRun], wanted: frozenset[str]) -> dict[str, RecordedRun]:
    """Runs that know any of the instances, under names of their own: where two share one, each says where from."""
    relevant = [run for run in runs if any(run.cells[i].resolved is not None for i in wanted & run.cells.keys())]
    counts = Counter(run.name for run in relevant)
    return {run.name if counts[run.name] == 1 else f"{run.name} [{run.label}]": run for run in relevant}


def _default_pool(
    named: dict[str, RecordedRun], wanted: frozenset[str], allow_faulty: bool
) -> tuple[list[str], list[str]]:
    """Every sound run that covers nearly as many instances as the widest; and a note that names the others.

    Raises:
        InputError: no sound run, or several of which only one covers enough: a pool of one model is never meant.
    """
    sound = {name: run for name, run in named.items() if allow_faulty or run.fault is None}
    faulty = [f"{name}: {run.fault}" for name, run in named.items() if name not in sound]
    if not sound:
        raise InputError(
            f"every recorded run contradicts itself ({faulty[0]}); name other outcomes or allow faulty runs"
        )
    coverage = {
        name: sum(run.cell(i, run.speaks_of_all(wanted)).resolved is not None for i in wanted)
        for name, run in sound.items()
    }
    widest = max(coverage.values())
    models = [name for name, n in coverage.items() if n >= LEAST_COVERAGE * widest]
    thin = {name: n for name, n in coverage.items() if name not in models}
    thin_named = ", ".join(f"{name} ({n} of {len(wanted)})" for name, n in sorted(thin.items(), key=lambda x: -x[1]))
    if len(models) == 1 and thin:
        raise InputError(
            f"only '{models[0]}' knows {widest} of {len(wanted)} instances, and a pool of one model is no pool; left "
            f"out would be {thin_named}: name the models to take (--model, where the command has it), or give a file "
            "that holds only those"
        )
    notes = [
        f"no pool was named: {len(models)} of {len(named)} recorded runs were taken, all sound ones that know at least "
        f"{LEAST_COVERAGE:.0%} of the {widest} instances the widest knows"
    ]
    if thin:
        notes.append(f"left out of the pool, as they know fewer instances: {thin_named}")
    if faulty:
        notes.append(f"left out of the pool, as they contradict themselves: {'; '.join(faulty)}")
    return models, notes


def _same(a: FloatArray, b: FloatArray, named_alike: bool) -> bool:
    """Whether two records (n,) are one run; of few instances only the name together with equal verdicts tells."""
    return same_verdicts(a, b) or (named_alike and bool(((a == b) | np.isnan(a) | np.isnan(b)).all()))


def _table(
    runs: Sequence[RecordedRun], instances: Sequence[str], benchmark: Sequence[str] | None = None
) -> list[list[RecordedCell]]:
    """Cells by instance, then run."""
    complete = [run.speaks_of_all(benchmark or instances) for run in runs]
    return [[run.cell(i, whole) for run, whole in zip(runs, complete, strict=True)] for i in instances]


def _matrix(models: Sequence[str], cells: list[list[RecordedCell]], instances: Sequence[str]) -> OutcomeMatrix:
    def column(field: str) -> list[list[float]]:
        return [[_number(getattr(cell, field)) for cell in row] for row in cells]

    names = sorted({name for row in cells for cell in row for name in cell.signals})
    signals = {name: [[_number(cell.signals.get(name)) for cell in row] for row in cells] for name in names}
    return OutcomeMatrix.build(
        instances=instances,
        models=models,
        resolved=column("resolved"),
        cost=column("cost_usd"),
        calls=column("api_calls"),
        seconds=column("seconds"),
        signals=signals,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
