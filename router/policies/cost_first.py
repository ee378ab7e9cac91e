"""Takes a dearer model where it is predicted to be cheap: rates are the training means, costs are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features
from router.cost_model import CostModel
from router.outcomes import OutcomeMatrix
from router.policies.base import (
    Explanation,
    OneShotPolicy,
    PolicyNotFittedError,
    PolicyParameterError,
    choose,
    fill_costs,
)
from router.policies.partition import check_rows
from router.ridge import TextRidge

GREATEST = 1e9
"""λ beyond which only the price decides."""


@dataclass(eq=False)
class CostFirstPolicy(OneShotPolicy):
    """argmax over models of ȳ_h − λ·ĉ_h(x): training rates ȳ, and costs ĉ by ridge on log cost (`CostModel`).

    What a dearer model adds per dollar hardly depends on how hard the issue seems, so no success is predicted. At
    λ = 0 it is `best-fixed`. With a budget, λ is the least at which the training instances would be predicted to cost
    no more than that, each by a fit without it. A model of which no cost is known counts as the dearest known.

    Fitted: `cost_coef_` (d, m); `cost_bias_`, `cost_scale_`, `cost_low_`, `cost_high_` (m,), see `CostModel`;
    `budget_weight_` (1,), the λ of the budget.
    """

    name: ClassVar[str] = "cost-first"
    fitted: ClassVar[dict[str, str]] = {
        "cost_coef_": "dm",
        "cost_bias_": "m",
        "cost_scale_": "m",
        "cost_low_": "m",
        "cost_high_": "m",
        "budget_weight_": "s",
        "overall_": "m",
        "cost_": "m",
        "seconds_": "m",
    }
    may_be_unknown: ClassVar[frozenset[str]] = frozenset({"cost_scale_", "cost_", "seconds_"})

    budget: float | None = None
    """mean USD per instance. None, or λ given at a decision: choose by λ"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD; without effect where a budget is set"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Decompose X (n, d); there is nothing to learn from a corpus."""
        if self.budget is not None and not self.budget >= 0:
            raise PolicyParameterError(f"budget must be a number >= 0, got {self.budget!r}")
        self._ridge = TextRidge(as_features(X))
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        if not hasattr(self, "_ridge"):
            raise PolicyNotFittedError("policy 'cost-first': fit_features(X) comes before fit_outcomes(outcomes)")
        check_rows(outcomes, len(self._ridge.X))
        self.learn_means(outcomes)
        model, held_out = CostModel.fit(self._ridge, outcomes.cost)
        self.cost_coef_: FloatArray = model.weights
        self.cost_bias_: FloatArray = model.bias
        self.cost_scale_: FloatArray = model.scale
        self.cost_low_: FloatArray = model.low
        self.cost_high_: FloatArray = model.high
        weight = self.cost_weight if self.budget is None else self._weight_of(self.budget, held_out)
        self.budget_weight_: FloatArray = np.array([weight])
        return self

    def _weight_of(self, budget: float, costs: FloatArray) -> float:
        """The least λ, to a millionth, at which choices among costs (n, m) are within the budget; ∞ if none is."""
        costs = np.where(np.isnan(costs), fill_costs(self.cost_), costs)
        scores = np.broadcast_to(self.overall_, costs.shape)

        def within(weight: float) -> bool:
            chosen = choose(scores, costs, weight)
            return bool(costs[np.arange(len(costs)), chosen].mean() <= budget)

        if within(0.0):
            return 0.0
        low, high = 0.0, 1.0
        while not within(high):
            low, high = high, 4 * high
            if high > GREATEST:
                return float("inf")
        while high - low > 1e-6 * high:
            middle = (low + high) / 2
            low, high = (low, middle) if within(middle) else (middle, high)
        return high

    def effective_cost_weight(self, cost_weight: float | None) -> float:
        if cost_weight is None and self.budget is not None:
            self.check_fitted()
            return float(self.budget_weight_[0])
        return super().effective_cost_weight(cost_weight)

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        return super().sweep(X, [self.effective_cost_weight(weight) for weight in cost_weights])

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        return np.broadcast_to(self.overall_, (len(X), len(self.overall_)))

    def costs(self, X: Features) -> FloatArray:
        self.check_fitted()
        model = CostModel(self.cost_coef_, self.cost_bias_, self.cost_scale_, self.cost_low_, self.cost_high_)
        predicted = model.predict(np.asarray(X, dtype=np.float64))
        return np.where(np.isnan(predicted), fill_costs(self.cost_), predicted)

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        costs, means = self.costs(X), fill_costs(self.cost_)
        return [
            Explanation(
                None,
                f"${costs[row, choice]:.3f} predicted, ${means[choice]:.3f} on average; "
                f"resolved {self.overall_[choice]:.1%} of the training instances",
            )
            for row, choice in enumerate(choices)
        ]
