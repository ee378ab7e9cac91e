"""Does another benchmark's record help? Policies cross-fitted with and without its instances in training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.evaluation.stats import paired_bootstrap
from harness.files import write_atomic
from harness.lab.recorded import RecordedStudy
from router.arrays import mean_known
from router.decision import decide
from router.lab.crossfit import folds as make_folds
from router.outcomes import OutcomeMatrix
from router.policies import make_policy

POLICIES = ("cluster", "shared-difficulty", "auto")
"""Studied unless others are named."""


@dataclass(frozen=True)
class TransferRow:
    """A policy with and without the transferred instances; the same folds, decided on the same instances."""

    policy: str
    resolved_without: float
    resolved_with: float
    cost_without: float | None
    cost_with: float | None
    difference: float
    """Instances, with minus without."""
    difference_ci95: tuple[float, float]
    """Paired bootstrap over instances."""

    @property
    def verdict(self) -> str:
        low, high = self.difference_ci95
        return "helped" if low > 0 else "harmed" if high < 0 else "made no clear difference"


@dataclass(frozen=True)
class TransferStudy:
    instances: int
    transferred: int
    known_cells: dict[str, int]
    """Verdicts of each model of the pool on the transferred instances."""
    folds: int
    repeats: int
    seed: int
    rows: tuple[TransferRow, ...]

    def to_json(self) -> str:
        rows = [asdict(row) | {"verdict": row.verdict} for row in self.rows]
        return json.dumps(asdict(self) | {"rows": rows}, indent=1, allow_nan=False) + "\n"

    def render(self) -> str:
        lines = [
            f"{self.transferred} instances of another benchmark in every training fold of {self.instances} "
            f"({self.folds} folds × {self.repeats} repeats): what they add, held out.",
            "",
            "| policy | resolved without | with | difference | transferring |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.policy} | {row.resolved_without:.1f} | {row.resolved_with:.1f} | {row.difference:+.1f} "
            f"[{row.difference_ci95[0]:+.1f}, {row.difference_ci95[1]:+.1f}] | {row.verdict} |"
            for row in self.rows
        ]
        return "\n".join(lines)


def study_transfer(
    study: RecordedStudy,
    other: RecordedStudy,
    *,
    policies: Sequence[str] = POLICIES,
    folds: int = 10,
    repeats: int = 10,
    seed: int = 0,
    out: Path | None = None,
) -> TransferStudy:
    """Cross-fit policies on a study's outcomes with the instances of another added to every training fold.

    Models are matched by name; one that the other study lacks is unknown there.

    Args:
        study: What is evaluated.
        other: Of another benchmark, with at least one model in common.
        policies: Short names of the router's policies.
        folds: Of the cross-fitting.
        repeats: How often the folds are drawn anew.
        seed: Of folds and bootstrap.
        out: Folder for transfer.json and transfer.md.

    Raises:
        InputError: an instance of the evaluation among the others, no common model, or an unknown policy.
    """
    outcomes, others = study.outcomes, other.outcomes
    if both := sorted(set(outcomes.instances) & set(others.instances)):
        raise InputError(f"transfer: {len(both)} instances are the evaluation's own, e.g. {', '.join(both[:5])}")
    if not set(outcomes.models) & set(others.models):
        raise InputError(
            f"transfer: no model of the pool ({', '.join(outcomes.models)}) is among the other benchmark's "
            f"({', '.join(others.models[:5])}, …)"
        )
    joined = _join(outcomes, others)
    features = np.vstack([study.embeddings, other.embeddings]).astype(np.float64)
    splits = make_folds(len(outcomes), folds, repeats, seed)
    rows = []
    for name in policies:
        alone = _held_out(name, features, joined, splits, transferred=0)
        joint = _held_out(name, features, joined, splits, transferred=len(others))
        rows.append(_row(name, alone, joint, seed))
    known = (~np.isnan(joined.resolved[len(outcomes) :])).sum(axis=0)
    found = TransferStudy(
        instances=len(outcomes),
        transferred=len(others),
        known_cells=dict(zip(joined.models, map(int, known), strict=True)),
        folds=folds,
        repeats=repeats,
        seed=seed,
        rows=tuple(rows),
    )
    if out is not None:
        write_atomic(out / "transfer.json", found.to_json())
        write_atomic(out / "transfer.md", found.render() + "\n")
    return found


def _join(outcomes: OutcomeMatrix, other: OutcomeMatrix) -> OutcomeMatrix:
    """The pool's models over the instances of both, without the other's costs: its tasks are of other sizes."""
    verdicts = np.full((len(other), len(outcomes.models)), np.nan)
    for h, model in enumerate(outcomes.models):
        if model in other.models:
            verdicts[:, h] = other.resolved[:, other.models.index(model)]
    unknown = np.full(verdicts.shape, np.nan)
    return OutcomeMatrix.build(
        [*outcomes.instances, *other.instances],
        outcomes.models,
        np.vstack([outcomes.resolved, verdicts]),
        np.vstack([outcomes.cost, unknown]),
    )


@dataclass(frozen=True)
class _HeldOut:
    """(n,) means over repeats of what the held-out decisions gave."""

    resolved: NDArray[np.float64]
    cost: NDArray[np.float64]


def _held_out(
    name: str, X: NDArray[np.float64], joined: OutcomeMatrix, splits: Sequence[Any], *, transferred: int
) -> _HeldOut:
    """With the last `transferred` rows in every training fold."""
    from threadpoolctl import threadpool_limits

    n = sum(len(test) for _, test in splits[0])
    values = np.full((2, len(splits), n), np.nan)
    extra = np.arange(n, n + transferred)
    try:
        with threadpool_limits(limits=1):
            for repeat, parts in enumerate(splits):
                for train, test in parts:
                    rows = np.concatenate([train, extra])
                    policy = make_policy(name).fit(X[rows], joined.take(rows))
                    values[:, repeat, test] = decide(policy, X, joined, test, [None])[1][:2, 0]
    except ValueError as error:  # the router's errors for names and values
        raise InputError(f"transfer: {error}") from error
    resolved, cost = mean_known(values, axis=1)
    return _HeldOut(resolved, cost)


def _row(name: str, alone: _HeldOut, joint: _HeldOut, seed: int) -> TransferRow:
    known = ~np.isnan(alone.resolved) & ~np.isnan(joint.resolved)
    difference = paired_bootstrap(joint.resolved[known], alone.resolved[known], seed=seed)
    return TransferRow(
        policy=name,
        resolved_without=round(float(alone.resolved[known].sum()), 3),
        resolved_with=round(float(joint.resolved[known].sum()), 3),
        cost_without=_mean(alone.cost),
        cost_with=_mean(joint.cost),
        difference=round(difference.delta, 3),
        difference_ci95=(round(difference.low, 3), round(difference.high, 3)),
    )


def _mean(cost: NDArray[np.float64]) -> float | None:
    return None if np.isnan(cost).all() else round(float(np.nanmean(cost)), 6)
