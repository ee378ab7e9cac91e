"""A straight line per model from embedding to P(resolved): ridge, its strength chosen by leaving instances out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from router.arrays import Features, FloatArray, IntArray, as_features, mean_known
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyNotFittedError, PolicyParameterError
from router.policies.partition import check_rows
from router.ridge import TextRidge

AUTO_ALPHAS = (float("inf"), *(float(alpha) for alpha in np.geomspace(1e3, 0.1, 13)))
"""From nothing but the training rate to hardly any shrinkage."""


@dataclass(eq=False)
class LinearPolicy(OneShotPolicy):
    """score(x, h) = clip(ȳ_h + s(x) + d_h(x), 0, 1), s and d_h linear in x, of least Σ residual² + α‖w‖² each.

    s is fitted to the mean over models of y(i, h) − ȳ_h: how easy the instance is for all. d_h is fitted to what is
    left of y(i, h): where model h is better than its peers. s has much to learn from and d little, so each has its own
    α; d's is one for all models, so that they differ by evidence and not by shrinkage. "auto" takes the α with the
    least squared leave-one-out error (PRESS: residual / (1 − leverage), Allen 1974), from α = ∞, nothing but the
    training rates, down to 0.1. With equal α this is the linear router of RouterBench (arXiv 2403.12031), a ridge per
    model.

    Fitted: `coef_` (d, m), `intercept_` (m,), `alpha_` (2,) of s and d.
    """

    name: ClassVar[str] = "linear"
    fitted: ClassVar[dict[str, str]] = {
        "coef_": "dm",
        "intercept_": "m",
        "alpha_": "s",
        "overall_": "m",
        "cost_": "m",
        "seconds_": "m",
    }

    alpha: float | Literal["auto"] = "auto"
    """α >= 0 of both parts"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Remember X (n, d); there is nothing to learn from a corpus."""
        if self.alpha != "auto" and (isinstance(self.alpha, str) or not self.alpha >= 0):
            raise PolicyParameterError(f"alpha must be a number >= 0 or 'auto', got {self.alpha!r}")
        self._X = as_features(X)
        self._ridges: dict[bytes, TextRidge] = {}
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        if not hasattr(self, "_X"):
            raise PolicyNotFittedError("policy 'linear': fit_features(X) comes before fit_outcomes(outcomes)")
        check_rows(outcomes, len(self._X))
        self.learn_means(outcomes)
        known = ~np.isnan(outcomes.resolved)
        deviation = outcomes.resolved - np.where(known.any(axis=0), self.overall_, 0.0)
        shared = mean_known(deviation, axis=1)
        groups: dict[bytes, list[int]] = {}
        for model in np.flatnonzero(known.any(axis=0)).tolist():
            groups.setdefault(known[:, model].tobytes(), []).append(model)
        columns = [(self._ridge(known[:, models[0]]), models) for models in groups.values()]
        own = [(deviation - shared[:, None])[known[:, models[0]]][:, models] for _, models in columns]
        seen = ~np.isnan(shared)
        everybody = self._ridge(seen)
        strengths = (
            self._strength([(everybody, shared[seen][:, None])]),
            self._strength([(part, Y) for (part, _), Y in zip(columns, own, strict=True)]),
        )
        self.alpha_: FloatArray = np.array(strengths)
        coef, intercept = everybody.solve(shared[seen][:, None], strengths[0])
        self.coef_: FloatArray = np.zeros((self._X.shape[1], len(outcomes.models)))
        self.intercept_: FloatArray = np.zeros(len(outcomes.models))
        for (part, models), Y in zip(columns, own, strict=True):
            own_coef, own_intercept = part.solve(Y, strengths[1])
            self.coef_[:, models] = coef + own_coef
            self.intercept_[models] = self.overall_[models] + intercept + own_intercept
        return self

    def _strength(self, problems: list[tuple[TextRidge, FloatArray]]) -> float:
        if not isinstance(self.alpha, str):
            return self.alpha
        return min(AUTO_ALPHAS, key=lambda alpha: sum(ridge.press(Y, alpha) for ridge, Y in problems))

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        return np.clip(np.asarray(X, dtype=np.float64) @ self.coef_ + self.intercept_, 0.0, 1.0)

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        scores = self.scores(X)
        return [
            Explanation(None, f"{scores[row, choice]:.1%} predicted, {self.overall_[choice]:.1%} over all training")
            for row, choice in enumerate(choices)
        ]

    def _ridge(self, rows: NDArray[np.bool_]) -> TextRidge:
        """Models with verdicts on the same rows share one decomposition, and so do refits of other verdicts."""
        if rows.tobytes() not in self._ridges:
            self._ridges[rows.tobytes()] = TextRidge(self._X[rows])
        return self._ridges[rows.tobytes()]
