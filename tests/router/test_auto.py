"""The price-aware fixed choice, the default policy that falls back to it, and what a checkpoint remembers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router import OutcomeMatrix, Router
from router.decision import roll_out
from router.lab.crossfit import crossfit, folds
from router.memory import remember
from router.policies import PolicyParameterError, make_policy
from router.policies.auto import AutoPolicy, _Trial


def pool(resolved: np.ndarray, prices: list[float]) -> OutcomeMatrix:
    n, m = resolved.shape
    names = [f"m{h}" for h in range(m)]
    return OutcomeMatrix.build([f"i{k}" for k in range(n)], names, resolved, np.tile(prices, (n, 1)))


def near_tie(n: int = 200) -> np.ndarray:
    """Two models one instance apart that differ on many, and a weak one."""
    first = (np.arange(n) % 4 != 0).astype(float)
    second = (np.arange(n) % 4 != 1).astype(float)
    second[0] = 0.0 if second[0] else 1.0
    return np.stack([first, second, (np.arange(n) % 4 == 2).astype(float)], axis=1)


def test_price_decides_among_near_equals_and_only_among_them() -> None:
    X = np.zeros((200, 2))
    dear_first = pool(near_tie(), [1.0, 0.5, 0.1])
    assert set(make_policy("best-fixed").fit(X, dear_first).predict(X)) == {0}
    aware = make_policy("best-fixed", tolerance=0.01).fit(X, dear_first)
    assert set(aware.predict(X)) == {1}, "the weak model is cheaper still, but no equal"
    assert "lower price" in aware.explain(X[:1], aware.predict(X[:1]))[0].reason
    same_price = pool(near_tie(), [1.0, 1.0, 1.0])
    assert set(make_policy("best-fixed", tolerance=0.01).fit(X, same_price).predict(X)) == {0}


def test_a_near_tie_is_decided_alike_in_every_fold() -> None:
    matrix = pool(near_tie(), [1.0, 0.5, 0.1])
    splits = folds(200, 10, 2)
    plain = crossfit(make_policy("best-fixed"), np.zeros((200, 2)), matrix, splits)
    aware = crossfit(make_policy("best-fixed", tolerance=0.08), np.zeros((200, 2)), matrix, splits)
    assert aware.share.max() == 1.0 > plain.share.max()
    assert aware.resolved_count > plain.resolved_count, "the leader of the training folds is the held-out loser"


@pytest.mark.parametrize("change", [{"tolerance": -0.1}, {"tolerance": 1.0}, {"confidence": 0.0}])
def test_an_impossible_tolerance_is_refused(change: dict) -> None:
    with pytest.raises(PolicyParameterError, match="tolerance must be"):
        make_policy("best-fixed", **change).fit(np.zeros((200, 2)), pool(near_tie(), [1.0, 0.5, 0.1]))


def test_auto_selects_among_attempts_only_where_tests_are_on_record_and_pay_for_themselves() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((300, 3)) < [0.6, 0.6, 0.6]).astype(float)
    X, prices = rng.normal(size=(300, 3)), np.tile([1.0, 0.1, 0.1], (300, 1))
    names, models = [f"i{k}" for k in range(300)], ["dear", "second", "third"]

    def fitted(cost: np.ndarray, **signals: np.ndarray) -> AutoPolicy:
        return AutoPolicy(seed=1).fit(X, OutcomeMatrix.build(names, models, right, cost, signals=signals))

    chosen = fitted(prices, tests_fixed=right)
    assert chosen.taken.name == "select"
    assert chosen.is_sequential
    outcomes = OutcomeMatrix.build(names, models, right, prices, signals={"tests_fixed": right})
    handed_in, (resolved, cost, _) = chosen.roll_out_recorded(X, outcomes, [None])
    acted = [roll_out(chosen, X[row], outcomes, row) for row in range(300)]
    assert handed_in[0].tolist() == [one.model for one in acted]
    assert resolved[0].mean() > right.mean(axis=0).max() + 0.2
    assert cost[0].tolist() == pytest.approx([one.cost for one in acted])
    assert fitted(prices).taken.name == "best-fixed", "no tests"
    assert fitted(prices, tests_fixed=rng.permutation(right)).taken.name == "best-fixed", "tests that tell nothing"
    dear = np.tile([0.1, 1.0, 1.0], (300, 1))
    assert fitted(dear, tests_fixed=right).taken.name == "best-fixed", "20 times the price is not worth it"
    unknown = np.full((300, 3), np.nan)
    assert fitted(unknown, tests_fixed=right).taken.name == "best-fixed", (
        "three attempts are not free for want of a price"
    )


def test_auto_routes_where_the_text_tells_and_not_where_it_does_not(world) -> None:
    told = make_policy("auto", candidates="linear").fit(world.X, world.outcomes)
    assert told.taken.name == "linear"
    assert len(set(told.predict(world.X))) > 1
    noise = np.random.default_rng(3).normal(size=world.X.shape)
    untold = make_policy("auto", candidates="linear").fit(noise, world.outcomes)
    assert untold.taken.name == "best-fixed"
    assert len(set(untold.predict(noise))) == 1
    assert not untold.is_sequential, "one-shot, unless a cascade was taken"


def test_auto_with_few_instances_or_one_model_is_the_best_fixed(world) -> None:
    few = np.arange(20)
    assert make_policy("auto").fit(world.X[few], world.outcomes.take(few)).taken.name == "best-fixed"
    alone = world.outcomes.pool(["parser"])
    assert set(make_policy("auto").fit(world.X, alone).predict(world.X)) == {0}


def test_auto_weighs_time_in_its_fallback_and_in_what_a_decision_is_worth(world) -> None:
    noise = np.random.default_rng(3).normal(size=world.X.shape)
    known = world.outcomes
    slow_when_cheap = OutcomeMatrix.build(
        known.instances, known.models, known.resolved, known.cost, seconds=np.tile([10.0, 20.0, 30.0], (120, 1))
    )
    for time_weight, chosen in ((0.0, "cheap"), (1.0, "parser")):
        policy = make_policy("auto", candidates="linear", time_weight=time_weight).fit(noise, slow_when_cheap)
        assert policy.taken.name == "best-fixed"
        assert {known.models[h] for h in policy.predict(noise)} == {chosen}


def test_the_gate_compares_the_best_trial_with_the_best_dealt_one() -> None:
    """A trial that never varies is as good dealt as not: beside it, a worse one that varies proves nothing."""
    policy = make_policy("auto")
    rows = np.arange(60)
    policy._parts = [(rows[30:], rows[:30]), (rows[:30], rows[30:])]
    worth = np.stack([np.ones(60), (rows % 2).astype(float)], axis=1)
    constant = _Trial(1, 0.0, np.zeros(60, dtype=np.int64), 0.0, 0.1)
    told = _Trial(2, 0.0, rows % 2, 0.0, 0.1)
    assert policy._gate([constant, told], worth) == 1.0
    assert policy._gate([told], np.stack([1.0 - rows % 2, (rows % 2).astype(float)], axis=1)) == 1 / 200
    # what a cascade pays beyond the run it hands in is paid however its decisions are dealt
    dear = _Trial(2, 0.0, rows % 2, 40.0, 0.1)
    worth = np.stack([1.0 - rows % 2, (rows % 2).astype(float)], axis=1)
    assert policy._gate([constant, dear], worth) == 1.0


def test_auto_cannot_choose_itself(world) -> None:
    with pytest.raises(PolicyParameterError, match="its own candidate"):
        make_policy("auto", candidates="auto").fit(world.X, world.outcomes)


TEXTS = ["the parser drops a tab in tokens", "the socket times out on connect"] * 10


def test_a_router_remembers_words_and_neighbours(tmp_path: Path, word_embedder) -> None:
    X = word_embedder.encode(TEXTS)
    matrix = pool(np.tile([[1.0, 0.0], [0.0, 1.0]], (10, 1)), [1.0, 0.5])
    policy = make_policy("cluster", n_clusters=2).fit(X, matrix)
    router = Router(policy, matrix.models, word_embedder, memory=remember(policy, X, TEXTS, matrix))
    router.save(tmp_path / "r")
    loaded = Router.load(tmp_path / "r", word_embedder)
    route = loaded.route("a socket is closed")
    assert route.model == "m1"
    assert "socket" in route.words
    assert "parser" not in route.words
    assert route.neighbours[0].instance.removeprefix("i") in map(str, range(1, 20, 2))
    assert loaded.memory is not None
    assert loaded.memory.own
    assert [note.size for note in loaded.memory.clusters] == [10, 10]
