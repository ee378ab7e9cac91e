import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies import (
    POLICIES,
    PolicyNotFittedError,
    PolicyParameterError,
    UnknownPolicyError,
    is_baseline,
    live_policies,
    make_policy,
)
from router.policies.base import choose, fill_costs
from router.policies.cluster import ClusterPolicy
from tests.router.conftest import policy_for

LIVE = sorted(live_policies())
X2 = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4)


def two_clusters(resolved: list[list[float]], cost: list[list[float]] | None = None) -> OutcomeMatrix:
    return OutcomeMatrix.build([f"i{k}" for k in range(8)], ["a", "b"], resolved, cost)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_is_an_estimator(name: str) -> None:
    """scikit-learn's contract: parameters are attributes under their own names, set back and cloned without loss."""
    policy = make_policy(name, cost_weight=0.25, time_weight=0.5)
    params = policy.get_params()
    assert (params["cost_weight"], params["time_weight"]) == (0.25, 0.5)
    assert all(getattr(policy, key) == value for key, value in params.items())
    assert policy.set_params(**params).get_params() == params
    copy = clone(policy)
    assert copy is not policy
    assert copy.get_params() == params
    assert not [attribute for attribute in vars(make_policy(name)) if attribute.endswith("_")]


@pytest.mark.parametrize("name", LIVE)
def test_every_policy_clones_fits_and_decides(name: str, world) -> None:
    policy = clone(policy_for(world.X, name))
    for early in (policy.scores, policy.predict):
        with pytest.raises(PolicyNotFittedError, match=name):
            early(world.X)
    policy.fit(world.X, world.outcomes)
    assert policy.name == name
    assert policy.scores(world.X).shape == policy.costs(world.X).shape == (120, 3)
    assert np.isfinite(policy.costs(world.X)).all()
    assert ((policy.scores(world.X) >= 0) & (policy.scores(world.X) <= 1)).all()
    assert len(policy.explain(world.X, policy.predict(world.X))) == 120


@pytest.mark.parametrize("name", LIVE)
def test_embeddings_of_the_wrong_shape_are_refused_in_one_sentence(name: str, world) -> None:
    policy = policy_for(world.X, name)
    with pytest.raises(OutcomeError, match="120 instances for 119 rows of X"):
        policy.fit(world.X[1:], world.outcomes)
    policy.fit(world.X, world.outcomes)
    with pytest.raises(ValueError, match=r"must be an \(n, d\) matrix of embeddings"):
        policy.predict(world.X[0])
    with pytest.raises(ValueError, match="NaN or infinite value in row 0"):
        policy.predict(np.full_like(world.X, np.nan))
    if any("d" in letters for letters in policy.fitted.values()):
        with pytest.raises(ValueError, match=f"policy '{name}': embeddings of .* dimensions, fitted on embeddings of"):
            policy.predict(world.X[:, :-1])


# a coin has no interest in prices
@pytest.mark.parametrize("name", sorted(set(LIVE) - {"random"}))
def test_an_endless_cost_weight_picks_the_cheapest(name: str, world) -> None:
    policy = policy_for(world.X, name).fit(world.X, world.outcomes)
    for weight in (1e9, float("inf")):
        assert set(policy.predict(world.X, weight)) == {2}


@pytest.mark.parametrize("name", LIVE)
def test_features_never_see_outcomes(name: str, world) -> None:
    together = policy_for(world.X, name).fit(world.X, world.outcomes)
    apart = policy_for(world.X, name).fit_features(world.X)
    flipped = world.outcomes.with_resolved(1 - world.outcomes.resolved)
    apart.fit_outcomes(flipped).fit_outcomes(world.outcomes)
    assert np.array_equal(together.scores(world.X), apart.scores(world.X))


def test_names_and_parameters_that_do_not_exist_are_answered_with_those_that_do() -> None:
    with pytest.raises(UnknownPolicyError, match=r"'clutser' \(did you mean 'cluster'\?\).*best-fixed, .*cluster, "):
        make_policy("clutser")
    with pytest.raises(PolicyParameterError, match=r"no parameter 'clusters'.*n_clusters"):
        make_policy("cluster", clusters=5)


def test_cluster_policy_learns_who_is_good_where() -> None:
    outcomes = two_clusters([[1, 0], [1, 0], [1, 0], [0, 0], [0, 1], [0, 1], [0, 1], [0, 0]])
    policy = ClusterPolicy(n_clusters=2).fit(X2, outcomes)
    assert policy.predict(X2).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert policy.scores(X2)[0].tolist() == [0.75, 0]
    why = policy.explain(X2[:1], np.array([0]))[0]
    assert why.reason == f"resolved 3 of 4 training instances in cluster {why.cluster}"


def test_thin_and_empty_cells_fall_back_to_the_overall_rate() -> None:
    nan = np.nan
    # b is known twice in the first cluster and never in the second
    outcomes = two_clusters([[1, 1], [1, 1], [1, nan], [1, nan], [0, nan], [0, nan], [0, nan], [1, nan]])
    policy = ClusterPolicy(n_clusters=2, min_count=3).fit(X2, outcomes)
    assert policy.scores(X2)[0].tolist() == [1, 1]
    assert policy.scores(X2)[-1].tolist() == [0.25, 1]
    assert sorted(policy.counts_[:, 1]) == [0, 2]
    # the empty cell falls back whatever the threshold is
    assert np.isfinite(ClusterPolicy(n_clusters=2, min_count=0).fit(X2, outcomes).profile_).all()
    assert "only 0 outcomes" in policy.explain(X2[-1:], np.array([1]))[0].reason


