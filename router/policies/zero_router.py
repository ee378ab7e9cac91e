"""ZeroRouter: the best that can be had without reading the text, a coin between two fixed models on the hull."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray
from router.curves import hull
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, fill_costs
from router.policies.draws import draws, salt_of


@dataclass(eq=False)
class ZeroRouterPolicy(OneShotPolicy):
    """Mixture of two fixed models on the cost–quality hull of the training rows (RouterBench, arXiv 2403.12031;
    the baseline of UniRoute, arXiv 2502.08773).

    With a budget B between the mean costs c_a < c_b of neighbouring corners a, b of the non-decreasing hull, b runs
    with probability (B − c_a) / (c_b − c_a), by a coin that belongs to the text. With λ the choice is the corner with
    the greatest rate − λ·cost: there a mixture is never better than one of its ends.
    """

    name: ClassVar[str] = "zero-router"
    is_baseline: ClassVar[bool] = True
    fitted: ClassVar[dict[str, str]] = {"overall_": "m", "cost_": "m", "seconds_": "m", "salt_": "s"}

    budget: float | None = None
    """mean USD per instance; beyond the hull's ends the end itself. None, or λ given at a decision: choose by λ"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD; without effect where a budget is set"""
    time_weight: float = 0.0
    """μ, resolved instances per second; without effect where a budget is set"""
    seed: int = 0
    """seed of the coin"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        self.salt_ = np.array([salt_of(X)], dtype=np.int64)
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        self.learn_means(outcomes)
        return self

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        return np.broadcast_to(self.overall_, (len(X), len(self.overall_)))

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        chosen = super().sweep(X, cost_weights)
        if self.budget is None:
            return chosen
        cheap, dear, share = self._mixture(self.budget)
        mixed = np.where(draws(X, self.seed, int(self.salt_[0])) < share, dear, cheap)
        return np.stack([mixed if w is None else line for w, line in zip(cost_weights, chosen, strict=True)])

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        return [
            Explanation(None, f"resolved {self.overall_[choice]:.1%} of the training instances, on the hull")
            for choice in choices
        ]

    def _mixture(self, budget: float) -> tuple[int, int, float]:
        """The two corners around the budget and the share of the dearer one."""
        costs = fill_costs(self.cost_)
        xs, ys = hull(costs, self.overall_)
        corners = [int(np.flatnonzero((costs == x) & (self.overall_ == y))[0]) for x, y in zip(xs, ys, strict=True)]
        right = int(np.searchsorted(xs, budget, side="right"))
        if right == 0 or right == len(corners):
            end = corners[0 if right == 0 else -1]
            return end, end, 0.0
        return corners[right - 1], corners[right], float((budget - xs[right - 1]) / (xs[right] - xs[right - 1]))
