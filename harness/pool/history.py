"""A pool through time, replayed from dated records: what each new model changed in the routed rate, cost and bound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from harness.data.embeddings import embed_texts
from harness.errors import InputError
from harness.evaluation.formats import NONE
from harness.importers import RecordedRun, load_outcomes, outcome_matrix, unknown_verdicts
from harness.text import counted, counted_part, line
from router.arrays import Features
from router.clustering import number_of_clusters
from router.lab.crossfit import Folds, crossfit, fit_features, folds
from router.outcomes import OutcomeMatrix, replay_choices
from router.policies import UnknownPolicyError, make_policy
from router.policy import Policy
from router.router import predict_without

FOLDS, REPEATS = 5, 4
"""Of the cross-fitting."""
LEAST_COVERAGE = 0.95
"""A run that knows fewer of the instances is of another benchmark or unfinished."""


@dataclass(frozen=True)
class Newcomer:
    """What the pool of a date would be without one of its new models."""

    model: str
    date: str
    resolved: int
    routed_delta: float
    """Resolved of the routed system with it minus without it, held out."""
    cost_delta: float | None
    """USD per instance."""
    oracle_delta: int
    share: float
    """Of the instances the router gives it."""


@dataclass(frozen=True)
class Removed:
    """The most used model taken away again: by masking it in the fitted router, and by fitting without it."""

    model: str
    masked: float
    refitted: float


@dataclass(frozen=True)
class PoolAt:
    """The pool at the end of a month."""

    month: str
    models: int
    best: str
    best_resolved: float
    best_cost: float | None
    fixed_resolved: float
    """The leader chosen in training folds."""
    routed: float
    """The policy, cross-fitted."""
    routed_cost: float | None
    oracle: int
    newcomers: tuple[Newcomer, ...]
    removed: Removed | None


@dataclass(frozen=True)
class History:
    """The pool at several dates."""

    policy: str
    instances: int
    folds: int
    repeats: int
    steps: tuple[PoolAt, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, **asdict(self)}


def pool_history(
    sources: Sequence[str],
    statements: Mapping[str, str],
    *,
    months: Sequence[str] = (),
    pool: Sequence[str] | None = None,
    policy: str = "cluster",
    seed: int = 0,
) -> History:
    """Replay a pool at the end of each month.

    Models enter by the date of their record and stay. Singles over the instances all of them know; the routed rows are
    cross-fitted over the same folds at every date, so that differences are the models', not the folds'.

    Args:
        sources: See `harness.importers.load_outcomes`.
        statements: Problem statements by instance.
        months: YYYY-MM; empty takes every month in which a model came.
        pool: Parts of names; None takes every dated run that covers the instances.
        policy: Short name of the routing policy.
        seed: Of folds and clusters.

    Raises:
        InputError: no dated run that covers the instances, or a month that is none.
    """
    if wrong := [month for month in months if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month)]:
        raise InputError(f"--at {wrong[0]}: expected a month like 2025-11")
    runs = load_outcomes(sources).runs
    names = list(statements)
    covering, dates, undatable = _dated(runs, names)
    if not covering:
        raise InputError(f"none of {len(runs)} recorded runs has a date and knows these {len(names)} instances")
    outcomes, _ = outcome_matrix(covering, pool or [run.name for run in covering], names)
    matrix = outcomes.complete_rows()
    arrival = {model: dates[model] for model in matrix.models if model in dates}
    laboratory = _laboratory(matrix, [statements[i] for i in matrix.instances], policy, seed)
    every = sorted({date[:7] for date in arrival.values()})
    steps: list[PoolAt] = []
    known: set[str] = set()
    for month in sorted(set(months) or every):
        present = [model for model, date in arrival.items() if date[:7] <= month]
        if len(present) >= 2:
            new = [model for model in present if model not in known]
            steps.append(_step(laboratory, month, present, new, arrival))
        known |= set(present)
    if not steps:
        until = f"came before {max(months)}" if months else "are in the pool"
        raise InputError(f"fewer than two models {until}; the first are of {every[0]}")
    notes = [*_left_out(runs, covering, names), *unknown_verdicts(outcomes)]
    if undatable:
        notes.append(f"left out, as their dates cannot be read: {', '.join(undatable)}")
    if len(matrix) < len(outcomes):
        missing = len(outcomes) - len(matrix)
        notes.append(
            f"left out: {counted_part(missing, len(outcomes), 'instance', 'lacks', 'lack')} a verdict of some model"
        )
    return History(
        policy=policy,
        instances=len(matrix),
        folds=min(FOLDS, len(matrix)),
        repeats=REPEATS,
        steps=tuple(steps),
        notes=tuple(notes),
    )


def _dated(
    runs: Sequence[RecordedRun], instances: Sequence[str]
) -> tuple[list[RecordedRun], dict[str, str], list[str]]:
    """Sound runs with a date that cover the instances, their dates by name, and runs whose date cannot be read."""
    covering: list[RecordedRun] = []
    dates: dict[str, str] = {}
    undatable: list[str] = []
    for run in runs:
        if not run.date or run.fault is not None:
            continue
        day = _day(str(run.date))
        if day is None:
            undatable.append(f"{run.name} ({run.date})")
        elif np.mean([run.cell(i).resolved is not None for i in instances]) >= LEAST_COVERAGE:
            covering.append(run)
            dates[run.name] = day
    return covering, dates, undatable


def _left_out(runs: Sequence[RecordedRun], covering: Sequence[RecordedRun], instances: Sequence[str]) -> list[str]:
    """How many runs are left out, and by name those that know some of the instances."""
    notes = []
    known = {id(run): sum(run.cell(i).resolved is not None for i in instances) for run in runs}
    others = [run for run in runs if run not in covering]
    if elsewhere := [run for run in others if not known[id(run)]]:
        notes.append(f"left out: {counted(len(elsewhere), 'run')} of other instances")
    for what, group in (
        ("faulty", [run for run in others if run.fault is not None]),
        ("without a date", [run for run in others if run.fault is None and not run.date]),
        (
            f"know fewer than {LEAST_COVERAGE:.0%} of {len(instances)} instances",
            [run for run in others if run.fault is None and run.date and _day(str(run.date)) is not None],
        ),
    ):
        if present := [f"{run.name} ({known[id(run)]})" for run in group if known[id(run)]]:
            notes.append(f"{counted(len(present), 'run is', 'runs are')} left out, {what}: {', '.join(present)}")
    return notes


def _day(text: str) -> str | None:
    """YYYY-MM-DD of a date in ISO 8601, basic or extended; None for what is no date."""
    try:
        return datetime.fromisoformat(text.strip()).date().isoformat()
    except ValueError:
        return None


@dataclass(frozen=True)
class _Routed:
    resolved: float
    cost: float | None
    share: dict[str, float]


@dataclass(frozen=True)
class _Laboratory:
    X: Features
    outcomes: OutcomeMatrix
    splits: Folds
    fitted: list[list[Policy]]
    """A policy per repeat and fold, with its clusters learned."""

    def route(self, models: Sequence[str], without: str | None = None) -> _Routed:
        """Cross-fitted over a pool; `without` is a model that was fitted and is masked in the decision."""
        pool = self.outcomes.pool(models)
        choices = np.zeros((len(self.splits), len(pool)), dtype=np.int64)
        for repeat, parts in enumerate(self.splits):
            for (train, test), policy in zip(parts, self.fitted[repeat], strict=True):
                policy.fit_outcomes(pool.take(train))
                choices[repeat, test] = predict_without(policy, self.X[test], [without] if without else [])
        replayed = replay_choices(pool, choices)
        share = dict(zip(models, map(float, replayed.share), strict=True))
        return _Routed(replayed.resolved_count, _known(replayed.cost_per_instance), share)


def _laboratory(matrix: OutcomeMatrix, texts: Sequence[str], policy: str, seed: int) -> _Laboratory:
    X = np.asarray(embed_texts(texts), dtype=np.float64)
    splits = folds(len(matrix), min(FOLDS, len(matrix)), REPEATS, seed)
    try:
        clusters = max(2, number_of_clusters(len(matrix)))
        prototype = make_policy(policy, **({"n_clusters": clusters} if policy == "cluster" else {}))
        if "seed" in prototype.get_params():
            prototype.set_params(seed=seed)
    except UnknownPolicyError as error:
        raise InputError(str(error)) from error
    # clusters see no outcomes: learned once for every pool
    return _Laboratory(X=X, outcomes=matrix, splits=splits, fitted=fit_features(prototype, X, splits))


def _step(
    laboratory: _Laboratory, month: str, present: Sequence[str], new: Sequence[str], arrival: Mapping[str, str]
) -> PoolAt:
    pool = laboratory.outcomes.pool(present)
    routed = laboratory.route(present)
    best = pool.best_single()
    fixed = crossfit(make_policy("best-fixed"), laboratory.X, pool, laboratory.splits)
    solved = pool.resolved == 1
    newcomers: list[Newcomer] = []
    removed = None
    if len(present) > 2:
        newcomers = [_newcomer(laboratory, pool, routed, model, arrival[model]) for model in new]
        most = max(present, key=lambda name: routed.share[name])
        removed = Removed(
            model=most,
            masked=laboratory.route(present, most).resolved,
            refitted=laboratory.route([name for name in present if name != most]).resolved,
        )
    return PoolAt(
        month=month,
        models=len(present),
        best=pool.models[best],
        best_resolved=float(pool.resolved[:, best].sum()),
        best_cost=_known(float(pool.mean_cost()[best])),
        fixed_resolved=fixed.resolved_count,
        routed=routed.resolved,
        routed_cost=routed.cost,
        oracle=int(solved.any(axis=1).sum()),
        newcomers=tuple(newcomers),
        removed=removed,
    )


def _newcomer(laboratory: _Laboratory, pool: OutcomeMatrix, routed: _Routed, model: str, date: str) -> Newcomer:
    """A new model beside the pool without it."""
    rest = [name for name in pool.models if name != model]
    before = laboratory.route(rest)
    solved, others = pool.resolved[:, pool.models.index(model)] == 1, pool.pool(rest).resolved == 1
    return Newcomer(
        model=model,
        date=date,
        resolved=int(solved.sum()),
        routed_delta=routed.resolved - before.resolved,
        cost_delta=None if routed.cost is None or before.cost is None else routed.cost - before.cost,
        oracle_delta=int((solved & ~others.any(axis=1)).sum()),
        share=routed.share[model],
    )


def render_history(history: History) -> str:
    """The pool's table, then what each newcomer changed."""
    lines = [
        f"{history.instances} instances, policy {history.policy}, cross-fitted {history.repeats} × {history.folds}",
        "",
        f"{'':9}{'models':>6}  {'best single':<38}{'$':>6}  {'best-fixed':>10}  {'routed':>7}{'$':>7}  {'oracle':>6}",
    ]
    for at in history.steps:
        lines.append(
            f"{at.month:9}{at.models:>6}  {at.best[:30]:<31}{at.best_resolved:>6.0f} {_usd(at.best_cost):>6}  "
            f"{at.fixed_resolved:>10.1f}  {at.routed:>7.1f}{_usd(at.routed_cost):>7}  {at.oracle:>6}"
        )
    for at in history.steps:
        lines += ["", f"{at.month}: what each new model changed (with it minus without it)"]
        for new in sorted(at.newcomers, key=lambda n: -n.routed_delta):
            cost = "" if new.cost_delta is None else f", ${new.cost_delta:+.3f} an instance"
            lines.append(
                f"  {new.date}  {new.model[:42]:<43}{new.resolved:>4} alone; routed {new.routed_delta:+6.1f}{cost}, "
                f"oracle {new.oracle_delta:+d}, is given {new.share:.0%}"
            )
        if at.removed is not None:
            lines.append(
                f"  without {at.removed.model}: routed {at.removed.masked:.1f} with the same fit, "
                f"{at.removed.refitted:.1f} fitted again"
            )
    return "\n".join(map(line, [*lines, "", *(f"- {note}" for note in history.notes)]))


def _usd(cost: float | None) -> str:
    return NONE if cost is None else f"{cost:.3f}"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
