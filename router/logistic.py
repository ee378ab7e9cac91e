"""Small ridge-penalised logistic regressions, many at once: numpy is enough, and permutation tests fit thousands."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from router.arrays import FloatArray


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
        p = expit(design @ w[..., None])[..., 0]
        gradient = (transposed @ (known * (y - p))[..., None])[..., 0] - ridge * (w - centre)
        weight = known * p * (1 - p)
        hessian = transposed @ (design * weight[..., None]) + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        w = w + np.clip(step, -3.0, 3.0)
        if np.abs(step).max(initial=0.0) < 1e-5:
            break
    return w


def fit_with_intercepts(z: FloatArray, y: FloatArray, penalty: float = 5.0, steps: int = 12) -> FloatArray:
    """(1 + m + f,) weights of P(y) = σ(w₀ + own_j + slopes·z) for attempts (n, m): what `fit_logistic` finds on the
    design [1, one-hot of the model, z], up to the order of its sums.

    z (f, n, m), `y` (n, m) with NaN rows left out. A hundred thousand attempts of forty models make a design of mostly
    zeros: its Hessian is put together from sums per model instead, and columns that are zero throughout, whose weight
    is 0, stay out of it.
    """
    f, n, m = z.shape
    flat = z.reshape(f, n * m)
    used = flat.any(axis=1)
    columns = flat[used]
    known = ~np.isnan(y)
    y = np.where(known, y, 0.0)
    share = (y.sum() + 0.5) / (known.sum() + 1.0)
    own, slopes = slice(1, 1 + m), slice(1 + m, None)
    w = np.zeros(1 + m + len(columns))
    w[0] = np.log(share / (1 - share))
    centre = np.where(np.arange(len(w)) == 0, w, 0.0)
    ridge = np.full(len(w), penalty)
    ridge[0] = 1e-2  # as in `fit_logistic`
    for _ in range(steps):
        p = expit(w[0] + w[own] + (w[slopes] @ columns).reshape(n, m))
        missed = known * (y - p)
        weight = known * p * (1 - p)
        weighted = columns * weight.ravel()
        of_models = np.diag(weight.sum(axis=0))
        of_both = weighted.reshape(len(columns), n, m).sum(axis=1).T
        hessian = np.block([[of_models, of_both], [of_both.T, weighted @ columns.T]])
        # the constant's column is the sum of the models' columns
        first = hessian[:m].sum(axis=0)
        hessian = np.block([[first[:m].sum(), first], [first[:, None], hessian]]) + np.diag(ridge)
        gradient = np.concatenate([[missed.sum()], missed.sum(axis=0), columns @ missed.ravel()]) - ridge * (w - centre)
        step = np.linalg.solve(hessian, gradient)
        w = w + np.clip(step, -3.0, 3.0)
        if np.abs(step).max() < 1e-5:
            break
    weights = np.zeros(1 + m + f)
    weights[own], weights[0] = w[own], w[0]
    weights[slopes][used] = w[slopes]
    return weights


def with_constant(*parts: FloatArray) -> FloatArray:
    """(…, 1 + f) a constant column before the columns of the parts (…, f_i)."""
    return np.concatenate([np.ones((*parts[0].shape[:-1], 1)), *parts], axis=-1)
