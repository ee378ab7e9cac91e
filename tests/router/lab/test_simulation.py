"""Simulated pools have the truth that they state."""

from __future__ import annotations

import numpy as np
import pytest

from router.lab.repeatable import tetrachoric
from router.lab.simulation import BEST_RATE, LAG, random_embeddings, routable, simulate_pool


def test_a_planted_effect_is_exactly_as_large_as_stated():
    rng = np.random.default_rng(0)
    X = random_embeddings(400, rng)
    for models in (2, 4, 6):
        pool = simulate_pool(X, rng, models=models, gain=0.03, topics=3)
        assert pool.gain == pytest.approx(0.03, abs=1e-6)
        assert pool.probabilities.mean(axis=0).max() <= BEST_RATE[1] + 1e-6


def test_without_an_effect_models_differ_in_strength_only():
    rng = np.random.default_rng(1)
    X = random_embeddings(3000, rng)
    pool = simulate_pool(X, rng, models=3)
    logits = np.log(pool.probabilities / (1 - pool.probabilities))
    gaps = logits[:, :1] - logits[:, 1:]
    moderate = np.abs(logits).max(axis=1) < 20  # beyond, floating point has no gap left
    assert np.ptp(gaps[moderate], axis=0) == pytest.approx(0, abs=1e-5)
    rates = pool.probabilities.mean(axis=0)
    assert rates.max() - rates.min() <= LAG + 1e-6
    y = pool.outcomes.resolved
    both = (y[:, 0] * y[:, 1]).mean()
    rho = tetrachoric(y[:, 0].mean(), y[:, 1].mean(), both)
    assert rho == pytest.approx(0.86, abs=0.05)
    assert routable(pool.probabilities, np.arange(3000) % 2) == pytest.approx(0, abs=1e-9)


def test_impossible_pools_are_refused():
    rng = np.random.default_rng(2)
    X = random_embeddings(50, rng)
    with pytest.raises(ValueError, match="at least 2"):
        simulate_pool(X, rng, models=1)
    with pytest.raises(ValueError, match="more than 2 topics can carry"):
        simulate_pool(X, rng, gain=0.4)
