"""Hull gain and parity of a cross-fitted sweep over λ, with intervals from resampling instances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.schema import TradeOff
from router.curves import aiq, hull, qnc
from router.lab.crossfit import CrossFit
from router.outcomes import OutcomeMatrix

RESAMPLES = 400
"""Each needs three hulls: more would only smooth the intervals' last digit."""
NEARLY = 0.99
"""Share of the best single model's rate that counts as nearly reached."""
BLOCK = 50
"""Resamples counted at a time."""


def trade_off(fit: CrossFit, outcomes: OutcomeMatrix, *, seed: int = 0, resamples: int = RESAMPLES) -> TradeOff | None:
    """Figures of `fit` beside the single models of `outcomes` (complete); None where a cost is unknown or nil, or there
    is one model.

    Instances are drawn with replacement, the same for every λ and every single model. The best single model stays the
    one of the record, as in the differences to it: choosing it anew in every draw would flatter the singles.
    """
    if fit.curve is None or fit.curve.by_instance is None or len(outcomes.models) < 2 or np.isnan(outcomes.cost).any():
        return None
    best = outcomes.best_single()
    if outcomes.mean_cost()[best] <= 0:
        return None
    # (w + m, n): the sweep, then the singles
    cost = np.vstack([fit.curve.by_instance[0], outcomes.cost.T])
    resolved = np.vstack([fit.curve.by_instance[1], outcomes.resolved.T])
    n, swept = len(outcomes), len(fit.curve.cost)
    rng = np.random.default_rng(seed)
    drawn = []
    for start in range(0, resamples, BLOCK):
        counts = rng.multinomial(n, np.full(n, 1 / n), size=min(BLOCK, resamples - start)) / n
        pairs = zip(counts @ cost.T, counts @ resolved.T, strict=True)
        drawn += [_figures(one_cost, one_resolved, swept, best) for one_cost, one_resolved in pairs]
    gain, parity, nearly = _figures(cost.mean(axis=1), resolved.mean(axis=1), swept, best)
    # an interval's end that is never reached stays infinite: no mixing of it with its neighbour
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0, method="closest_observation")
    return TradeOff(
        hull_gain=round(n * gain, 6),
        hull_gain_ci95=(round(n * low[0], 6), round(n * high[0], 6)),
        parity=_finite(parity),
        parity_ci95=(_finite(low[1]), _finite(high[1])),
        at_99_percent=_finite(nearly),
        at_99_percent_ci95=(_finite(low[2]), _finite(high[2])),
    )


def _figures(
    cost: NDArray[np.float64], resolved: NDArray[np.float64], swept: int, best: int
) -> tuple[float, float, float]:
    """Hull gain as a share, parity, and the same for 99 %: `router.curves`, for a best single that is given."""
    prices, rates = cost[swept:], resolved[swept:]
    low, high, goal = float(prices.min()), float(prices[best]), float(rates[best])
    gain = 0.0
    if low < high:
        gain = aiq(cost[:swept], resolved[:swept], low, high) - aiq(prices, rates, low, high)
    xs, ys = hull(cost[:swept], resolved[:swept])
    return gain, qnc(xs, ys, high, goal), qnc(xs, ys, high, NEARLY * goal)


def _finite(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
