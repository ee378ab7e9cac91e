"""Small ridge-penalised logistic regressions, many at once: numpy is enough, and permutation tests fit thousands."""

from __future__ import annotations

import numpy as np

from router.arrays import FloatArray
from router.irt import sigmoid


def fit_logistic(design: FloatArray, y: FloatArray, penalty: float = 5.0, steps: int = 12) -> FloatArray:
    """(…, f) weights of P(y) = σ(design·w) for designs (…, n, f) whose first column is the constant, which is free.

    Newton steps on the negative log-likelihood plus penalty/2 · |w|². `y` (…, n) may be fractional; NaN rows are left
    out. The constant starts with, and is held faintly by, half a pseudo-count on either side.
    """
    known = ~np.isnan(y)
    y = np.where(known, y, 0.0)
    share = (y.sum(axis=-1) + 0.5) / (known.sum(axis=-1) + 1.0)
    w = np.zeros((*design.shape[:-2], design.shape[-1]))
    w[..., 0] = np.log(share / (1 - share))
    ridge = np.full(design.shape[-1], penalty)
    # almost free: enough to stay finite where there is one class only
    ridge[0] = 1e-2
    centre = np.where(np.arange(design.shape[-1]) == 0, w, 0.0)
    transposed = np.swapaxes(design, -1, -2)
    for _ in range(steps):
        p = sigmoid(design @ w[..., None])[..., 0]
        gradient = (transposed @ (known * (y - p))[..., None])[..., 0] - ridge * (w - centre)
        weight = known * p * (1 - p)
        hessian = transposed @ (design * weight[..., None]) + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        w = w + np.clip(step, -3.0, 3.0)
        if np.abs(step).max(initial=0.0) < 1e-5:
            break
    return w


def with_constant(*parts: FloatArray) -> FloatArray:
    """(…, 1 + f) a constant column before the columns of the parts (…, f_i)."""
    return np.concatenate([np.ones((*parts[0].shape[:-1], 1)), *parts], axis=-1)
