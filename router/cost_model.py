"""What an instance will cost a model, estimated from its text: ridge regression on the logarithm of recorded costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.arrays import FloatArray
from router.ridge import TextRidge

FLOOR = 1e-3
"""Share of a model's mean cost. Logarithms of lower costs are those of this share: a cost of 0 has none."""


@dataclass(frozen=True, eq=False)
class CostModel:
    """cost(x, h) = scale_h · exp(x·weights_h + bias_h), within the costs recorded of model h.

    The scale makes the mean over held-out training instances the recorded mean: the exponential of a mean logarithm is
    below the mean.
    """

    weights: FloatArray
    """(d, m)"""
    bias: FloatArray
    """(m,)"""
    scale: FloatArray
    """(m,) 0 for a model that costs nothing, NaN for one without a recorded cost"""
    low: FloatArray
    """(m,) least logarithm of a recorded cost"""
    high: FloatArray
    """(m,) greatest"""

    @classmethod
    def fit(cls, ridge: TextRidge, cost: FloatArray) -> tuple[CostModel, FloatArray]:
        """Fit the costs of every model.

        Args:
            ridge: Of the training texts.
            cost: (n, m) recorded USD, NaN where unknown.

        Returns:
            The model, and (n, m) USD of each training instance as predicted without it.
        """
        n, m = cost.shape
        weights, bias, scale = np.zeros((ridge.X.shape[1], m)), np.zeros(m), np.full(m, np.nan)
        low, high, held_out = np.zeros(m), np.zeros(m), np.full((n, m), np.nan)
        for h in range(m):
            known = ~np.isnan(cost[:, h])
            if not known.any():
                continue
            mean = float(cost[known, h].mean())
            if mean <= 0:
                scale[h], held_out[:, h] = 0.0, 0.0
                continue
            logs = np.log(np.maximum(cost[:, h], FLOOR * mean))
            fitted = ridge.fit(logs)
            weights[:, h], bias[h] = fitted.weights, fitted.bias
            low[h], high[h] = logs[known].min(), logs[known].max()
            raw = np.exp(np.clip(fitted.held_out, low[h], high[h]))
            scale[h] = mean / raw[known].mean()
            held_out[:, h] = scale[h] * raw
        return cls(weights, bias, scale, low, high), held_out

    def predict(self, X: FloatArray) -> FloatArray:
        """(n, m) USD; NaN for a model without a recorded cost."""
        return np.asarray(self.scale * np.exp(np.clip(X @ self.weights + self.bias, self.low, self.high)))
