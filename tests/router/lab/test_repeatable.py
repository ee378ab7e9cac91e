"""The repeatable oracle against worlds whose truth is known, because they are run twice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from router.lab.repeatable import both_above, repeatable_oracle, tetrachoric
from router.outcomes import OutcomeError, OutcomeMatrix


def matrix(resolved: np.ndarray, prefix: str = "m") -> OutcomeMatrix:
    n, m = resolved.shape
    return OutcomeMatrix.build([f"i{i}" for i in range(n)], [f"{prefix}{j}" for j in range(m)], resolved.astype(float))


def twice(seed: int, between: float, within: float, n: int = 500, m: int = 4, runs: int = 5, guest: float = 0.6):
    """A pool's recorded runs and its re-runs, and repeated runs of a model that is not in the pool."""
    rng = np.random.default_rng(seed)
    ease = np.sqrt(between) * rng.normal(size=(n, 1))

    def runs_of(models: int, times: int, rate: np.ndarray | float) -> list[np.ndarray]:
        skill = ease + np.sqrt(within - between) * rng.normal(size=(n, models))
        return [skill + np.sqrt(1 - within) * rng.normal(size=(n, models)) > norm.isf(rate) for _ in range(times)]

    first, second = runs_of(m, 2, np.linspace(0.6, 0.75, m))
    repeated = np.hstack(runs_of(1, runs, guest))
    return matrix(first), second, matrix(repeated, "run")


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.5, 0.97])
@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (-0.7, 0.4), (1.0, 0.5)])
def test_the_bivariate_normal_is_scipys(a: float, b: float, rho: float):
    expected = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([-a, -b])
    found = both_above(np.array(a), np.array(b), np.array(rho))
    assert float(found) == pytest.approx(expected, abs=2e-5)
    p, q = norm.sf(a), norm.sf(b)
    assert tetrachoric(np.array(p), np.array(q), found) == pytest.approx(rho, abs=2e-3)


@pytest.mark.parametrize(("between", "within"), [(0.6, 0.6), (0.6, 0.66), (0.5, 0.75), (0.3, 0.95)])
def test_it_predicts_what_its_choices_bring_again(between: float, within: float):
    errors, shares, luck = [], [], []
    for seed in range(25):
        pool, second, repeats = twice(seed, between, within)
        found = repeatable_oracle(pool, [repeats], bootstraps=0)
        again = second[np.arange(len(pool)), found.choices].sum()
        errors.append(found.resolved - again)
        shares.append(found.share)
        luck.append(pool.resolved.max(axis=1).sum() - again)
    assert abs(np.mean(errors)) < 4  # of 500, beside a standard error of about 2
    # clipped at 0 and noisy, so a share of 0 is estimated a little above it
    assert np.mean(shares) == pytest.approx((within - between) / (1 - between), abs=0.08)
    assert np.mean(luck) > 2 * abs(np.mean(errors))


def test_repeats_on_a_hard_subset_are_compared_with_the_pool_on_that_subset():
    shares = []
    for seed in range(20):
        pool, _, repeats = twice(seed, 0.5, 0.7, n=1000)
        hard = np.flatnonzero(pool.resolved.sum(axis=1) < 4)
        shares.append(repeatable_oracle(pool, [repeats.take(hard)], bootstraps=0).share)
    assert 0.15 < np.mean(shares) < 0.6  # coarse: choosing rows by the pool's own outcomes bends both correlations


def test_the_interval_covers_and_the_seed_repeats_it():
    hits = 0
    for seed in range(6):
        pool, _, repeats = twice(seed, 0.5, 0.7)
        found = repeatable_oracle(pool, [repeats], bootstraps=50)
        hits += found.share_ci95[0] <= 0.4 <= found.share_ci95[1]
    assert hits >= 4
    assert found.share_ci95 == repeatable_oracle(pool, [repeats], bootstraps=50).share_ci95


def test_deterministic_models_repeat_everything():
    rng = np.random.default_rng(3)
    pool = matrix(rng.random((400, 3)) < 0.6)
    always = rng.random((400, 1)) < 0.5
    found = repeatable_oracle(pool, [matrix(np.hstack([always, always]), "run")], bootstraps=0)
    assert found.share > 0.97
    assert found.resolved == pytest.approx(pool.resolved.max(axis=1).sum(), rel=0.04)


def test_what_cannot_be_used_is_refused():
    pool, _, repeats = twice(0, 0.5, 0.7, n=100)
    with pytest.raises(OutcomeError, match="at least 2 models"):
        repeatable_oracle(pool.pool(["m0"]), [repeats])
    with pytest.raises(OutcomeError, match="at least twice on at least 30"):
        repeatable_oracle(pool, [repeats.take(np.arange(20)), repeats.pool(["run0"])])
