"""Pools whose truth is known: outcomes of an item-response model, with nothing to route on or with a planted effect.

P(instance i is resolved by model h) = σ(s·d_i + θ_h + δ·k(i, h)), d_i ~ N(0, 1) partly readable from the text.

With δ = 0 this is Rasch's model: models differ in strength, instances in hardness, no model has instances of its own.
Row and column sums are then sufficient statistics, which makes the permutation null exact. With δ > 0 every topic (a
K-means cluster of the embeddings) has a model that is better at it (k = 1) than the others (k = −1), and δ is chosen
so that routing by topic is expected to resolve a stated share more than the best single model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from router.arrays import Features, FloatArray, IntArray, as_features
from router.clustering import CentroidClusters
from router.outcomes import OutcomeMatrix

SPREAD = 4.5
"""s: the tetrachoric correlation of two models is then s² / (s² + π²/3) = 0.86; between strong runs on SWE-bench
Verified it is 0.88."""
TEXT_SHARE = 0.1
"""Share of the variance of d that the embedding tells: the text predicts success with an AUC of about 0.6."""
BEST_RATE = (0.65, 0.77)
LAG = 0.08
"""How far the others' rates lie behind the best one's, at most; near-ties are the hard case."""
COSTS = (0.05, 1.0)
"""USD per instance, log-uniform."""


@dataclass(frozen=True, eq=False)
class SimulatedPool:
    """A complete outcome matrix and its truth."""

    outcomes: OutcomeMatrix
    probabilities: FloatArray
    """(n, m)"""
    gain: float
    """expected share resolved by routing by topic, minus the best single model's; 0 where nothing was planted"""


def random_embeddings(n: int, rng: np.random.Generator, d: int = 32, themes: int = 12) -> FloatArray:
    """(n, d) unit vectors around a dozen themes, as loose as issue texts' are."""
    X = rng.normal(size=(themes, d))[rng.integers(themes, size=n)] + rng.normal(size=(n, d))
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True))


def simulate_pool(
    X: Features, rng: np.random.Generator, *, models: int = 4, gain: float = 0.0, topics: int = 2
) -> SimulatedPool:
    """One pool over the instances with embeddings X (n, d).

    Args:
        models: m > 1.
        gain: share of instances that routing by topic is expected to resolve beyond the best single model.
        topics: into how many the embeddings are split when an effect is planted.

    Raises:
        ValueError: fewer than 2 models or topics, or a gain that no such effect reaches.
    """
    X = as_features(X)
    if models < 2 or topics < 2:
        raise ValueError(f"{models} models and {topics} topics: at least 2 of each are needed")
    n = len(X)
    readable = X @ rng.normal(size=X.shape[1])
    readable = (readable - readable.mean()) / max(float(readable.std()), 1e-12)
    ease = SPREAD * (np.sqrt(TEXT_SHARE) * readable + np.sqrt(1 - TEXT_SHARE) * rng.normal(size=n))
    best = rng.uniform(*BEST_RATE)
    rates = np.concatenate([[best], best - rng.uniform(0, LAG, models - 1)])
    topic = np.zeros(n, dtype=np.int64)
    strength = np.zeros((n, models))
    if gain:
        topic = CentroidClusters(topics, seed=int(rng.integers(1 << 31)), n_init=1).fit(X).assign(X)
        # neighbouring topics favour different models; which topic favours which is chance
        favoured = rng.permutation(topics)[topic] % models
        strength = np.where(np.arange(models) == favoured[:, None], 1.0, -1.0)
    low, high = 0.0, 2 * SPREAD
    p = _probabilities(ease, rates, high * strength)
    if gain and routable(p, topic) < gain:
        raise ValueError(f"an effect of {gain:.3f} is more than {topics} topics can carry")
    for _ in range(30 if gain else 0):
        middle = (low + high) / 2
        p = _probabilities(ease, rates, middle * strength)
        low, high = (low, middle) if routable(p, topic) > gain else (middle, high)
    outcomes = OutcomeMatrix.build(
        [f"simulated__{i}" for i in range(n)],
        [f"model-{h}" for h in range(models)],
        (rng.random((n, models)) < p).astype(np.float64),
        np.tile(np.exp(rng.uniform(np.log(COSTS[0]), np.log(COSTS[1]), models)), (n, 1)),
    )
    return SimulatedPool(outcomes, p, routable(p, topic) if gain else 0.0)


def routable(p: FloatArray, topic: IntArray) -> float:
    """Expected share gained by taking each topic's best model instead of the best for all; p is (n, m)."""
    by_topic = np.stack([p[topic == t].sum(axis=0) for t in np.unique(topic)])
    return float((by_topic.max(axis=1).sum() - p.sum(axis=0).max()) / len(p))


def _probabilities(ease: FloatArray, rates: FloatArray, offset: FloatArray) -> FloatArray:
    """(n, m) probabilities whose column means are `rates`."""
    low, high = np.full(len(rates), -60.0), np.full(len(rates), 60.0)
    for _ in range(30):
        middle = (low + high) / 2
        above = expit(ease[:, None] + offset + middle).mean(axis=0) > rates
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray(expit(ease[:, None] + offset + (low + high) / 2))
