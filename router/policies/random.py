"""The policy that knows nothing: a model drawn at random for every instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy
from router.policies.draws import draws, salt_of


@dataclass(eq=False)
class RandomPolicy(OneShotPolicy):
    """Every model with probability 1/m, by a coin that belongs to the text. It looks at nothing, λ and μ included.

    Its scores are the training rates; they do not enter the choice.
    """

    name: ClassVar[str] = "random"
    is_baseline: ClassVar[bool] = True
    fitted: ClassVar[dict[str, str]] = {"overall_": "m", "cost_": "m", "seconds_": "m", "salt_": "s"}

    cost_weight: float = 0.0
    """ignored"""
    time_weight: float = 0.0
    """ignored"""
    seed: int = 0
    """seed of the draws"""

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
        self.check_fitted()
        chosen = (draws(X, self.seed, int(self.salt_[0])) * len(self.models_)).astype(np.int64)
        return np.tile(chosen, (len(cost_weights), 1))

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        return [Explanation(None, f"drawn from {len(self.models_)} models") for _ in choices]
