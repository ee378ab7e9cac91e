"""The bound: whoever knew the verdicts beforehand. It can be replayed, never run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NoReturn, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, choose, fill_costs


class RecordedOnlyError(ValueError):
    """The policy reads the verdicts of what it decides: it exists on recorded outcomes only."""


@dataclass(eq=False)
class OraclePolicy(OneShotPolicy):
    """argmax over models of y(i, h) − λ·c(i, h) on the recorded cell itself: the cheapest run that resolved.

    Most of it is luck when models are run again, see `router.lab.oracle`. The laboratory hands the recorded rows to
    `choose_recorded`; everything that would decide from a text raises RecordedOnlyError, and so does saving it.
    """

    name: ClassVar[str] = "oracle"
    needs_recorded: ClassVar[bool] = True
    fitted: ClassVar[dict[str, str]] = {"overall_": "m", "cost_": "m", "seconds_": "m"}

    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        self.learn_means(outcomes)
        return self

    def choose_recorded(self, outcomes: OutcomeMatrix, cost_weights: Sequence[float | None]) -> IntArray:
        """(w, n) the best recorded cell of each row for each λ; an unknown verdict comes after a known failure."""
        self.check_fitted()
        scores = np.nan_to_num(outcomes.resolved, nan=-1.0)
        costs = np.where(np.isnan(outcomes.cost), fill_costs(self.cost_), outcomes.cost)
        seconds = np.where(np.isnan(outcomes.seconds), fill_costs(self.seconds_), outcomes.seconds)
        weights = [self.cost_weight if weight is None else weight for weight in cost_weights]
        return np.stack([choose(scores, costs, weight, seconds, self.time_weight) for weight in weights])

    def scores(self, X: Features) -> FloatArray:
        self._refuse()

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        self._refuse()

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        return [Explanation(None, "the cheapest recorded run that resolved it, known only afterwards") for _ in choices]

    def fitted_arrays(self) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        self.check_fitted()
        raise RecordedOnlyError(
            "policy 'oracle' needs the verdicts it decides on: replay it on recorded outcomes; it cannot act live"
        )
