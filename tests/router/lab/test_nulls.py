import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.lab.crossfit import folds
from router.lab.nulls import curveball, permutation_null, random_cluster_null
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies import make_policy

verdicts = arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 6)), elements=st.sampled_from([0.0, 1.0]))


@given(verdicts, st.integers(0, 1000))
def test_curveball_keeps_both_margins(matrix: np.ndarray, seed: int) -> None:
    before = matrix.copy()
    drawn = curveball(matrix, np.random.default_rng(seed))
    assert np.array_equal(matrix, before)
    assert np.isin(drawn, (0, 1)).all()
    assert np.array_equal(drawn.sum(axis=0), matrix.sum(axis=0))
    assert np.array_equal(drawn.sum(axis=1), matrix.sum(axis=1))


def test_curveball_reaches_every_matrix_of_its_margins_equally_often() -> None:
    # the identity's margins belong to the six permutation matrices
    rng, counts = np.random.default_rng(0), {}
    for _ in range(3000):
        key = tuple(curveball(np.eye(3), rng, trades=10).argmax(axis=1))
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert min(counts.values()) > 400
    assert max(counts.values()) < 600


def test_curveball_wipes_out_interaction(world) -> None:
    drawn = curveball(world.outcomes.resolved, np.random.default_rng(0))
    topic = np.arange(120) % 2 == 0

    def interaction(resolved: np.ndarray) -> float:
        return float(
            (resolved[topic, 0] - resolved[topic, 1]).mean() - (resolved[~topic, 0] - resolved[~topic, 1]).mean()
        )

    assert interaction(world.outcomes.resolved) > 0.8
    assert abs(interaction(drawn)) < 0.4


def test_random_clusters_look_better_in_sample_the_more_there_are() -> None:
    rng = np.random.default_rng(1)
    outcomes = OutcomeMatrix.build(list(map(str, range(500))), list("abc"), (rng.random((500, 3)) < 0.7).astype(float))
    best = outcomes.resolved.sum(axis=0).max()
    one, few, many = (random_cluster_null(outcomes, [500 // k] * k) for k in (1, 5, 50))
    assert (one.mean, one.sd) == (best, 0)
    assert best < few.mean < many.mean
    assert len(few.draws) == 1000


def test_random_clusters_agree_with_drawing_them_one_by_one(world) -> None:
    rng, sizes, totals = np.random.default_rng(5), [60, 40, 18, 2], []
    for _ in range(2000):
        parts = np.split(rng.permutation(120), np.cumsum(sizes)[:-1])
        sums = [world.outcomes.resolved[part].sum(axis=0) for part in parts]
        # the pair is thin, so it goes to the best single model
        totals.append(sum(s.max() for s in sums[:3]) + sums[3][world.outcomes.best_single()])
    null = random_cluster_null(world.outcomes, [60, 0, 40, 18, 2], draws=2000)
    assert null.mean == pytest.approx(np.mean(totals), abs=0.3)
    assert null.sd == pytest.approx(np.std(totals), rel=0.1)


def test_random_clusters_refuse_sizes_that_do_not_add_up(world) -> None:
    with pytest.raises(ValueError, match="sum to 100, but there are 120"):
        random_cluster_null(world.outcomes, [50, 50])


def test_the_permutation_test_finds_a_real_gain(world) -> None:
    policy = make_policy("cluster", n_clusters=2)
    null = permutation_null(policy, world.X, world.outcomes, folds(120, 5, 2), permutations=39)
    assert null.observed > 15
    assert null.null.max() < null.observed
    assert null.p_value == 1 / 40


def test_the_permutation_test_finds_nothing_in_noise(world) -> None:
    noise = np.random.default_rng(0).normal(size=(120, 4))
    policy = make_policy("cluster", n_clusters=5)
    null = permutation_null(policy, noise, world.outcomes, folds(120, 5, 1), permutations=39)
    assert null.p_value > 0.05


def test_a_policy_without_choice_is_never_significant() -> None:
    # one model always wins: every permutation gives the same statistic, so p = 1
    resolved = np.tile([1.0, 0.0], (40, 1))
    outcomes = OutcomeMatrix.build(list(map(str, range(40))), ["a", "b"], resolved)
    null = permutation_null(make_policy("best-fixed"), np.eye(40), outcomes, folds(40, 5, 1), permutations=9)
    assert null.observed == 0
    assert null.p_value == 1


def test_incomplete_outcomes_are_refused(world) -> None:
    resolved = world.outcomes.resolved.copy()
    resolved[3, 1] = np.nan
    with pytest.raises(OutcomeError, match=r"1 verdict is unknown.*complete_rows"):
        permutation_null(make_policy("best-fixed"), world.X, world.outcomes.with_resolved(resolved), folds(120))


def test_a_null_that_is_clearly_not_small_ends_early_and_a_small_one_does_not(world) -> None:
    splits = folds(120, 5, 1)
    policy = make_policy("cluster", n_clusters=3)
    whole = permutation_null(policy, world.X, world.outcomes, splits, permutations=39)
    assert permutation_null(policy, world.X, world.outcomes, splits, permutations=39, stop_after=5).p_value == (
        whole.p_value
    )
    # one choice for all: every permutation reaches what was observed
    fixed = make_policy("best-fixed")
    ended = permutation_null(fixed, world.X, world.outcomes, splits, permutations=39, stop_after=5)
    assert ended.stopped
    assert len(ended.null) < 39
    assert ended.p_value == 5 / len(ended.null)
    assert (
        ended.null.tolist()
        == permutation_null(fixed, world.X, world.outcomes, splits, 39).null[: len(ended.null)].tolist()
    )
