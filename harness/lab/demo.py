"""A simulated benchmark to look at: outcomes, costs, repositories and difficulties, and one model that got worse.

No number in it was measured. It is made by `router.lab.simulation` and marked as simulated wherever it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from router.arrays import FloatArray
from router.lab.simulation import random_embeddings, simulate_pool
from router.outcomes import OutcomeMatrix

TITLE = "Simulated benchmark"
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu")
"""Of the models, after `sim-`."""
INSTANCES = 500
REPOSITORIES = 10
DIFFICULTIES = (("<15 min fix", 0.39), ("15 min - 1 hour", 0.91), ("1-4 hours", 0.99), (">4 hours", 1.0))
"""Names, and the share of the instances that are at most so hard: as in SWE-bench Verified."""
SPREAD = 0.5
"""Standard deviation of an attempt's cost around its model's mean, on a logarithmic scale."""
FAILED = 1.4
"""An attempt that fails costs this much more."""
CALLS_PER_USD = 80.0
SECONDS_PER_CALL = 9.0
DROP = 0.08
"""How much less one model resolves in the degraded set, as a share of the instances."""


@dataclass(frozen=True, eq=False)
class SimulatedBenchmark:
    """What a run of a benchmark would have recorded, made up."""

    outcomes: OutcomeMatrix
    probabilities: FloatArray
    """(n, m) of being resolved."""
    embeddings: FloatArray
    """(n, d), in place of those of issue texts."""
    repositories: list[str]
    difficulties: list[str]


def simulated_benchmark(seed: int) -> SimulatedBenchmark:
    """500 instances with 12 models; the same seed gives the same numbers."""
    rng = np.random.default_rng(seed)
    X = random_embeddings(INSTANCES, rng)
    pool = simulate_pool(X, rng, models=len(NAMES))
    resolved = np.array(pool.outcomes.resolved)
    ease = pool.probabilities.mean(axis=1)
    repository = rng.choice(REPOSITORIES, size=INSTANCES, p=_falling(REPOSITORIES))
    repositories = [f"simulated/repo-{k}" for k in repository]
    instances = [f"simulated__repo-{k}-{i}" for i, k in enumerate(repository)]
    cost, calls, seconds = _expenses(resolved, pool.outcomes.cost[0], rng)
    models = [f"sim-{name}" for name in NAMES]
    return SimulatedBenchmark(
        outcomes=OutcomeMatrix.build(instances, models, resolved, cost, calls, seconds),
        probabilities=pool.probabilities,
        embeddings=X,
        repositories=repositories,
        difficulties=_difficulties(ease),
    )


def degraded(benchmark: SimulatedBenchmark, model: str, seed: int) -> OutcomeMatrix:
    """The same outcomes after one model was run again and got worse by `DROP`; all others are as they were."""
    rng = np.random.default_rng(seed)
    outcomes = benchmark.outcomes
    column = outcomes.models.index(model)
    worse = _lowered(benchmark.probabilities[:, column], DROP)
    resolved, cost, calls, seconds = (
        np.array(values) for values in (outcomes.resolved, outcomes.cost, outcomes.calls, outcomes.seconds)
    )
    resolved[:, column] = rng.random(len(outcomes)) < worse
    mean = np.array([cost[:, column].mean()])
    again = _expenses(resolved[:, [column]], mean, rng)
    for values, (drawn,) in zip((cost, calls, seconds), (part.T for part in again), strict=True):
        values[:, column] = drawn
    return OutcomeMatrix.build(outcomes.instances, outcomes.models, resolved, cost, calls, seconds)


def _falling(k: int) -> FloatArray:
    """Shares of repositories: a few hold most instances."""
    weights = 1 / (1.0 + np.arange(k)) ** 1.3
    return np.asarray(weights / weights.sum())


def _difficulties(ease: FloatArray) -> list[str]:
    """The easiest instances get the shortest times."""
    place = np.argsort(np.argsort(-ease)) / len(ease)
    return [next(name for name, share in DIFFICULTIES if value < share) for value in place]


def _expenses(
    resolved: FloatArray, means: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """USD, calls and seconds of attempts (n, m) around their models' mean costs (m,)."""
    spread = np.exp(rng.normal(0, SPREAD, resolved.shape)) * np.where(resolved > 0, 1.0, FAILED)
    factor = spread / spread.mean(axis=0)
    calls = np.maximum(1, np.round(CALLS_PER_USD * np.sqrt(means) * 0.5 * factor))
    seconds = calls * SECONDS_PER_CALL * np.exp(rng.normal(0, 0.2, resolved.shape))
    return np.round(means * factor, 6), calls, np.round(seconds, 1)


def _lowered(p: FloatArray, drop: float) -> FloatArray:
    """Probabilities whose mean is lower by `drop`, all moved alike on the logistic scale."""
    scores = logit(np.clip(p, 1e-9, 1 - 1e-9))
    low, high = 0.0, 40.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p.mean() - expit(scores - middle).mean() < drop else (low, middle)
    return np.asarray(expit(scores - (low + high) / 2))
