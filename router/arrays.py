"""Array types, and what every module here shares."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Features = NDArray[np.floating[Any]]

Z95 = NormalDist().inv_cdf(0.975)
"""Standard errors on either side of a 95 % interval."""


def mean_known(values: FloatArray, axis: int | tuple[int, ...] | None = None) -> FloatArray:
    """Mean over the known (not NaN) cells along `axis`; NaN, without a warning, where no cell is known."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def as_features(X: Features, rows: int | None = None) -> FloatArray:
    """`X` as a finite (n, d) float64 matrix; ValueError names what is wrong with it, or with its number of rows."""
    matrix = np.asarray(X, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"X must be an (n, d) matrix of embeddings, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        row = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise ValueError(f"X has a NaN or infinite value in row {row}")
    if rows is not None and len(matrix) != rows:
        raise ValueError(f"X has {len(matrix)} rows for {rows} instances: one embedding per instance is needed")
    return matrix