def test_a_model_without_any_outcome_is_never_chosen() -> None:
    outcomes = two_clusters([[0, np.nan]] * 7 + [[1, np.nan]], [[5, 0]] * 8)
    for policy in (ClusterPolicy(n_clusters=2), make_policy("best-fixed")):
        assert policy.fit(X2, outcomes).scores(X2)[:, 1].tolist() == [0] * 8
    with pytest.raises(OutcomeError, match="no verdict is known"):
        make_policy("best-fixed").fit(X2, two_clusters([[np.nan, np.nan]] * 8))


def test_clusters_can_come_from_a_corpus() -> None:
    corpus = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.1]])
    outcomes = two_clusters([[1, 0]] * 4 + [[0, 1]] * 4)
    policy = ClusterPolicy(n_clusters=3).fit(X2, outcomes, corpus=corpus)
    assert sorted(map(tuple, policy.centroids_)) == sorted(map(tuple, corpus))
    # nobody of X is near (-1, 0): that cluster knows only overall rates
    assert policy.scores(np.array([[-1.0, 0.0]])).tolist() == [[0.5, 0.5]]


def test_rows_of_features_and_outcomes_must_match() -> None:
    outcomes = two_clusters([[1, 0]] * 8)
    with pytest.raises(OutcomeError, match="8 instances for 4 rows"):
        ClusterPolicy(n_clusters=2).fit(np.eye(4), outcomes)
    with pytest.raises(PolicyNotFittedError, match="fit_features"):
        ClusterPolicy().fit_outcomes(outcomes)
    with pytest.raises(ValueError, match=r"n_clusters=9 .* 8 rows"):
        ClusterPolicy(n_clusters=9).fit(X2, outcomes)


def test_ties_go_to_the_cheaper_then_to_the_first() -> None:
    scores = np.array([[0.1 + 0.2, 0.3, 0.3], [0.5, 0.5, 0.1]])
    costs = np.array([[3.0, 1.0, 1.0], [2.0, 2.0, 0.0]])
    assert choose(scores, costs, 0.0).tolist() == [1, 0]


def test_among_the_equally_cheap_the_better_wins_at_any_weight() -> None:
    assert choose(np.array([[0.2, 0.9, 1.0]]), np.array([[1.0, 1.0, 2.0]]), float("inf")).tolist() == [1]


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_a_senseless_cost_weight_is_refused(weight: float) -> None:
    with pytest.raises(PolicyParameterError, match="cost_weight"):
        choose(np.zeros((1, 2)), np.zeros((1, 2)), weight)


@given(st.integers(0, 2**32 - 1), st.floats(0, 100), st.floats(0, 100))
def test_a_higher_cost_weight_never_chooses_dearer_models(seed: int, low: float, more: float) -> None:
    rng = np.random.default_rng(seed)
    scores, costs = rng.random((20, 4)), rng.random((20, 4))
    rows = np.arange(20)
    dear, cheap = choose(scores, costs, low), choose(scores, costs, low + more)
    assert (costs[rows, cheap] <= costs[rows, dear] + 1e-9).all()


def test_a_time_weight_prefers_the_faster(world) -> None:
    quick = make_policy("best-fixed", time_weight=1.0).fit(world.X, world.outcomes)
    assert set(quick.predict(world.X)) == {2}
    assert quick.seconds(world.X)[0].tolist() == [30, 20, 10]
    untimed = OutcomeMatrix.build(world.outcomes.instances, world.outcomes.models, world.outcomes.resolved)
    best = untimed.best_single()
    assert set(make_policy("best-fixed", time_weight=1.0).fit(world.X, untimed).predict(world.X)) == {best}
    with pytest.raises(PolicyParameterError, match="time_weight"):
        quick.set_params(time_weight=-1.0).predict(world.X)


def test_an_unknown_price_never_looks_cheap() -> None:
    assert fill_costs(np.array([np.nan, 2.0, 1.0])).tolist() == [2, 2, 1]
    assert fill_costs(np.array([np.nan, np.nan])).tolist() == [0, 0]


def test_a_name_may_carry_parameters():
    cascade = make_policy("cascade:prior=shared-difficulty, slack=0.05,stages=3", stages=2)
    assert (cascade.prior, cascade.slack, cascade.stages) == ("shared-difficulty", 0.05, 2)
    with pytest.raises(PolicyParameterError, match="'slack' is not of the form NAME=VALUE"):
        make_policy("cascade:slack")
    with pytest.raises(PolicyParameterError, match="nope"):
        make_policy("cascade:nope=1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("select:members=x", "policy 'select': members must be a whole number, got 'x'"),
        ("select:members=true", "policy 'select': members must be a whole number, got True"),
        ("select:sequential=maybe", "policy 'select': sequential must be true or false, got 'maybe'"),
        ("cluster:cost_weight=much", "policy 'cluster': cost_weight must be a number, got 'much'"),
        ("cost-first:budget=x", "policy 'cost-first': budget must be a number, got 'x'"),
        ("select:members=0", "policy 'select' needs members >= 1"),
        ("cascade:carry=diff", "carry must be 'none' or 'patch'"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_run(name: str, message: str) -> None:
    with pytest.raises(PolicyParameterError, match=message):
        make_policy(name)


def test_a_number_called_prior_makes_no_policy_slow_to_fit(world) -> None:
    """Permutation tests are cut short for policies that fit others, and for these only."""
    nested = {name for name in POLICIES if make_policy(name).is_nested}
    assert nested == {"auto"}
    assert make_policy("cascade:prior=shared-difficulty").is_nested
    assert {name for name in POLICIES if is_baseline(name)} == {"best-fixed", "random", "zero-router"}
    assert is_baseline("zero-router:budget=0.5")
    assert not is_baseline("routed")
    assert set(POLICIES) - set(live_policies()) == {"oracle"}
