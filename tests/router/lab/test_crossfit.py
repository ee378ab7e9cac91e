from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.arrays import Features
from router.lab.crossfit import DEFAULT_COST_WEIGHTS, check_folds, crossfit, folds, group_folds, in_sample
from router.outcomes import OutcomeMatrix, single
from router.policies import make_policy
from router.policies.fixed import BestFixedPolicy


class Spy(BestFixedPolicy):
    """Writes down which rows it trains on and which it decides; a row's number is its first feature."""

    seen: ClassVar[list[tuple[set[int], set[str], set[int]]]] = []

    def fit_features(self, X: Features, corpus: Features | None = None) -> "Spy":
        self.rows = set(X[:, 0].astype(int))
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> "Spy":
        self.ids = set(outcomes.instances)
        assert auxiliary is None or auxiliary.instances == outcomes.instances
        return super().fit_outcomes(outcomes)

    def predict(self, X: Features, cost_weight: float | None = None) -> np.ndarray:
        self.seen.append((self.rows, self.ids, set(X[:, 0].astype(int))))
        return super().predict(X, cost_weight)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 3), st.integers(0, 1000))
def test_each_instance_is_tested_once_per_repeat_and_never_trained_on(n: int, k: int, repeats: int, seed: int) -> None:
    if k > n:
        with pytest.raises(ValueError, match=f"{k} folds of {n} instances"):
            folds(n, k, repeats, seed)
        return
    splits = folds(n, k, repeats, seed)
    assert len(splits) == repeats
    for parts in splits:
        assert sorted(np.concatenate([test for _, test in parts])) == list(range(n))
        sizes = {len(test) for _, test in parts}
        assert max(sizes) - min(sizes) <= 1
        for train, test in parts:
            assert sorted([*train, *test]) == list(range(n))


def test_folds_depend_on_the_seed_only() -> None:
    first, again, other = (folds(30, 3, 2, seed)[1][0][1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_policy_never_decides_what_it_trained_on(world) -> None:
    Spy.seen.clear()
    X = np.column_stack([np.arange(120), np.ones(120)])
    others = OutcomeMatrix.build(world.outcomes.instances, ["elsewhere"], np.ones((120, 1)))
    crossfit(Spy(), X, world.outcomes, folds(120, 10, 3), auxiliary=others)
    assert len(Spy.seen) == 30
    for rows, ids, decided in Spy.seen:
        assert ids == {f"repo__{row}" for row in rows}
        assert not rows & decided
        assert len(rows | decided) == 120


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([], "no folds"),
        ([[(np.array([0]), np.array([1]))]], "repeat 0 does not test each of 3 instances exactly once"),
        ([[(np.array([0, 1]), np.arange(3))]], "repeat 0, fold 0 trains on instances it tests"),
        ([[(np.array([7]), np.arange(3))]], "outside 0…2"),
    ],
)
def test_folds_that_leak_or_miss_instances_are_refused(splits: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_folds(splits, 3)


def test_group_folds_leave_one_repository_out() -> None:
    splits = group_folds(["django", "sympy", "django", "flask"])
    check_folds(splits, 4)
    assert [test.tolist() for _, test in splits[0]] == [[0, 2], [3], [1]]
    with pytest.raises(ValueError, match="at least 2 groups"):
        group_folds(["django", "django"])


def test_routing_pays_where_there_is_something_to_route_on(world) -> None:
    routed = crossfit(make_policy("cluster", n_clusters=2), world.X, world.outcomes, folds(120))
    best = single(world.outcomes, world.outcomes.best_single())
    assert routed.resolved_count > best.resolved_count + 15
    assert routed.choices.shape == (10, 120)
    assert routed.share.sum() == pytest.approx(1)
    # the choices and the outcomes they bring tell the same story
    assert routed.resolved == pytest.approx(world.outcomes.resolved[np.arange(120), routed.choices].mean(axis=0))
    assert routed.cost == pytest.approx(world.outcomes.cost[np.arange(120), routed.choices].mean(axis=0))


def test_the_swept_curve_agrees_with_policies_refitted_at_each_weight(world) -> None:
    splits, weights = folds(120, 5, 2), [0.0, 0.3, 2.0, float("inf")]
    curve = crossfit(make_policy("cluster", n_clusters=4), world.X, world.outcomes, splits, cost_weights=weights).curve
    assert curve is not None
    for weight, cost, quality in zip(weights, curve.cost, curve.quality, strict=True):
        refitted = crossfit(make_policy("cluster", n_clusters=4, cost_weight=weight), world.X, world.outcomes, splits)
        assert (refitted.cost_per_instance, refitted.rate) == pytest.approx((cost, quality))


def test_the_default_sweep_runs_from_best_to_cheapest(world) -> None:
    policy = make_policy("best-fixed")
    curve = crossfit(policy, world.X, world.outcomes, folds(120), cost_weights=DEFAULT_COST_WEIGHTS).curve
    assert curve is not None
    assert curve.cost[-1] == pytest.approx(0.1)
    assert curve.cost[0] > 0.7
    assert (np.diff(curve.cost) <= 1e-12).all()


def test_in_sample_flatters(world) -> None:
    noise = np.random.default_rng(0).normal(size=(120, 4))
    policy = make_policy("cluster", n_clusters=30, min_count=1)
    inside = in_sample(policy, noise, world.outcomes)
    assert inside.choices.shape == (1, 120)
    assert inside.resolved_count > crossfit(policy, noise, world.outcomes, folds(120)).resolved_count + 10


def test_unknown_outcomes_do_not_poison_the_means(world) -> None:
    resolved, cost = world.outcomes.resolved.copy(), world.outcomes.cost.copy()
    resolved[::5, 0] = np.nan
    cost[::7] = np.nan
    holes = OutcomeMatrix.build(world.outcomes.instances, world.outcomes.models, resolved, cost)
    routed = crossfit(make_policy("cluster", n_clusters=2), world.X, holes, folds(120))
    assert 0.7 < routed.rate < 1
    assert np.isnan(routed.cost_per_instance), "a mean over the priced choices alone would pass for the whole"
    assert 0 < routed.unpriced_share < 0.5
    assert np.isfinite(routed.cost_at_least)
    assert np.isnan(routed.cost[::7]).all()


def test_auxiliary_outcomes_must_be_other_models_on_the_same_instances(world) -> None:
    splits, everything = folds(120, 5, 1), np.arange(120)
    with pytest.raises(ValueError, match="same instances"):
        crossfit(Spy(), world.X, world.outcomes, splits, auxiliary=world.outcomes.take(everything[::-1]))
    with pytest.raises(ValueError, match="models of the pool: cheap"):
        crossfit(Spy(), world.X, world.outcomes, splits, auxiliary=world.outcomes.pool(["cheap"]))


def test_one_embedding_per_instance_is_required(world) -> None:
    with pytest.raises(ValueError, match="119 rows for 120 instances"):
        crossfit(make_policy("best-fixed"), world.X[1:], world.outcomes, folds(120))
