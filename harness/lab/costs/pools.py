"""The policy `cost-first` on whole pools: its sweep over λ beside mixtures of the single models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from harness.evaluation.stats import bootstrap_mean
from harness.evaluation.trade_off import trade_off
from router.arrays import FloatArray
from router.lab.crossfit import DEFAULT_COST_WEIGHTS, Folds, crossfit
from router.outcomes import OutcomeMatrix
from router.policies import make_policy

POOLS = {"mini-swe-agent 2": "all runs of mini-SWE-agent 2", "mini-swe-agent 1": "all runs of mini-SWE-agent 1"}
"""Beginning of an agent's name → the pool of its runs."""
POLICIES = ("best-fixed", "cost-first")
"""The first predicts nothing: what it loses is the price of choosing models by their training rates."""
RANDOM_POOLS = 60
SIZES = (3, 4, 5, 6)
"""Of random pools."""


@dataclass(frozen=True)
class PoolRow:
    """A policy on a pool."""

    pool: str
    models: int
    split: str
    policy: str
    hull_gain: float
    """Mean over costs from the cheapest model's to the best one's, beyond mixtures, in resolved instances."""
    hull_gain_ci95: tuple[float, float]
    """Bootstrap over instances."""


@dataclass(frozen=True)
class RandomPools:
    """A policy on random pools of able runs, folds by instance."""

    pools: int
    policy: str
    hull_gain: float
    """Mean over pools."""
    hull_gain_ci95: tuple[float, float]
    """Bootstrap over pools, which overlap: too narrow for other records."""
    positive: int


def pool_rows(
    X: FloatArray, outcomes: OutcomeMatrix, agents: Sequence[str], splits: Mapping[str, Folds], *, seed: int = 0
) -> Iterator[PoolRow]:
    """For every pool of three or more runs of an agent; `splits` by their names."""
    for start, pool in POOLS.items():
        names = [name for name, agent in zip(outcomes.models, agents, strict=True) if agent.startswith(start)]
        if len(names) < 3:
            continue
        some = outcomes.pool(names)
        for split, policy in product(splits, POLICIES):
            fit = crossfit(make_policy(policy), X, some, splits[split], cost_weights=DEFAULT_COST_WEIGHTS)
            traded = trade_off(fit, some, seed=seed)
            if traded is not None:
                low, high = traded.hull_gain_ci95
                yield PoolRow(
                    pool=pool,
                    models=len(names),
                    split=split,
                    policy=policy,
                    hull_gain=round(traded.hull_gain, 2),
                    hull_gain_ci95=(round(low, 2), round(high, 2)),
                )


def random_pools(
    X: FloatArray, outcomes: OutcomeMatrix, able: Sequence[int], splits: Folds, *, number: int, seed: int = 0
) -> Iterator[RandomPools]:
    """Over a `number` of pools of the runs `able`, each with one repeat of the folds."""
    rng = np.random.default_rng([seed, 2])
    sizes = [size for size in SIZES if size <= len(able)]
    if not sizes:
        return
    pools = [rng.choice(able, int(rng.choice(sizes)), replace=False) for _ in range(number)]
    for policy in POLICIES:
        gains = []
        for pool in pools:
            some = outcomes.pool([outcomes.models[k] for k in sorted(pool)])
            fit = crossfit(make_policy(policy), X, some, splits[:1], cost_weights=DEFAULT_COST_WEIGHTS)
            traded = trade_off(fit, some, seed=seed, resamples=1)
            if traded is not None:
                gains.append(traded.hull_gain)
        low, high = bootstrap_mean(gains, seed=seed)
        yield RandomPools(
            pools=len(gains),
            policy=policy,
            hull_gain=round(float(np.mean(gains)), 2),
            hull_gain_ci95=(round(low, 2), round(high, 2)),
            positive=sum(gain > 0 for gain in gains),
        )
