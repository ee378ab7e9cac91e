"""A pool through time, replayed from dated records: what each new model changed in the routed rate, cost and bound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.embeddings import embed_texts
from harness.errors import InputError
from harness.importers import load_outcomes, outcome_matrix
from router.clustering import number_of_clusters

if TYPE_CHECKING:
    from router.arrays import Features
    from router.outcomes import OutcomeMatrix
    from router.policy import Policy

FOLDS, REPEATS = 5, 4
LEAST_COVERAGE = 0.95
"""A run that knows fewer of the instances is of another benchmark or unfinished."""


@dataclass(frozen=True)
class Newcomer:
    """What the pool of a date would be without one of its new models."""

    model: str
    date: str
    resolved: int
    routed_delta: float
    """resolved of the routed system with it minus without it, held out"""
    cost_delta: float | None
    """USD per instance"""
    oracle_delta: int
    share: float
    """of the instances the router gives it"""


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
    """the leader chosen in training folds"""
    routed: float
    """the policy, cross-fitted"""
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
    """Replay a pool at the end of each month (YYYY-MM; by default every month in which a model came).

    Models enter by the date of their record and stay. Singles over the instances all of them know; the routed rows are
    cross-fitted over the same folds at every date, so that differences are the models', not the folds'.

    Raises:
        InputError: no dated run that covers the instances, or a month that is none.
    """
    from router.lab.crossfit import fit_features, folds
    from router.policies import UnknownPolicyError, make_policy

    if wrong := [month for month in months if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month)]:
        raise InputError(f"--at {wrong[0]}: expected a month like 2025-11")
    loaded = load_outcomes(sources)
    names = list(statements)
    sound = [run for run in loaded.runs if run.date and run.fault is None]
    days = {id(run): _day(str(run.date)) for run in sound}
    undatable = [f"{run.name} ({run.date})" for run in sound if days[id(run)] is None]
    dated = [run for run in sound if days[id(run)] is not None]
    covering = [
        run for run in dated if np.mean([run.cell(i).resolved is not None for i in names]) >= LEAST_COVERAGE
    ]  # fmt: skip
    if not covering:
        raise InputError(f"none of {len(loaded.runs)} recorded runs has a date and knows these {len(names)} instances")
    matrix, _ = outcome_matrix(covering, pool or [run.name for run in covering], names)
    whole = np.flatnonzero(~np.isnan(matrix.resolved).any(axis=1))
    matrix = matrix.take(whole)
    dates = {run.name: str(days[id(run)]) for run in covering}
    arrival = {model: dates[model] for model in matrix.models if model in dates}
    X = np.asarray(embed_texts([statements[i] for i in matrix.instances]), dtype=np.float64)
    k = max(2, number_of_clusters(len(matrix)))
    splits = folds(len(matrix), min(FOLDS, len(matrix)), REPEATS, seed)
    try:
        prototype = make_policy(policy, **({"n_clusters": k} if policy == "cluster" else {}))
        if "seed" in prototype.get_params():
            prototype = make_policy(policy, **{**prototype.get_params(), "seed": seed})
    except UnknownPolicyError as error:
        raise InputError(str(error)) from error
    # clusters see no outcomes: learned once for every pool
    laboratory = _Laboratory(X, matrix, splits, fit_features(prototype, X, splits))
    every = sorted({date[:7] for date in arrival.values()})
    steps, known = [], set[str]()
    for month in sorted(set(months) or every):
        here = [model for model, date in arrival.items() if date[:7] <= month]
        if len(here) < 2:
            known |= set(here)
            continue
        steps.append(_step(laboratory, month, here, [model for model in here if model not in known], arrival))
        known |= set(here)
    if not steps:
        until = f"came before {max(months)}" if months else "are in the pool"
        raise InputError(f"fewer than two models {until}; the first are of {every[0]}")
    notes = [f"{len(loaded.runs) - len(covering)} runs without a date, of other benchmarks or faulty are left out"]
    if undatable:
        notes.append(f"left out, for their dates are none: {', '.join(undatable)}")
    return History(policy, len(matrix), min(FOLDS, len(matrix)), REPEATS, tuple(steps), tuple(notes))


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


@dataclass
class _Laboratory:
    X: Features
    outcomes: OutcomeMatrix
    splits: Any
    fitted: list[list[Policy]]

    def route(self, models: Sequence[str], without: str | None = None) -> _Routed:
        """Cross-fitted over a pool; `without` is a model that was fitted and is masked in the decision."""
        from router.outcomes import replay_choices
        from router.router import predict_without

        pool = self.outcomes.pool(models)
        choices = np.zeros((len(self.splits), len(pool)), dtype=np.int64)
        for repeat, parts in enumerate(self.splits):
            for (train, test), policy in zip(parts, self.fitted[repeat], strict=True):
                policy.fit_outcomes(pool.take(train))
                choices[repeat, test] = predict_without(policy, self.X[test], [without] if without else [])
        replayed = replay_choices(pool, choices)
        share = dict(zip(models, map(float, replayed.share), strict=True))
        return _Routed(replayed.resolved_count, _known(replayed.cost_per_instance), share)


def _step(
    laboratory: _Laboratory, month: str, here: Sequence[str], new: Sequence[str], arrival: Mapping[str, str]
) -> PoolAt:
    from router.lab.crossfit import crossfit
    from router.policies import make_policy

    pool = laboratory.outcomes.pool(here)
    routed = laboratory.route(here)
    best = pool.best_single()
    fixed = crossfit(make_policy("best-fixed"), laboratory.X, pool, laboratory.splits)
    solved = pool.resolved == 1
    newcomers = []
    for model in new if len(here) > 2 else ():
        rest = [name for name in here if name != model]
        before = laboratory.route(rest)
        cost = None if routed.cost is None or before.cost is None else routed.cost - before.cost
        alone = solved[:, here.index(model)] & ~solved[:, [here.index(name) for name in rest]].any(axis=1)
        newcomers.append(
            Newcomer(model, arrival[model], int(solved[:, here.index(model)].sum()), routed.resolved - before.resolved,
                     cost, int(alone.sum()), routed.share[model])
        )  # fmt: skip
    most = max(here, key=lambda name: routed.share[name])
    removed = None
    if len(here) > 2:
        rest = [name for name in here if name != most]
        removed = Removed(most, laboratory.route(here, most).resolved, laboratory.route(rest).resolved)
    return PoolAt(
        month, len(here), pool.models[best], float(pool.resolved[:, best].sum()), _known(float(pool.mean_cost()[best])),
        fixed.resolved_count, routed.resolved, routed.cost, int(solved.any(axis=1).sum()), tuple(newcomers), removed,
    )  # fmt: skip


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
    return "\n".join([*lines, "", *(f"- {note}" for note in history.notes)])


def _usd(cost: float | None) -> str:
    return "–" if cost is None else f"{cost:.3f}"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
