"""Does another benchmark's record help? Policies cross-fitted with and without its instances in training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.files import write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.outcomes import OutcomeMatrix


@dataclass(frozen=True)
class TransferRow:
    """A policy with and without the transferred instances; the same folds, decided on the same instances."""

    policy: str
    resolved_without: float
    resolved_with: float
    cost_without: float | None
    cost_with: float | None
    difference: float
    """instances, with minus without"""
    difference_ci95: tuple[float, float]
    """paired bootstrap over instances"""

    @property
    def verdict(self) -> str:
        low, high = self.difference_ci95
        return "helped" if low > 0 else "harmed" if high < 0 else "made no clear difference"


@dataclass(frozen=True)
class TransferStudy:
    instances: int
    transferred: int
    known_cells: dict[str, int]
    """verdicts of each model of the pool on the transferred instances"""
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
    outcomes: OutcomeMatrix,
    X: NDArray[np.floating[Any]],
    other: OutcomeMatrix,
    other_X: NDArray[np.floating[Any]],
    *,
    policies: Sequence[str] = ("cluster", "shared-difficulty", "auto"),
    folds: int = 10,
    repeats: int = 10,
    seed: int = 0,
    out: Path | None = None,
) -> TransferStudy:
    """Cross-fit policies on `outcomes` (n, m) with the instances of `other` (t, ≥ 1 common model) added to training.

    Models are matched by name; one that `other` lacks is unknown there. Instances of the evaluation in `other` are
    refused. `out` is a folder for transfer.json and transfer.md. Raises InputError.
    """
    from router.lab.crossfit import folds as make_folds

    if both := sorted(set(outcomes.instances) & set(other.instances)):
        raise InputError(f"transfer: {len(both)} instances are the evaluation's own, e.g. {', '.join(both[:5])}")
    common = [model for model in outcomes.models if model in other.models]
    if not common:
        raise InputError(
            f"transfer: no model of the pool ({', '.join(outcomes.models)}) is among the other benchmark's "
            f"({', '.join(other.models[:5])}, …)"
        )
    joined = _join(outcomes, other)
    features = np.vstack([X, other_X]).astype(np.float64)
    splits = make_folds(len(outcomes), folds, repeats, seed)
    rows = []
    for name in policies:
        without, cost_without = _brought(name, features, joined, splits, len(outcomes), 0)
        gained, cost_with = _brought(name, features, joined, splits, len(outcomes), len(other))
        rows.append(_row(name, without, gained, cost_without, cost_with, seed))
    known = (~np.isnan(joined.resolved[len(outcomes) :])).sum(axis=0)
    counts = dict(zip(joined.models, map(int, known), strict=True))
    study = TransferStudy(len(outcomes), len(other), counts, folds, repeats, seed, tuple(rows))
    if out is not None:
        write_atomic(out / "transfer.json", study.to_json())
        write_atomic(out / "transfer.md", study.render() + "\n")
    return study


def _join(outcomes: OutcomeMatrix, other: OutcomeMatrix) -> OutcomeMatrix:
    """The pool's models over the instances of both, without the other's costs: its tasks are of other sizes."""
    from router.outcomes import OutcomeMatrix

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


def _brought(
    name: str, X: NDArray[np.float64], joined: OutcomeMatrix, splits: Sequence[Any], n: int, transferred: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) mean verdict and cost of the held-out decisions."""
    from threadpoolctl import threadpool_limits

    from router.arrays import mean_known
    from router.decision import decide
    from router.policies import make_policy

    brought = np.full((2, len(splits), n), np.nan)
    extra = np.arange(n, n + transferred)
    try:
        with threadpool_limits(limits=1):
            for repeat, parts in enumerate(splits):
                for train, test in parts:
                    rows = np.concatenate([train, extra])
                    policy = make_policy(name).fit(X[rows], joined.take(rows))
                    found = decide(policy, X, joined, test, [None])[1]
                    brought[:, repeat, test] = found[:2, 0]
    except ValueError as error:  # the router's errors for names and values
        raise InputError(f"transfer: {error}") from error
    resolved, cost = mean_known(brought, axis=1)
    return resolved, cost


def _row(
    name: str,
    without: NDArray[np.float64],
    gained: NDArray[np.float64],
    cost_without: NDArray[np.float64],
    cost_with: NDArray[np.float64],
    seed: int,
) -> TransferRow:
    from harness.evaluation.stats import paired_bootstrap

    known = ~np.isnan(without) & ~np.isnan(gained)
    found = paired_bootstrap(gained[known], without[known], seed=seed)
    return TransferRow(
        policy=name,
        resolved_without=round(float(without[known].sum()), 3),
        resolved_with=round(float(gained[known].sum()), 3),
        cost_without=_mean(cost_without),
        cost_with=_mean(cost_with),
        difference=round(found.delta, 3),
        difference_ci95=(round(found.low, 3), round(found.high, 3)),
    )


def _mean(cost: NDArray[np.float64]) -> float | None:
    return None if np.isnan(cost).all() else round(float(np.nanmean(cost)), 6)
