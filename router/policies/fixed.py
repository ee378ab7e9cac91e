"""The policy to beat: the model that was best in training, for every instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, known_rates


@dataclass(eq=False)
class BestFixedPolicy(OneShotPolicy):
    """Always the model with the best training rate minus λ times its mean cost.

    Cross-fitted, this is the honest "best single model": the choice of the best is made on training folds as well.
    """

    name: ClassVar[str] = "best-fixed"
    fitted: ClassVar[dict[str, str]] = {"overall_": "m", "cost_": "m", "seconds_": "m"}

    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        self.models_ = outcomes.models
        self.overall_: FloatArray = known_rates(outcomes)
        self.cost_ = outcomes.mean_cost()
        self.seconds_ = outcomes.mean_seconds()
        return self

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        return np.broadcast_to(self.overall_, (len(X), len(self.overall_)))

    def explain(self, X: Features, choices: IntArray) -> list[Explanation]:
        return [
            Explanation(None, f"resolved {self.overall_[choice]:.1%} of the training instances") for choice in choices
        ]
