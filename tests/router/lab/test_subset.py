"""Smoke sets: most informative per cost, an interval that holds for models it never saw, a power that is real."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from router.arrays import FloatArray
from router.lab.anchors import ReferenceRuns
from router.lab.reruns import Flips, RerunModel
from router.lab.subset import RateEstimator, choose, detectable_drops, mcnemar_p, only

N = 300


def runs(m: int, seed: int, abilities: tuple[float, float] = (0.0, 3.0)) -> FloatArray:
    """(n, m) verdicts of an item-response world that is the same for every seed."""
    world = np.random.default_rng(0)
    slope, difficulty = world.uniform(0.4, 1.6, N), world.normal(1.0, 2.0, N)
    rng = np.random.default_rng(seed)
    p = expit(np.outer(slope, rng.uniform(*abilities, m)) - difficulty[:, None])
    return (rng.random(p.shape) < p).astype(float)


@pytest.fixture(scope="module")
def estimator() -> RateEstimator:
    return RateEstimator(runs(40, seed=1))


def test_intervals_hold_for_new_models(estimator: RateEstimator) -> None:
    rows = estimator.choose(60)
    new = runs(60, seed=2)
    held, off, plain = 0, [], []
    for truth in new.T:
        found = estimator.estimate(only(truth, rows))
        held += found.low <= truth.mean() <= found.high
        off.append(abs(found.rate - truth.mean()))
        plain.append(abs(truth[:60].mean() - truth.mean()))
    assert held >= 52
    assert np.mean(off) < 0.8 * np.mean(plain)


def test_dear_instances_and_crowded_repositories_come_later() -> None:
    reference = ReferenceRuns(runs(12, seed=3))
    free = choose(reference, 30)
    price = np.ones(N)
    price[free[:5]] = 1000.0
    assert not set(free[:5].tolist()) & set(choose(reference, 30, price=price).tolist())
    groups = ["crowded" if row in set(free.tolist()) else f"other-{row % 5}" for row in range(N)]
    spread = choose(reference, 30, groups=groups)
    assert sum(groups[row] == "crowded" for row in spread.tolist()) == 12
    assert len(set(spread.tolist())) == 30


def test_unknown_prices_count_as_the_mean() -> None:
    reference = ReferenceRuns(runs(12, seed=3))
    assert choose(reference, 20, price=np.full(N, np.nan)).tolist() == choose(reference, 20).tolist()
    with pytest.raises(ValueError, match="cannot choose"):
        choose(reference, N + 1)


def test_more_instances_show_smaller_drops_and_chosen_ones_smaller_than_random_ones(estimator: RateEstimator) -> None:
    items = estimator.runs.items
    model = RerunModel.fit(items.slope, items.difficulty, Flips(0.7, 0.12))
    chosen = choose(estimator.runs, 80)
    drawn = np.random.default_rng(0).choice(N, 80, replace=False)
    sets = [chosen, drawn, np.arange(N)]
    of_chosen, of_drawn, of_all = (found.drop for found in detectable_drops(model, sets, rate=0.7, simulations=400))
    assert of_chosen is not None
    assert of_drawn is not None
    assert of_all is not None
    assert of_all < of_chosen < of_drawn
    (tiny,) = detectable_drops(model, [chosen[:4]], rate=0.7, simulations=100)
    assert tiny.drop is None


def test_mcnemar_is_the_exact_binomial_test() -> None:
    p = mcnemar_p(np.array([0, 8, 3]), np.array([0, 1, 3]))
    assert p.tolist() == pytest.approx([1.0, 2 * (1 + 9) / 2**9, 1.0])
