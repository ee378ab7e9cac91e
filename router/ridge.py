"""Ridge regression of many targets on one set of texts: one decomposition, every λ, free hold-outs.

With the singular value decomposition X − x̄ = U S Vᵀ, every λ costs O(n·r), and the prediction of row i by the fit
without row i has the closed form ŷ₋ᵢ = yᵢ − (yᵢ − ŷᵢ)/(1 − hᵢᵢ) (Allen's PRESS). What is learned *on top of* a
ridge uses these held-out predictions, so it sees errors as large as those on new texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.arrays import FloatArray, mean_known

PENALTIES = np.geomspace(0.1, 1000.0, 28)
"""λ tried; features are unit vectors, so beyond the last one little more than the mean is left"""


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """ŷ(x) = x·weights + bias, for one target."""

    weights: FloatArray
    """(d,)"""
    bias: float
    held_out: FloatArray
    """(n,) each training row predicted without it"""
    error: float
    """mean squared error of `held_out`"""

    def predict(self, X: FloatArray) -> FloatArray:
        """(n,) from features (n, d)."""
        return np.asarray(X @ self.weights + self.bias)


class TextRidge:
    """The decomposition of training features X (n, d), ready for any number of targets."""

    def __init__(self, X: FloatArray) -> None:
        self.X = X
        self.mean: FloatArray = X.mean(axis=0)
        self.U, self.S, self.Vt = np.linalg.svd(X - self.mean, full_matrices=False)
        self._squares = self.U**2

    def fit(self, target: FloatArray) -> RidgeFit:
        """One target (n,), NaN where unknown; λ maximises the marginal likelihood of a normal model of the weights.

        The likelihood is steadier than leave-one-out error where text tells little. A constant target, or one known on
        fewer than 3 rows, is predicted by its mean (0 if none is known).
        """
        known = ~np.isnan(target)
        if not known.all():
            if known.sum() < 3:
                return self._constant(float(target[known].mean()) if known.any() else 0.0, len(target))
            part = TextRidge(self.X[known]).fit(target[known])
            held_out = part.predict(self.X)
            held_out[known] = part.held_out
            return RidgeFit(part.weights, part.bias, held_out, part.error)
        mean = float(target.mean())
        centred = target - mean
        total = float(centred @ centred)
        if len(target) < 3 or total <= 1e-12 * max(1.0, mean**2) * len(target):
            return self._constant(mean, len(target))
        weights, fitted = self._solved(centred[:, None])
        bias = mean - float(self.mean @ weights[:, 0])
        held_out = mean + fitted[:, 0]
        return RidgeFit(weights[:, 0], bias, held_out, float(((target - held_out) ** 2).mean()))

    def fit_together(self, targets: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Many targets (n, t) with one λ, which no single noisy target can choose badly.

        Weights (d, t), biases (t,) and held-out predictions (n, t). Unknown (NaN) cells count as their column's mean:
        the less is known of a target, the less it departs from its mean.
        """
        means = np.nan_to_num(mean_known(targets, axis=0))
        centred = np.where(np.isnan(targets), 0.0, targets - means)
        if len(targets) < 3 or (centred**2).sum() <= 1e-12 * targets.size:
            return np.zeros((self.X.shape[1], targets.shape[1])), means, np.broadcast_to(means, targets.shape)
        weights, held_out = self._solved(centred)
        return weights, means - self.mean @ weights, means + held_out

    def solve(self, targets: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
        """Weights (d, t) and biases (t,) for targets (n, t), all known, at one λ; ∞ leaves nothing but the means."""
        means = targets.mean(axis=0)
        weights = self.Vt.T @ ((self.S * self._inverse(penalty))[:, None] * (self.U.T @ (targets - means)))
        return weights, means - self.mean @ weights

    def press(self, targets: FloatArray, penalty: float) -> float:
        """The squared held-out errors (Allen's PRESS) of targets (n, t), all known, summed over rows and targets."""
        centred = targets - targets.mean(axis=0)
        return float(((centred - self._held_out(centred, penalty)) ** 2).sum())

    def _solved(self, centred: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weights (d, t) and held-out predictions (n, t) for targets of mean 0, λ by their joint likelihood."""
        n = len(centred)
        z = self.U.T @ centred
        total = (centred**2).sum(axis=0)
        rest = np.maximum(total - (z**2).sum(axis=0), 0.0)
        # (28, r): eigenvalues of I + XXᵀ/λ
        spread = 1.0 + self.S**2 / PENALTIES[:, None]
        fit = np.log((1.0 / spread) @ z**2 + rest + 1e-12 * total.max()).sum(axis=1)
        evidence = -0.5 * (n - 1) * fit - 0.5 * centred.shape[1] * np.log(spread).sum(axis=1)
        penalty = float(PENALTIES[int(np.argmax(evidence))])
        weights = self.Vt.T @ ((self.S * self._inverse(penalty))[:, None] * z)
        return weights, self._held_out(centred, penalty)

    def _held_out(self, centred: FloatArray, penalty: float) -> FloatArray:
        """(n, t) each row of targets of mean 0 predicted without it."""
        kept = self.S**2 * self._inverse(penalty)
        leverage = self._squares @ kept + 1.0 / len(centred)
        fitted = self.U @ (kept[:, None] * (self.U.T @ centred))
        return centred - (centred - fitted) / np.maximum(1.0 - leverage, 1e-6)[:, None]

    def _inverse(self, penalty: float) -> FloatArray:
        """(r,) 1 / (s² + λ); a direction without variance explains nothing, also at λ = 0."""
        squares = self.S**2
        usable = squares > 1e-9 * max(float(squares[0]), 1e-9)
        return np.where(usable, 1.0 / (np.where(usable, squares, 1.0) + penalty), 0.0)

    def _constant(self, value: float, rows: int) -> RidgeFit:
        return RidgeFit(np.zeros(self.X.shape[1]), value, np.full(rows, value), 0.0)
