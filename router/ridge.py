"""Ridge regression of many targets on one set of texts: one decomposition, λ by marginal likelihood, free hold-outs.

With the singular value decomposition X − x̄ = U S Vᵀ, every λ costs O(n·r), and the prediction of row i by the fit
without row i has the closed form ŷ₋ᵢ = yᵢ − (yᵢ − ŷᵢ)/(1 − hᵢᵢ) (Allen's PRESS). What is learned *on top of* a
ridge uses these held-out predictions, so it sees errors as large as those on new texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.arrays import FloatArray

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
        z = self.U.T @ centred
        rest = max(total - float(z @ z), 0.0)
        # (28, r): eigenvalues of I + XXᵀ/λ
        spread = 1.0 + self.S**2 / PENALTIES[:, None]
        evidence = -0.5 * (len(target) - 1) * np.log((z**2 / spread).sum(axis=1) + rest + 1e-12 * total)
        penalty = float(PENALTIES[int(np.argmax(evidence - 0.5 * np.log(spread).sum(axis=1)))])
        kept = self.S**2 / (self.S**2 + penalty)
        leverage = self.U**2 @ kept + 1.0 / len(target)
        fitted = mean + self.U @ (kept * z)
        held_out = target - (target - fitted) / np.maximum(1.0 - leverage, 1e-6)
        weights = self.Vt.T @ (self.S / (self.S**2 + penalty) * z)
        error = float(((target - held_out) ** 2).mean())
        return RidgeFit(weights, mean - float(self.mean @ weights), held_out, error)

    def _constant(self, value: float, rows: int) -> RidgeFit:
        return RidgeFit(np.zeros(self.X.shape[1]), value, np.full(rows, value), 0.0)


def stack(target: FloatArray, parts: list[RidgeFit]) -> RidgeFit:
    """The best linear combination of ridges for one target (n,), learned on their held-out predictions."""
    design = np.column_stack([np.ones(len(target)), *(part.held_out for part in parts)])
    mix = np.linalg.lstsq(design, target, rcond=None)[0]
    held_out = design @ mix
    weights = np.sum([share * part.weights for share, part in zip(mix[1:], parts, strict=True)], axis=0)
    bias = float(mix[0] + sum(share * part.bias for share, part in zip(mix[1:], parts, strict=True)))
    return RidgeFit(weights, bias, held_out, float(((target - held_out) ** 2).mean()))
