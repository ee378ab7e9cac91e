"""Would it have paid on any pool? Policies on random pools of recorded runs, beside each pool's best single model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.evaluation.stats import bootstrap_mean
from harness.files import write_atomic
from harness.lab.recorded import RecordedStudy
from harness.lab.trials import Execution, Record, run_trials
from router.lab.crossfit import crossfit, folds
from router.outcomes import OutcomeMatrix
from router.policies import make_policy

POLICIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("best-fixed", "best-fixed", {}),
    ("price-aware best-fixed", "best-fixed", {"tolerance": 0.03}),
    ("auto", "auto", {}),
)
"""Label, policy, parameters."""
LABELS = tuple(entry[0] for entry in POLICIES)
"""What the policies are called in the study."""
SIZES = (3, 4, 5, 6)
"""Models in a pool."""
NEAR = 1.0
"""A single model so many instances from the best one counts as its equal in the hindsight row."""
CLEARLY_WORSE = -5.0
"""Instances: pools in which a policy resolves fewer than that beside the best single model are counted."""


@dataclass(frozen=True)
class PoolSettings:
    """Everything the trials depend on."""

    data: str
    runs: tuple[str, ...]
    """Names of the runs that pools are drawn from."""
    pools: int
    folds: int
    repeats: int
    seed: int
    policies: tuple[str, ...]
    """Labels of POLICIES."""
    fingerprint: str
    """Of outcomes and embeddings."""


@dataclass(frozen=True)
class PolicyOnPools:
    """A policy over all pools; differences in instances, costs as shares of the best single model's."""

    policy: str
    mean_delta: float
    mean_delta_ci95: tuple[float, float]
    """Bootstrap over pools, which overlap: too narrow for other records than this one."""
    lowest_5_percent: float
    share_clearly_worse: float
    """Share of pools in which it resolves more than 5 instances less."""
    mean_cost_ratio: float
    mean_cost_ratio_ci95: tuple[float, float]
    share_routed: float | None = None
    """Share of decisions that are not the pool's most frequent choice."""


