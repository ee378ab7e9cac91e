"""What each policy is for, and what all of them do with input that is not as one would wish."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.decision import next_step
from router.lab.crossfit import crossfit, folds
from router.lab.oracle import oracle
from router.outcomes import OutcomeError, OutcomeMatrix, single
from router.policies import POLICIES, PolicyNotFittedError, live_policies, make_policy
from router.policies.knn import neighbors
from router.policies.oracle import RecordedOnlyError
from router.policies.uniroute_map import log_loss
from router.ridge import TextRidge
from tests.router.conftest import policy_for

LIVE = sorted(live_policies())
READING = sorted(set(LIVE) - {"best-fixed", "cascade", "random", "select", "zero-router"})
N = 60
X = np.random.default_rng(1).normal(size=(N, 5))
COIN = np.random.default_rng(2).integers(0, 2, size=(N, 3)).astype(float)


def outcomes(resolved: np.ndarray, cost: np.ndarray | None = None) -> OutcomeMatrix:
    return OutcomeMatrix.build(
        [f"i{k}" for k in range(len(resolved))], [f"m{k}" for k in range(resolved.shape[1])], resolved, cost
    )


def spoiled(where: str) -> tuple[np.ndarray, OutcomeMatrix]:
    """Input that is legal, but awkward."""
    resolved, cost = COIN.copy(), np.tile([3.0, 2.0, 1.0], (N, 1))
    match where:
        case "one model":
            resolved, cost = resolved[:, :1], cost[:, :1]
        case "identical models":
            resolved = np.repeat(resolved[:, :1], 3, axis=1)
        case "all zero":
            resolved[:] = 0
        case "all one":
            resolved[:] = 1
        case "zero and one columns":
            resolved[:, 0], resolved[:, 1] = 0, 1
        case "missing cells":
            resolved[::2, 0], resolved[::3, 1] = np.nan, np.nan
        case "a model without verdicts":
            resolved[:, 2] = np.nan
        case "unknown instances":
            resolved[:20] = np.nan
        case "no costs":
            cost[:] = np.nan
        case "some costs":
            cost[::2, 0], cost[:, 1] = np.nan, np.nan
        case "free models":
            cost[:] = 0
        case "duplicate texts":
            return np.repeat(X[:5], 12, axis=0), outcomes(resolved, cost)
        case "equal texts":
            return np.ones((N, 5)), outcomes(resolved, cost)
    return X, outcomes(resolved, cost)


SPOILED = [
    "one model", "identical models", "all zero", "all one", "zero and one columns", "missing cells",
    "a model without verdicts", "unknown instances", "no costs", "some costs", "free models", "duplicate texts",
    "equal texts",
]  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("where", SPOILED)
@pytest.mark.parametrize("name", LIVE)
def test_awkward_input_gives_sound_estimates_and_choices(name: str, where: str) -> None:
    features, matrix = spoiled(where)
    policy = policy_for(features, name).fit(features, matrix)
    scores = policy.scores(features)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    assert np.isfinite(policy.costs(features)).all()
    for weight in (0.0, 0.1, float("inf")):
        choices = policy.predict(features, weight)
        assert choices.shape == (N,)
        assert (choices >= 0).all()
        assert (choices < len(matrix.models)).all()
    assert len(policy.explain(features, choices)) == N
    if where == "a model without verdicts" and name != "random":
        assert 2 not in policy.predict(features, 0.0)
    if where in ("identical models", "all zero", "all one") and name != "random":
        assert set(policy.predict(features, 0.0)) == {2}, "between equals the cheapest"


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_impossible_input_is_refused(name: str) -> None:
    with pytest.raises(OutcomeError, match="no verdict is known"):
        policy_for(X, name).fit(X, outcomes(np.full((N, 2), np.nan)))
    if name in READING:
        with pytest.raises(OutcomeError, match="60 instances for 59 rows"):
            policy_for(X, name).fit(X[1:], outcomes(COIN))
        with pytest.raises(PolicyNotFittedError, match=rf"'{name}': fit_features"):
            make_policy(name).fit_outcomes(outcomes(COIN))
        with pytest.raises(ValueError, match="NaN or infinite value in row 3"):
            policy_for(X, name).fit(np.where(np.arange(N)[:, None] == 3, np.nan, X), outcomes(COIN))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("cluster", {"n_clusters": 61}, "n_clusters=61 must be between 1 and the 60 rows"),
        ("uniroute-kmeans", {"n_clusters": 61}, "n_clusters=61 must be between 1 and the 60 rows"),
        ("uniroute-map", {"n_clusters": 61}, "n_clusters=61 must be between 1 and the 60 rows"),
        ("knn", {"n_neighbors": 61}, "n_neighbors=61 must be between 1 and the 60 training rows"),
        ("cluster", {"n_clusters": "many"}, "n_clusters must be a number or 'auto', got 'many'"),
        ("cluster", {"n_clusters": True}, "n_clusters must be a number or 'auto', got True"),
        ("cluster", {"clustering": "spectral"}, "unknown clustering 'spectral'"),
        ("uniroute-kmeans", {"assignment": "firm"}, "must be 'one-hot' or 'soft'"),
        ("linear", {"alpha": -1.0}, "alpha must be a number >= 0"),
    ],
)
def test_impossible_parameters_are_refused(name: str, params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_policy(name, **params).fit(X, outcomes(COIN))


@pytest.mark.parametrize("name", sorted(set(READING) - {"cost-first"}))
def test_policies_that_read_the_text_win_where_there_is_something_to_read(name: str, world) -> None:
    routed = crossfit(policy_for(world.X, name), world.X, world.outcomes, folds(120, 5, 1))
    best = single(world.outcomes, world.outcomes.best_single())
    # shared-difficulty shrinks what distinguishes the models on purpose, so it takes a smaller part of the gain; and
    # so does auto, whose candidate it is
    assert routed.resolved_count > best.resolved_count + (8 if name in ("auto", "shared-difficulty") else 12)


@pytest.mark.parametrize("clustering", ["kmeans", "mini-batch"])
@pytest.mark.parametrize("name", ["cluster", "uniroute-kmeans"])
def test_the_number_of_clusters_is_chosen_by_what_routing_brings(name: str, clustering: str, world) -> None:
    policy = make_policy(name, n_clusters="auto", clustering=clustering).fit(world.X, world.outcomes)
    assert len(set(policy.predict(world.X))) == 2, "two topics, two specialists"
    same = world.outcomes.with_resolved(np.repeat(world.outcomes.resolved[:, :1], 3, axis=1))
    assert len(policy.fit(world.X, same).centroids_) == 1, "nothing to route on: no clusters"


def test_soft_assignment_lies_between_the_cluster_and_everybody(world) -> None:
    hard = make_policy("uniroute-kmeans", n_clusters=2).fit(world.X, world.outcomes).scores(world.X)
    soft = make_policy("uniroute-kmeans", n_clusters=2, assignment="soft").fit(world.X, world.outcomes).scores(world.X)
    rates = world.outcomes.rates()
    assert (np.abs(soft - rates) <= np.abs(hard - rates) + 0.02)[:, :2].all()
    assert np.abs(soft - rates)[:, 0].min() > 0.1


def test_random_draws_every_model_alike_and_the_same_for_the_same_text(world) -> None:
    many = np.random.default_rng(0).normal(size=(3000, 4))
    policy = make_policy("random", seed=1).fit(world.X, world.outcomes)
    drawn = policy.predict(many)
    assert np.bincount(drawn) == pytest.approx([1000] * 3, abs=120)
    assert [int(policy.predict(row[None, :])[0]) for row in many[:20]] == drawn[:20].tolist()
    assert (make_policy("random", seed=2).fit(world.X, world.outcomes).predict(many) != drawn).any()
    repeats = crossfit(policy, world.X, world.outcomes, folds(120, 5, 2)).choices
    assert (repeats[0] != repeats[1]).any(), "every repeat tosses anew"


@given(st.integers(0, 1000), st.floats(0.0, 4.0))
@settings(max_examples=30)
def test_zero_router_spends_its_budget_on_the_hull(seed: int, budget: float) -> None:
    rng = np.random.default_rng(seed)
    cost = np.tile(rng.uniform(0.1, 3.0, size=3), (N, 1))
    matrix = outcomes((rng.random((N, 3)) < [0.3, 0.5, 0.7]).astype(float), cost)
    many = rng.normal(size=(4000, 5))
    policy = make_policy("zero-router", budget=budget).fit(X, matrix)
    chosen = policy.predict(many)
    spent, resolved = cost[0][chosen].mean(), matrix.rates()[chosen].mean()
    assert spent <= max(budget, cost.min()) + 0.15
    fixed = matrix.rates()[cost[0] <= budget]
    assert resolved >= (fixed.max() if len(fixed) else 0) - 0.03
    assert (policy.predict(many, 0.2) == make_policy("best-fixed", cost_weight=0.2).fit(X, matrix).predict(many)).all()


def test_the_oracle_is_replayed_but_never_acts(world) -> None:
    policy = make_policy("oracle")
    replayed = crossfit(policy, world.X, world.outcomes, folds(120, 5, 1), cost_weights=[0.0, float("inf")])
    assert replayed.resolved_count == oracle(world.outcomes).resolved_count
    assert replayed.cost_per_instance == pytest.approx(oracle(world.outcomes).cost_per_instance)
    assert replayed.curve.cost[1] == pytest.approx(0.1)
    fitted = policy.fit(world.X, world.outcomes)
    for act in (fitted.predict, fitted.scores, lambda x: next_step(fitted, x[0], [])):
        with pytest.raises(RecordedOnlyError, match="oracle"):
            act(world.X)
    with pytest.raises(RecordedOnlyError, match="cannot act live"):
        fitted.fitted_arrays()


def test_neighbours_are_the_nearest() -> None:
    away = np.linalg.norm(X[:7, None] - X[None], axis=2)
    assert np.array_equal(neighbors(X[:7], X, 5), np.argsort(away, axis=1)[:, :5])


def test_knn_counts_its_neighbours() -> None:
    line = np.arange(N, dtype=float)[:, None]
    resolved = np.column_stack([line[:, 0] < 30, line[:, 0] >= 30]).astype(float)
    resolved[0, 0] = np.nan
    policy = make_policy("knn", n_neighbors=3, prior=1.0).fit(line, outcomes(resolved))
    # of the neighbours 0, 1, 2 two are known of the first model, both resolved; 29 of its 59 are
    assert policy.scores(np.array([[-1.0]]))[0].tolist() == pytest.approx([(2 + 29 / 59) / 3, 0.5 / 4])


@given(st.integers(0, 1000), st.floats(0.01, 100))
@settings(max_examples=20)
def test_ridge_agrees_with_scikit_learn_and_press_with_leaving_out(seed: int, alpha: float) -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(seed)
    features, Y = rng.normal(size=(12, 4)), rng.integers(0, 2, size=(12, 2)).astype(float)
    coef, intercept = TextRidge(features).solve(Y, alpha)
    ridge = Ridge(alpha=alpha).fit(features, Y)
    assert np.allclose(coef, ridge.coef_.T, atol=1e-6)
    assert np.allclose(intercept, ridge.intercept_, atol=1e-6)
    left_out = 0.0
    for row in range(12):
        others = np.arange(12) != row
        fitted = Ridge(alpha=alpha).fit(features[others], Y[others])
        left_out += float(((Y[row] - fitted.predict(features[row : row + 1])[0]) ** 2).sum())
    assert TextRidge(features).press(Y, alpha) == pytest.approx(left_out, rel=1e-4)


def test_the_gradient_of_the_learned_map_is_exact() -> None:
    from scipy.optimize import check_grad

    rng = np.random.default_rng(0)
    phi, errors = np.column_stack([X, np.ones(N)]), rng.uniform(0.1, 0.9, size=(4, 3))
    known = rng.random((N, 3)) < 0.8

    def value(flat: np.ndarray) -> float:
        return log_loss(flat.reshape(4, 6), phi, errors, COIN, known)[0]

    def slope(flat: np.ndarray) -> np.ndarray:
        return log_loss(flat.reshape(4, 6), phi, errors, COIN, known)[1].ravel()

    assert check_grad(value, slope, rng.normal(size=24)) < 1e-4
