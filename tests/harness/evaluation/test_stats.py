"""The numbers behind every claim: checked against scipy, published values and their own coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from harness.evaluation.stats import detectable_gain, holm, mcnemar_exact, paired_bootstrap, wilson_interval


def test_wilson_of_the_published_leader():
    low, high = wilson_interval(372, 500)
    assert (round(low, 3), round(high, 3)) == (0.704, 0.780)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(case: tuple[int, int]):
    resolved, n = case
    expected = binomtest(resolved, n).proportion_ci(method="wilson")
    assert wilson_interval(resolved, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.floats(0, n), st.just(n))))
def test_wilson_holds_its_rate(case: tuple[float, int]):
    resolved, n = case
    low, high = wilson_interval(resolved, n)
    assert 0 <= low <= resolved / n <= high <= 1


@pytest.mark.parametrize(("resolved", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(resolved: float, n: int):
    with pytest.raises(ValueError, match="no rate"):
        wilson_interval(resolved, n)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_equals_the_binomial_test(a_only: int, b_only: int):
    expected = binomtest(a_only, a_only + b_only).pvalue if a_only + b_only else 1.0
    assert mcnemar_exact(a_only, b_only) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_does_not_overflow_on_thousands_of_disagreements():
    assert mcnemar_exact(3000, 3000) == 1.0
    assert mcnemar_exact(3000, 1000) < 1e-100


def test_bootstrap_is_near_the_normal_interval_for_a_large_sample():
    rng = np.random.default_rng(1)
    a, b = (rng.random(500) < 0.74).astype(float), (rng.random(500) < 0.70).astype(float)
    result = paired_bootstrap(a, b)
    half = 1.96 * np.sqrt(500) * np.std(a - b)
    assert result.delta == (a - b).sum()
    assert (result.low, result.high) == pytest.approx((result.delta - half, result.delta + half), abs=2)


def test_bootstrap_of_a_side_with_itself_is_nothing():
    a = np.array([1.0, 0.0, 1.0])
    result = paired_bootstrap(a, a)
    assert (result.delta, result.low, result.high) == (0, 0, 0)


def test_bootstrap_keeps_its_seed():
    rng = np.random.default_rng(0)
    a, b = rng.random(500), rng.random(500)
    first = paired_bootstrap(a, b, seed=3)
    assert first == paired_bootstrap(a, b, seed=3)
    assert first != paired_bootstrap(a, b, seed=4)


def test_the_two_ways_of_drawing_agree():
    rng = np.random.default_rng(5)
    a, b = (rng.random(300) < 0.6).astype(float), (rng.random(300) < 0.5).astype(float)
    by_counts = paired_bootstrap(a, b)
    by_index = paired_bootstrap(a + rng.random(300) * 1e-6, b)
    assert (by_counts.low, by_counts.high) == pytest.approx((by_index.low, by_index.high), abs=1.5)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=30))
def test_swapping_the_sides_turns_the_sign(pairs: list[tuple[float, float]]):
    a, b = zip(*pairs, strict=True)
    there, back = paired_bootstrap(a, b, resamples=200), paired_bootstrap(b, a, resamples=200)
    assert there.delta == -back.delta
    assert there.low <= there.high


def test_unpaired_input_is_refused():
    with pytest.raises(ValueError, match="not paired"):
        paired_bootstrap([1.0], [1.0, 0.0])


def test_holm_by_hand_and_never_below_the_raw_p():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_the_detectable_gain_has_the_power_it_states():
    rng = np.random.default_rng(0)
    null, error = rng.normal(-3, 4, 200), 5.0
    gain = detectable_gain(null, error)
    assert gain is not None
    observed = rng.normal(gain, error, 20_000)
    p = (1 + (null >= observed[:, None]).sum(axis=1)) / 201
    assert ((p < 0.05) & (observed > 0)).mean() == pytest.approx(0.8, abs=0.015)
    assert detectable_gain(null[:10], error) is None  # p never gets below 1/11