@dataclass(frozen=True)
class PoolStudy:
    settings: PoolSettings
    rows: tuple[PolicyOnPools, ...]
    near_cost_ratio: float
    """Cost of the cheapest single model within an instance of the best, in hindsight: what a choice alone saves."""
    trials: tuple[Record, ...]

    def to_json(self) -> str:
        document = {
            "settings": asdict(self.settings),
            "rows": [asdict(row) for row in self.rows],
            "near_equal_in_hindsight_cost_ratio": self.near_cost_ratio,
            "trials": self.trials,
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    def render(self) -> str:
        s = self.settings
        lines = [
            f"{s.pools} random pools of {SIZES[0]}–{SIZES[-1]} of {len(s.runs)} runs of {s.data}; {s.folds} folds × "
            f"{s.repeats} repeats, seed {s.seed}. Differences to each pool's best single model in hindsight.",
            "",
            "| policy | resolved Δ, mean | 5 % of pools are below | pools below −5 | cost, × the best's |",
            "|---|---|---|---|---|",
        ]
        for row in self.rows:
            lines.append(
                f"| {row.policy} | {row.mean_delta:+.2f} [{row.mean_delta_ci95[0]:+.2f}, {row.mean_delta_ci95[1]:+.2f}]"
                f" | {row.lowest_5_percent:+.1f} | {row.share_clearly_worse:.0%} | {row.mean_cost_ratio:.3f} "
                f"[{row.mean_cost_ratio_ci95[0]:.3f}, {row.mean_cost_ratio_ci95[1]:.3f}] |"
            )
        lines += [
            "",
            f"The cheapest single model within {NEAR:g} instance of the best, chosen in hindsight, costs "
            f"{self.near_cost_ratio:.3f} × the best's: what a choice among near-equals could save at most.",
        ]
        return "\n".join(lines)


def study_pools(
    study: RecordedStudy,
    *,
    pools: int = 100,
    folds: int = 10,
    repeats: int = 10,
    seed: int = 0,
    policies: Sequence[str] = LABELS,
    execution: Execution | None = None,
) -> PoolStudy:
    """Policies cross-fitted on random pools of 3 to 6 recorded runs.

    Args:
        study: Complete outcomes with every cost known.
        pools: How many pools are drawn.
        folds: Of the cross-fitting.
        repeats: How often the folds are drawn anew.
        seed: Of pools and folds.
        policies: Labels of POLICIES.
        execution: How it is run; writes pools.json and pools.md to its folder.

    Raises:
        InputError: an unknown policy, too few runs, or a verdict or cost that is unknown.
    """
    outcomes, execution = study.outcomes, execution or Execution()
    if unknown := [name for name in policies if name not in LABELS]:
        raise InputError(f"pools: no policy {unknown[0]!r}; choose of {', '.join(LABELS)}")
    if len(outcomes.models) < SIZES[0]:
        raise InputError(f"pools of {SIZES[0]} to {SIZES[-1]} cannot be drawn from {len(outcomes.models)} runs")
    if not outcomes.complete() or np.isnan(outcomes.cost).any():
        raise InputError("random pools need runs with every verdict and cost known; name others")
    X = np.ascontiguousarray(study.embeddings, dtype=np.float64)
    settings = PoolSettings(
        data=study.name,
        runs=outcomes.models,
        pools=pools,
        folds=folds,
        repeats=repeats,
        seed=seed,
        policies=tuple(policies),
        fingerprint=hashlib.sha256(X.tobytes() + outcomes.resolved.tobytes() + outcomes.cost.tobytes()).hexdigest(),
    )
    kept = execution.kept("pools")
    trials = run_trials(
        _PoolJudge(X, outcomes, settings),
        _drawn_pools(len(outcomes.models), pools, seed),
        settings=json.dumps(asdict(settings)),
        kept=kept,
        execution=execution,
    )
    found = PoolStudy(
        settings=settings,
        rows=tuple(_row(label, [trial[label] for trial in trials], seed) for label in policies),
        near_cost_ratio=round(float(np.mean([trial["near_cost_ratio"] for trial in trials])), 4),
        trials=tuple(trials),
    )
    if execution.out is not None and kept is not None:
        write_atomic(execution.out / "pools.json", found.to_json())
        write_atomic(execution.out / "pools.md", found.render() + "\n")
        kept.unlink(missing_ok=True)
    return found


def _drawn_pools(runs: int, pools: int, seed: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    largest = min(SIZES[-1], runs)
    return [
        tuple(sorted(rng.choice(runs, int(rng.integers(SIZES[0], largest + 1)), replace=False).tolist()))
        for _ in range(pools)
    ]


@dataclass(frozen=True)
class _PoolJudge:
    """Cross-fits the policies on one pool; pickled to the workers."""

    X: NDArray[np.float64]
    outcomes: OutcomeMatrix
    settings: PoolSettings

    def __call__(self, members: tuple[int, ...]) -> Record:
        from threadpoolctl import threadpool_limits

        pool = self.outcomes.pool([self.outcomes.models[member] for member in members])
        splits = folds(len(pool), self.settings.folds, self.settings.repeats, self.settings.seed)
        best = pool.best_single()
        counts, costs = pool.resolved.sum(axis=0), pool.mean_cost()
        near = costs[counts >= counts[best] - NEAR].min()
        record: Record = {"pool": list(members), "best": float(counts[best]), "near_cost_ratio": near / costs[best]}
        for label, name, params in POLICIES:
            if label in self.settings.policies:
                with threadpool_limits(limits=1):
                    replay = crossfit(make_policy(name, **params), self.X, pool, splits)
                record[label] = {
                    "delta": round(replay.resolved_count - float(counts[best]), 4),
                    "cost_ratio": round(replay.cost_per_instance / float(costs[best]), 4),
                    "routed": round(1.0 - float(replay.share.max()), 4),
                }
        return record


def _row(label: str, trials: Sequence[Any], seed: int) -> PolicyOnPools:
    deltas = np.array([trial["delta"] for trial in trials])
    ratios = np.array([trial["cost_ratio"] for trial in trials])

    def interval(values: NDArray[np.float64]) -> tuple[float, float]:
        low, high = bootstrap_mean(values, seed=seed)
        return round(low, 3), round(high, 3)

    return PolicyOnPools(
        policy=label,
        mean_delta=round(float(deltas.mean()), 3),
        mean_delta_ci95=interval(deltas),
        lowest_5_percent=round(float(np.quantile(deltas, 0.05)), 3),
        share_clearly_worse=round(float((deltas < CLEARLY_WORSE - 1e-9).mean()), 4),
        mean_cost_ratio=round(float(ratios.mean()), 4),
        mean_cost_ratio_ci95=interval(ratios),
        share_routed=round(float(np.mean([trial["routed"] for trial in trials])), 4),
    )
