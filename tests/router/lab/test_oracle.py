import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.lab.oracle import oracle, pairs, random_expectation
from router.outcomes import OutcomeError, OutcomeMatrix

verdicts = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.sampled_from([0.0, 1.0]))


def build(resolved: np.ndarray, cost: np.ndarray | None = None) -> OutcomeMatrix:
    n, m = resolved.shape
    return OutcomeMatrix.build([str(i) for i in range(n)], "abcd"[:m], resolved, cost)


@given(verdicts, st.integers(0, 2**32 - 1))
def test_oracle_is_the_cheapest_solver_or_else_the_cheapest_attempt(resolved: np.ndarray, seed: int) -> None:
    cost = np.random.default_rng(seed).integers(0, 4, resolved.shape).astype(float)
    best = oracle(build(resolved, cost))
    for i, row in enumerate(resolved):
        candidates = np.flatnonzero(row == row.max())
        assert best.resolved[i] == row.max()
        assert best.cost[i] == cost[i, candidates].min()


def test_oracle_prefers_known_verdicts_and_known_costs() -> None:
    resolved = np.array([[np.nan, 0, 0], [1, 1, 0], [np.nan, 1, np.nan]])
    cost = np.array([[0.1, np.nan, 5], [np.nan, 9, 1], [1, np.nan, 1]])
    assert oracle(build(resolved, cost)).choices.tolist() == [[2, 1, 1]]
    with pytest.raises(OutcomeError, match="no verdict"):
        oracle(build(np.full((2, 2), np.nan)))


@given(verdicts)
def test_pairs_count_every_instance_once(resolved: np.ndarray) -> None:
    outcomes = build(resolved)
    table = pairs(outcomes)
    assert len(table) == resolved.shape[1] * (resolved.shape[1] - 1) // 2
    for pair in table:
        a = resolved[:, outcomes.models.index(pair.a)].sum()
        b = resolved[:, outcomes.models.index(pair.b)].sum()
        assert pair.both + pair.a_only + pair.b_only + pair.neither == len(resolved)
        assert (pair.both + pair.a_only, pair.both + pair.b_only) == (a, b)


def test_random_expectation_is_the_mean_over_models() -> None:
    outcomes = build(np.array([[1.0, 0.0], [np.nan, 1.0]]), np.array([[1.0, 2.0], [4.0, np.nan]]))
    blind = random_expectation(outcomes)
    assert blind.resolved.tolist() == [0.5, 1.0]
    assert blind.cost.tolist() == [1.5, 4.0]
    assert blind.share.tolist() == [0.5, 0.5]
