"""Cost–quality figures of a policy whose cost weight was swept.

All functions are pure and take points as two arrays of equal length: cost (p,) in USD per instance (or any unit that
is the same throughout), quality (p,) in [0, 1]. Points may come in any order; dominated ones do no harm. Between two
points the curve is a straight line, because choosing between two policies by a biased coin gets any mixture of both.
To the right of its last point it is flat: nobody is forced to spend more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Curve:
    """A cost–quality curve, one point per λ."""

    cost_weights: FloatArray
    """(w,) λ, resolved instances per USD"""
    cost: FloatArray
    """(w,) mean USD per instance"""
    quality: FloatArray
    """(w,) share resolved"""
    by_instance: tuple[FloatArray, FloatArray] | None = None
    """(w, n) cost and verdict of each instance, means over repeats: what a bootstrap over instances needs"""


def pareto(cost: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The points that no other beats in both, strictly increasing in cost and in quality."""
    cost, quality = _points(cost, quality)
    order = np.lexsort((-quality, cost))
    cost, quality = cost[order], quality[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(quality)[:-1]])
    return cost[quality > best_before], quality[quality > best_before]


def hull(cost: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The non-decreasing convex hull (RouterBench, arXiv 2403.12031): the corners of the best mixtures of points."""
    corners: list[tuple[float, float]] = []
    for point in zip(*(axis.tolist() for axis in pareto(cost, quality)), strict=True):
        while len(corners) >= 2 and _on_or_below(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    xs, ys = np.array(corners, dtype=np.float64).T
    return xs, ys


def area(cost: FloatArray, quality: FloatArray, c_max: float | None = None) -> float:
    """Area = ∫ quality d(c/c_max) over [0, c_max] of the Pareto-clean curve (UniRoute, arXiv 2502.08773).

    Left of the cheapest point nothing can be bought and quality is 0. `c_max` is the dearest point unless given; give
    the same one (the dearest single model) to all policies that are compared. ValueError for c_max <= 0.
    """
    top = float(np.max(cost)) if c_max is None else c_max
    if not 0 < top < np.inf:
        raise ValueError(f"c_max must be a positive cost, got {top}")
    return _integral(*pareto(cost, quality), 0.0, top) / top


def qnc(cost: FloatArray, quality: FloatArray, single_cost: float, single_quality: float) -> float:
    """Quality-neutral cost: least cost on the Pareto-clean curve that matches the most accurate single model's quality,
    divided by that model's cost (UniRoute). Infinite when the curve never gets there. ValueError for single_cost <= 0.
    """
    if not 0 < single_cost < np.inf:
        raise ValueError(f"single_cost must be a positive cost, got {single_cost}")
    xs, ys = pareto(cost, quality)
    # means of the same 0/1 values in another order differ in the last digits
    if single_quality > ys[-1] + 1e-12:
        return float("inf")
    return float(np.interp(single_quality, ys, xs)) / single_cost


def aiq(cost: FloatArray, quality: FloatArray, c_min: float | None = None, c_max: float | None = None) -> float:
    """AIQ = mean quality of the non-decreasing convex hull over [c_min, c_max] (RouterBench, arXiv 2403.12031).

    The bounds are the cheapest and the dearest point unless given; give the same ones (of the single models) to all
    policies that are compared. Left of the cheapest point quality is 0. With c_min = c_max it is the quality there.
    """
    xs, ys = hull(cost, quality)
    low = float(np.min(cost)) if c_min is None else c_min
    high = float(np.max(cost)) if c_max is None else c_max
    if low > high:
        raise ValueError(f"c_min={low} is above c_max={high}")
    if low == high:
        return float(np.interp(low, xs, ys, left=0.0))
    return _integral(xs, ys, low, high) / (high - low)


def _points(cost: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    cost, quality = np.asarray(cost, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    if cost.ndim != 1 or cost.shape != quality.shape or not len(cost):
        raise ValueError(f"cost and quality must be equally long, got shapes {cost.shape} and {quality.shape}")
    if not (np.isfinite(cost).all() and np.isfinite(quality).all() and (cost >= 0).all()):
        raise ValueError("cost and quality must be finite and cost >= 0; drop points of unknown cost first")
    return cost, quality


def _on_or_below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether `middle` adds nothing to the line from `left` to `right`."""
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])


def _integral(xs: FloatArray, ys: FloatArray, low: float, high: float) -> float:
    """∫ from low to high of the line through the points, 0 left of the first, flat right of the last."""
    start = max(low, float(xs[0]))
    if start >= high:
        return 0.0
    grid = np.concatenate([[start], xs[(xs > start) & (xs < high)], [high]])
    values = np.interp(grid, xs, ys)
    return float(((values[1:] + values[:-1]) / 2 * np.diff(grid)).sum())
