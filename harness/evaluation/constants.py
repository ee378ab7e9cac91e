"""Whether a policy is worth more than constants: single models, mixed at random so that they cost as much as it does.

A *constant* policy gives every instance to one model; a coin that chooses between two constants reaches every point of
the line between them. The upper hull of these lines is what money buys without any routing, so a policy is held
against the hull at its own cost. `harness.evaluation.trade_off` integrates a whole sweep over λ against the same hull;
this is one row at the cost that the row has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.schema import VsConstants
from router.arrays import FloatArray
from router.curves import hull
from router.outcomes import OutcomeMatrix, Replay

RESAMPLES = 2000
"""Of the bootstrap; more would only smooth the intervals' last digit."""
ROUNDING = 1e-12
"""Share by which two sums of the same costs may differ."""


def against_constants(
    replay: Replay, outcomes: OutcomeMatrix, *, seed: int = 0, resamples: int = RESAMPLES
) -> VsConstants | None:
    """The difference of a row to the mixture of single models that has the row's mean cost.

    Nothing is cheaper than the cheapest model, so a row that costs less is held against that model alone. Right of the
    best model the hull is flat: a row that costs more is held against the best model.

    The interval is a paired bootstrap over instances: each draw has its own costs and rates of the row and of the
    models on the hull, and the row is compared at its cost in that draw. Which models are corners of the hull is
    decided once, on the record, as the best single model is: chosen anew, the corners of every draw would be the models
    that were lucky in it, and its hull too high.

    Args:
        replay: What the row chose on the instances of `outcomes`.
        outcomes: The single models, complete.
        seed: Of the bootstrap.
        resamples: Draws.

    Returns:
        None where a cost of the pool or of the row is unknown.
    """
    if replay.unpriced_share != 0 or np.isnan(replay.cost).any() or np.isnan(outcomes.cost).any():
        return None
    corners = corners_of(outcomes.mean_cost(), outcomes.rates())
    # (1 + corners, n): the row first
    cost = np.vstack([replay.cost, outcomes.cost.T[corners]])
    resolved = np.vstack([replay.resolved, outcomes.resolved.T[corners]])
    n = len(outcomes)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    weights = np.vstack([np.full(n, 1 / n), draws / n])  # the record first
    costs, rates = weights @ cost.T, weights @ resolved.T
    steps = steps_at(costs[:, 1:], costs[:, 0])
    mixed = rates[:, 1] + (steps * np.diff(rates[:, 1:], axis=1)).sum(axis=1)
    difference = n * (rates[:, 0] - mixed)
    delta, drawn = difference[0], np.round(difference[1:], 9)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return VsConstants(
        delta=_rounded(delta),
        ci95=(_rounded(low), _rounded(high)),
        p_value=min(1.0, 2 * (1 + min((drawn <= 0).sum(), (drawn >= 0).sum())) / (1 + resamples)),
        resolved=_rounded(n * mixed[0]),
        mixture={
            outcomes.models[corner]: share
            for corner, share in zip(corners, map(_rounded, shares_of(steps[0])), strict=True)
            if share > 0
        },
    )


def corners_of(cost: FloatArray, rates: FloatArray) -> list[int]:
    """The models on the hull by rising cost, the cheapest first; of models in the same place the first one.

    Args:
        cost: (m,) mean cost of each model.
        rates: (m,) share that each resolves.
    """
    places = zip(*hull(cost, rates), strict=True)
    return [int(np.flatnonzero((cost == x) & (rates == y))[0]) for x, y in places]


def steps_at(cost: FloatArray, at: FloatArray) -> FloatArray:
    """How far a mixture at a cost goes from each corner of the hull to the next: 0 not at all, 1 the whole way.

    Args:
        cost: (draws, corners) mean cost of the corners, by rising cost on the record.
        at: (draws,) cost of the mixture.

    Returns:
        (draws, corners − 1).
    """
    # a corner that costs more in a draw than one behind it, which resolves more on the record, is passed over
    cost = np.minimum.accumulate(cost[:, ::-1], axis=1)[:, ::-1]
    low, high = cost[:, :-1], cost[:, 1:]
    # a corner that is no dearer than the one before it is reached at once
    gap = np.where(high > low, high - low, 1.0)
    at = at[:, None]
    steps = np.where(high > low, (at - low) / gap, at >= high * (1 - ROUNDING))
    return np.clip(steps, 0.0, 1.0)


def shares_of(steps: NDArray[np.float64]) -> list[float]:
    """The share of the instances that each corner gets, from the (corners − 1,) steps between them."""
    ends = np.concatenate([[1.0], steps, [0.0]])
    return [float(share) for share in ends[:-1] - ends[1:]]


def _rounded(value: float) -> float:
    return round(float(value), 6) + 0.0  # no negative zero
