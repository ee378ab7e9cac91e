import numpy as np
import pytest

from router import OutcomeMatrix, Router
from router.attempt import FinishedAttempt
from router.decision import Accept, Run
from router.policies import PolicyNotFittedError, live_policies, make_policy
from tests.router.conftest import policy_for

TEXTS = ["the parser fails on tabs", "socket timeout is ignored"] * 6


@pytest.fixture
def router(word_embedder) -> Router:
    outcomes = OutcomeMatrix.build(
        [str(i) for i in range(12)],
        ["writer", "diver", "novice"],
        [[1, 0, 0], [0, 1, 0]] * 6,
        cost=[[1.0, 0.5, np.nan]] * 12,
    )
    policy = make_policy("cluster", n_clusters=2).fit(word_embedder.encode(TEXTS), outcomes)
    return Router(policy, outcomes.models, word_embedder)


def test_a_route_says_what_it_rests_on(router: Router) -> None:
    route = router.route("parser crash in the parser")
    assert (route.model, route.score, route.cost_usd) == ("writer", 1.0, 1.0)
    assert route.reason == f"writer: resolved 6 of 6 training instances in cluster {route.cluster}"
    assert [estimate.model for estimate in route.scores] == ["writer", "diver", "novice"]
    assert route.scores[-1].cost_usd is None


def test_a_batch_keeps_its_order_and_agrees_with_single_texts(router: Router) -> None:
    batch = router.route(TEXTS)
    assert [route.model for route in batch] == ["writer", "diver"] * 6
    assert batch == [router.route(text) for text in TEXTS]
    assert router.route([]) == []


def test_the_chosen_model_leads_the_ranking_at_any_weight(router: Router) -> None:
    for weight in (0.0, 0.7, 3.0, float("inf")):
        for route in router.route(TEXTS[:2], cost_weight=weight):
            assert route.scores[0].model == route.model
            assert len(route.scores) == 3
    assert router.route(TEXTS[0], cost_weight=3.0).model == "diver"


def test_the_router_answers_the_pipelines_question(router: Router, word_embedder) -> None:
    x = word_embedder.encode(["a socket"])[0]
    assert router.next_step(x, []) == Run("diver")
    assert router.next_step(x, [FinishedAttempt("diver", 0.4, "Submitted", "diff")]) == Accept("diver")


def test_a_pool_in_another_order_is_refused(router: Router, word_embedder) -> None:
    with pytest.raises(ValueError, match="same models, same order"):
        Router(router.policy, ["diver", "writer", "novice"], word_embedder)


def test_an_unfitted_policy_is_refused(word_embedder) -> None:
    with pytest.raises(PolicyNotFittedError, match="'cluster' is not fitted"):
        Router(make_policy("cluster"), ["a"], word_embedder)


def test_names_alone_are_those_of_the_routes(router: Router, word_embedder) -> None:
    vectors = word_embedder.encode(TEXTS)
    for weight in (None, 0.0, 0.7, 3.0, float("inf")):
        routes = router.route_embeddings(vectors, weight)
        assert router.choose(vectors, weight) == [route.model for route in routes]
    assert router.choose(vectors[:1]) == ["writer"]


def test_a_decision_follows_what_was_fitted_last(router: Router, word_embedder) -> None:
    vectors = word_embedder.encode(TEXTS)
    assert router.choose(vectors[:2]) == ["writer", "diver"]
    outcomes = OutcomeMatrix.build(
        [str(i) for i in range(12)], ["writer", "diver", "novice"], [[0, 0, 1]] * 12, cost=[[1.0, 0.5, 0.2]] * 12
    )
    router.policy.fit_outcomes(outcomes)
    assert router.choose(vectors[:2]) == ["novice", "novice"]
    router.policy.set_params(cost_weight=float("inf"))
    assert router.choose(vectors[:2]) == ["novice", "novice"]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *((name, {}) for name in sorted(live_policies())),
        ("auto", {"candidates": "linear", "tolerance": 0.2}),
        ("auto", {"candidates": "cascade", "tolerance": 0.2, "alpha": 1.0, "caution": -5.0}),
        ("best-fixed", {"tolerance": 0.3}),
        ("best-fixed", {"time_weight": 0.02}),
        ("cost-first", {"budget": 0.4}),
        ("zero-router", {"budget": 0.4}),
    ],
)
def test_a_route_is_the_policys_own_choice(name: str, params: dict, world, word_embedder) -> None:
    policy = policy_for(world.X, name, **params).fit(world.X, world.outcomes)
    router = Router(policy, world.outcomes.models, word_embedder)
    for weight in (None, 0.0, 0.3, float("inf")):
        routes = router.route_embeddings(world.X, weight)
        assert [route.model for route in routes] == router.choose(world.X, weight)
    first = [router.next_step(x, []).model for x in world.X[:20]]
    assert router.choose(world.X[:20]) == first
    for gone in world.outcomes.models:
        kept = zip(router.choose(world.X), router.route_embeddings(world.X, exclude=[gone]), strict=True)
        for own, route in kept:
            assert route.model != gone
            assert own in (gone, route.model), "a choice that is not excluded stands"


def test_what_auto_adds_to_the_cost_weight_counts_in_a_route(world, word_embedder) -> None:
    policy = make_policy("auto", candidates="linear").fit(world.X, world.outcomes)
    assert policy.taken.name == "linear"
    policy.extra_ = np.array([2.0])
    router = Router(policy, world.outcomes.models, word_embedder)
    assert router.choose(world.X) != router.choose(world.X, 0.0), "a fixture on which the extra matters"
    assert all(route.cost_usd is not None for route in router.route_embeddings(world.X[:3]))


def test_an_excluded_model_is_replaced_by_the_next_best_without_fitting_again(router: Router) -> None:
    before = router.route(TEXTS[:2])
    without = router.route(TEXTS[:2], exclude=["writer"])
    assert [route.model for route in before] == ["writer", "diver"]
    assert [route.model for route in without] == ["diver", "diver"]
    assert all(estimate.model != "writer" for route in without for estimate in route.scores)
    assert router.route(TEXTS[:2]) == before
    # λ = ∞ still means the cheapest, of those that are left
    assert router.route(TEXTS[0], float("inf"), exclude=["diver"]).model in ("writer", "novice")
    with pytest.raises(ValueError, match="cannot exclude huge"):
        router.route(TEXTS[0], exclude=["huge"])
    with pytest.raises(ValueError, match="every model"):
        router.route(TEXTS[0], exclude=["writer", "diver", "novice"])
