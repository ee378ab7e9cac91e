"""Bounds that no policy knows how to reach: the hindsight-best choice, the blind one, and how models overlap."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from router.arrays import mean_known
from router.outcomes import OutcomeError, OutcomeMatrix, Replay, replay_choices


@dataclass(frozen=True)
class Pair:
    """How two models' verdicts overlap, over the instances known for both."""

    a: str
    b: str
    both: int
    a_only: int
    b_only: int
    neither: int


def oracle(outcomes: OutcomeMatrix) -> Replay:
    """Per instance the best recorded cell: the cheapest that resolved it, else the cheapest known attempt.

    Cells of unknown cost come after those of known cost, unknown verdicts are never chosen while one is known. Most of
    this bound is luck when models are rerun: read it as "any of these runs", not as a reachable target.
    """
    if np.isnan(outcomes.resolved).all():
        raise OutcomeError("no verdict is known, so there is no oracle")
    price = np.nan_to_num(outcomes.cost, nan=np.inf)
    # resolved 1 before 0 before unknown, then by price
    rank = np.nan_to_num(outcomes.resolved, nan=-1.0)
    best = rank == rank.max(axis=1, keepdims=True)
    # +inf marks "not a candidate"; a candidate of unknown cost must still win over it
    finite = np.where(np.isinf(price), np.finfo(np.float64).max, price)
    return replay_choices(outcomes, np.where(best, finite, np.inf).argmin(axis=1)[None, :])


def random_expectation(outcomes: OutcomeMatrix) -> Replay:
    """Expected outcome of a uniformly random model per instance: the mean over its known cells."""
    n, m = outcomes.resolved.shape
    return Replay(
        choices=np.empty((0, n), dtype=np.int64),
        resolved=mean_known(outcomes.resolved, axis=1),
        cost=mean_known(outcomes.cost, axis=1),
        seconds=mean_known(outcomes.seconds, axis=1),
        share=np.full(m, 1.0 / m),
        unpriced=np.isnan(outcomes.cost).mean(axis=1),
    )


def pairs(outcomes: OutcomeMatrix) -> tuple[Pair, ...]:
    """Every unordered pair of models, in the order of `outcomes.models`."""
    return tuple(_pair(outcomes, i, j) for i, j in combinations(range(len(outcomes.models)), 2))


def _pair(outcomes: OutcomeMatrix, i: int, j: int) -> Pair:
    left, right = outcomes.resolved[:, i], outcomes.resolved[:, j]
    return Pair(
        a=outcomes.models[i],
        b=outcomes.models[j],
        both=int(((left == 1) & (right == 1)).sum()),
        a_only=int(((left == 1) & (right == 0)).sum()),
        b_only=int(((left == 0) & (right == 1)).sum()),
        neither=int(((left == 0) & (right == 0)).sum()),
    )
