"""What would cascades reach with a better verifier? Simulated scores of given AUC on recorded outcomes.

A simulated verifier scores an attempt by a standard normal number, shifted by d' where the attempt is right (binormal,
AUC = Φ(d'/√2)); P(right | score) then follows from the model's rate by Bayes' rule. Nothing but the score is simulated:
verdicts and costs are the recorded ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.special import expit, ndtri

from router.arrays import FloatArray
from router.outcomes import OutcomeError, OutcomeMatrix

AUCS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Of the simulated verifiers."""
BUDGETS = (0.5, 1.0, 1.5)
"""mean cost allowed, as a share of the best single model's"""
COST_WEIGHTS = np.concatenate([[0.0], np.geomspace(0.003, 30, 25)])
"""λ tried, resolved instances per USD."""


@dataclass(frozen=True)
class Reached:
    """The best a two-stage cascade does with a verifier of this quality within a budget."""

    auc: float
    budget: float
    resolved: float
    """instances, mean over draws"""
    cost: float
    """mean USD per instance, all attempts counted"""


def what_it_takes(
    outcomes: OutcomeMatrix,
    aucs: Sequence[float] = AUCS,
    budgets: Sequence[float] = BUDGETS,
    draws: int = 40,
    seed: int = 0,
) -> list[Reached]:
    """Resolved and cost as a function of the verifier's AUC, for every budget. Needs every verdict and cost.

    Each ordered pair of models is played as the cascade policy plays it: escalate when P(b right | score of a) −
    P(a right | score) > λ·cost_b, accept the likelier attempt after both. The pair and λ are the
    best of each budget **in hindsight**, so the curve is what such a verifier makes possible, not a forecast.
    """
    if np.isnan(outcomes.resolved).any() or np.isnan(outcomes.cost).any():
        raise OutcomeError("what it takes is computed where every verdict and every cost is known")
    n, m = outcomes.resolved.shape
    most = float(outcomes.mean_cost()[outcomes.best_single()])
    members = _front(outcomes)
    resolved, cost, means = outcomes.resolved[:, members], outcomes.cost[:, members], outcomes.mean_cost()[members]
    rates = np.clip(outcomes.rates(), 0.5 / n, 1 - 0.5 / n)[members]
    # the same noise for every quality: the curve is smooth
    noise = np.random.default_rng(seed).normal(size=(draws, n, m))[:, :, members]
    alone = [(float(resolved[:, h].mean()), float(means[h])) for h in range(len(members))]
    curve = []
    for area in aucs:
        shift = float(np.sqrt(2) * ndtri(area))
        right = np.moveaxis(_posterior(noise + shift * resolved, shift, rates), -1, 0).copy()
        reached = list(alone)
        for a, b in permutations(range(len(members)), 2):
            a_right = resolved[:, a] == 1
            # P(b right | score of a), by way of whether a is right
            if_right, if_wrong = _rate(resolved[a_right, b]), _rate(resolved[~a_right, b])
            gain = right[a] * (if_right - 1) + (1 - right[a]) * if_wrong
            better = (right[b] >= right[a]) * (resolved[:, b] - resolved[:, a])
            solved, escalated = _escalated(gain, COST_WEIGHTS * means[b], better)
            reached += zip(
                ((draws * resolved[:, a].sum() + solved) / (draws * n)).tolist(),
                (cost[:, a].mean() + escalated @ cost[:, b] / (draws * n)).tolist(),
                strict=True,
            )
        for budget in budgets:
            affordable = [point for point in reached if point[1] <= budget * most + 1e-12]
            if affordable:
                resolved_share, paid = max(affordable, key=lambda point: (point[0], -point[1]))
                curve.append(Reached(area, budget, n * resolved_share, paid))
    return curve


def _escalated(gain: FloatArray, prices: FloatArray, better: FloatArray) -> tuple[FloatArray, FloatArray]:
    """For every one of the ascending `prices` (w,): what escalating where gain (draws, n) > price adds of `better`
    (draws, n), and how often each instance is escalated (w, n).
    """
    n = gain.shape[1]
    # an attempt escalates at the first `rank` prices: counted once per rank, not compared with every price
    rank = np.searchsorted(prices, gain)
    size = len(prices) + 1
    times = np.bincount((rank * n + np.arange(n)).ravel(), minlength=size * n).reshape(size, n)
    added = np.bincount(rank.ravel(), weights=better.ravel(), minlength=size)
    return added[::-1].cumsum()[-2::-1], times[::-1].cumsum(axis=0)[-2::-1].astype(np.float64)


def _posterior(score: FloatArray, shift: float, rates: FloatArray) -> FloatArray:
    """P(right | score) of scores (…, m) that are N(shift, 1) for right and N(0, 1) for wrong attempts."""
    return np.asarray(expit(np.log(rates / (1 - rates)) + shift * score - shift**2 / 2))


def _rate(verdicts: FloatArray) -> float:
    """Share resolved, with one pseudo-count."""
    return float((verdicts.sum() + 0.5) / (len(verdicts) + 1))


def _front(outcomes: OutcomeMatrix, most: int = 4) -> list[int]:
    """The models on the cost–quality front, at most `most`: the most accurate and the cheapest."""
    rates, costs = outcomes.rates(), outcomes.mean_cost()
    order = np.lexsort((-rates, costs))
    front: list[int] = []
    for h in order:
        if not front or rates[h] > rates[front[-1]]:
            front.append(int(h))
    return front if len(front) <= most else [front[0], *front[-(most - 1) :]]
