"""Would it have paid on any pool? Policies on random pools of recorded runs, beside each pool's best single model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.files import write_atomic
from harness.lab.trials import Record, run_trials

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.outcomes import OutcomeMatrix

POLICIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("best-fixed", "best-fixed", {}),
    ("price-aware best-fixed", "best-fixed", {"tolerance": 0.03}),
    ("auto", "auto", {}),
)
"""(label, policy, parameters)"""
LABELS = tuple(entry[0] for entry in POLICIES)
SIZES = (3, 4, 5, 6)
NEAR = 1.0
"""instances: a single model this close to the best one counts as its equal in the hindsight row"""
GOAL_DELTA, GOAL_WORST, GOAL_COST = -1.0, -5.0, 0.7


@dataclass(frozen=True)
class PoolSettings:
    """Everything the trials depend on."""

    data: str
    runs: tuple[str, ...]
    """names of the runs that pools are drawn from"""
    pools: int
    folds: int
    repeats: int
    seed: int
    policies: tuple[str, ...]
    """labels of POLICIES"""
    fingerprint: str
    """of outcomes and embeddings"""


@dataclass(frozen=True)
class PolicyOnPools:
    """A policy over all pools; differences in instances, costs as shares of the best single model's."""

    policy: str
    mean_delta: float
    mean_delta_ci95: tuple[float, float]
    """bootstrap over pools, which overlap: too narrow for other records than this one"""
    lowest_5_percent: float
    share_below_goal: float
    """share of pools in which it resolves more than 5 instances less"""
    mean_cost_ratio: float
    mean_cost_ratio_ci95: tuple[float, float]
    share_routed: float | None = None
    """share of decisions that are not the pool's most frequent choice"""


@dataclass(frozen=True)
class PoolStudy:
    settings: PoolSettings
    rows: tuple[PolicyOnPools, ...]
    near_cost_ratio: float
    """cost of the cheapest single model within an instance of the best, in hindsight: what choosing alone could save"""
    trials: tuple[Record, ...]

    def to_json(self) -> str:
        goals = {"mean_delta": GOAL_DELTA, "lowest_5_percent": GOAL_WORST, "mean_cost_ratio": GOAL_COST}
        document = {
            "settings": asdict(self.settings),
            "goals_of_auto": goals,
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
                f" | {row.lowest_5_percent:+.1f} | {row.share_below_goal:.0%} | {row.mean_cost_ratio:.3f} "
                f"[{row.mean_cost_ratio_ci95[0]:.3f}, {row.mean_cost_ratio_ci95[1]:.3f}] |"
            )
        lines += [
            f"| goal for auto | ≥ {GOAL_DELTA:+.0f} | ≥ {GOAL_WORST:+.0f} | ≤ 5% | ≤ {GOAL_COST} |",
            "",
            f"The cheapest single model within {NEAR:g} instance of the best, chosen in hindsight, costs "
            f"{self.near_cost_ratio:.3f} × the best's: what a choice among near-equals could save at most.",
        ]
        return "\n".join(lines)


def study_pools(
    outcomes: OutcomeMatrix,
    embeddings: NDArray[np.floating[Any]],
    *,
    data: str,
    pools: int = 100,
    folds: int = 10,
    repeats: int = 10,
    seed: int = 0,
    policies: Sequence[str] = LABELS,
    workers: int = 1,
    out: Path | None = None,
    show_bar: bool = False,
) -> PoolStudy:
    """Policies cross-fitted on `pools` random pools of 3 to 6 of the runs in `outcomes` (complete).

    `out` is a folder for pools.json and pools.md; a study that was stopped goes on where it was. Raises InputError.
    """
    import hashlib

    if unknown := [name for name in policies if name not in LABELS]:
        raise InputError(f"pools: no policy {unknown[0]!r}; choose of {', '.join(LABELS)}")
    if len(outcomes.models) < SIZES[0]:
        raise InputError(f"pools of {SIZES[0]} to {SIZES[-1]} cannot be drawn from {len(outcomes.models)} runs")
    if not outcomes.complete() or np.isnan(outcomes.cost).any():
        raise InputError("random pools need runs with every verdict and cost known; name others")
    X = np.ascontiguousarray(embeddings, dtype=np.float64)
    fingerprint = hashlib.sha256(X.tobytes() + outcomes.resolved.tobytes() + outcomes.cost.tobytes()).hexdigest()
    settings = PoolSettings(data, outcomes.models, pools, folds, repeats, seed, tuple(policies), fingerprint)
    rng = np.random.default_rng(seed)
    largest = min(SIZES[-1], len(outcomes.models))
    drawn = [
        tuple(
            sorted(rng.choice(len(outcomes.models), int(rng.integers(SIZES[0], largest + 1)), replace=False).tolist())
        )
        for _ in range(pools)
    ]
    found = run_trials(
        _PoolJudge(X, outcomes, settings), drawn, settings=json.dumps(asdict(settings)),
        kept=None if out is None else out / "pools.partial.jsonl", workers=workers, show_bar=show_bar,
    )  # fmt: skip
    study = PoolStudy(
        settings,
        tuple(_row(label, [record[label] for record in found], seed) for label in policies),
        round(float(np.mean([record["near_cost_ratio"] for record in found])), 4),
        tuple(found),
    )
    if out is not None:
        write_atomic(out / "pools.json", study.to_json())
        write_atomic(out / "pools.md", study.render() + "\n")
        (out / "pools.partial.jsonl").unlink(missing_ok=True)
    return study


@dataclass(frozen=True)
class _PoolJudge:
    """Cross-fits the policies on one pool; pickled to the workers."""

    X: NDArray[np.float64]
    outcomes: OutcomeMatrix
    settings: PoolSettings

    def __call__(self, members: tuple[int, ...]) -> Record:
        from threadpoolctl import threadpool_limits

        from router.lab.crossfit import crossfit, folds
        from router.policies import make_policy

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


def _row(label: str, found: Sequence[Any], seed: int) -> PolicyOnPools:
    deltas = np.array([record["delta"] for record in found])
    ratios = np.array([record["cost_ratio"] for record in found])
    resampled = np.random.default_rng(seed).integers(0, len(deltas), (2000, len(deltas)))

    def interval(values: NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.quantile(values[resampled].mean(axis=1), [0.025, 0.975])
        return round(float(low), 3), round(float(high), 3)

    return PolicyOnPools(
        policy=label,
        mean_delta=round(float(deltas.mean()), 3),
        mean_delta_ci95=interval(deltas),
        lowest_5_percent=round(float(np.quantile(deltas, 0.05)), 3),
        share_below_goal=round(float((deltas < GOAL_WORST - 1e-9).mean()), 4),
        mean_cost_ratio=round(float(ratios.mean()), 4),
        mean_cost_ratio_ci95=interval(ratios),
        share_routed=round(float(np.mean([record["routed"] for record in found])), 4),
    )
