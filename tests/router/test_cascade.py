"""A cascade must pay off where signals tell, do no harm where they do not, and act live exactly as in replay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.attempt import FinishedAttempt
from router.decision import Accept, Run, roll_out
from router.lab.crossfit import crossfit, folds, in_sample
from router.lab.nulls import permutation_null
from router.outcomes import OutcomeMatrix
from router.policies import PolicyParameterError, make_policy
from router.policies.cascade import CascadePolicy
from router.signals import LIVE_ONLY

WEIGHTS = [None, 0.0, 0.2, 3.0, float("inf")]


def signalling(seed: int = 3, n: int = 240, telling: float = 1.5, **missing: float) -> tuple[np.ndarray, OutcomeMatrix]:
    """Two good models that fail on different instances and take long when they do; a bad one that is no bargain."""
    rng = np.random.default_rng(seed)
    right = (rng.random((n, 3)) < [0.65, 0.7, 0.3]).astype(float)
    effort = rng.normal(size=(n, 3)) - telling * right
    cost = np.exp(0.4 * effort) * [0.1, 1.0, 0.5]
    if "verdicts" in missing:
        right[rng.random((n, 3)) < missing["verdicts"]] = np.nan
    if "costs" in missing:
        cost[rng.random((n, 3)) < missing["costs"]] = np.nan
    outcomes = OutcomeMatrix.build(
        [f"r__{i}" for i in range(n)], ["cheap", "dear", "bad"], right, cost, np.exp(3 + 0.4 * effort), cost * 60,
        {"patch_present": (rng.random((n, 3)) < 0.95) * 1.0, "own_tests_passed": np.where(effort > 0, np.nan, 1)},
    )  # fmt: skip
    X = rng.normal(size=(n, 6))
    return X / np.linalg.norm(X, axis=1, keepdims=True), outcomes


def test_where_signals_tell_it_beats_the_best_single_for_less() -> None:
    X, outcomes = signalling()
    fit = crossfit(CascadePolicy(cost_weight=0.1), X, outcomes, folds(240, 5, 2))
    best = outcomes.best_single()
    assert fit.rate > outcomes.rates()[best] + 0.05
    assert fit.cost_per_instance < outcomes.mean_cost()[best]


def test_without_telling_signals_it_does_not_pay_for_second_opinions() -> None:
    X, outcomes = signalling(telling=0.0)
    fit = crossfit(CascadePolicy(cost_weight=0.05), X, outcomes, folds(240, 5, 1))
    assert fit.cost_per_instance < 1.15 * outcomes.mean_cost()[1]
    assert fit.rate > outcomes.rates().max() - 0.1


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"stages": 3, "slack": 1.0},
        {"stages": 3, "slack": 1.0, "last": "any"},
        {"prior": "linear"},
        {"time_weight": 0.001},
    ],
)
def test_replay_of_many_decides_as_step_by_step(params: dict[str, Any]) -> None:
    X, outcomes = signalling(verdicts=0.1, costs=0.1)
    policy = make_policy("cascade", **params).fit(X[:180], outcomes.take(np.arange(180)))
    test = np.arange(180, 240)
    models, brought = policy.roll_out_recorded(X[test], outcomes.take(test), WEIGHTS)
    for w, weight in enumerate(WEIGHTS):
        acted = [roll_out(policy, X[row], outcomes, row, weight) for row in test]
        assert models[w].tolist() == [a.model for a in acted]
        for values, name in zip(brought, ("resolved", "cost", "seconds"), strict=True):
            assert values[w] == pytest.approx([getattr(a, name) for a in acted], nan_ok=True)
    firsts = policy.sweep(X[test], WEIGHTS)
    assert (outcomes.models[firsts[1, 0]],) == (policy.next_step(X[test][0], [], 0.0).model,)
    assert (firsts[-1] == 0).all(), "at any price the cheapest"


@pytest.mark.parametrize("params", [{}, {"prior": "linear"}])
def test_a_restored_cascade_decides_the_same(params: dict[str, Any]) -> None:
    X, outcomes = signalling()
    policy = make_policy("cascade", **params).fit(X, outcomes)
    again = make_policy("cascade", **params).restore(policy.models_, policy.fitted_arrays())
    for mine, other in zip(
        policy.roll_out_recorded(X, outcomes, WEIGHTS), again.roll_out_recorded(X, outcomes, WEIGHTS), strict=True
    ):
        np.testing.assert_array_equal(mine, other)
    assert (
        again.explain(X[:1], again.predict(X[:1]))[0].reason == policy.explain(X[:1], policy.predict(X[:1]))[0].reason
    )


def test_no_patch_is_never_preferred_and_agreement_ends_it() -> None:
    X, outcomes = signalling()
    policy = CascadePolicy(cost_weight=0.1).fit(X, outcomes)
    assert policy.next_step(X[0], []) == Run("cheap")
    empty = FinishedAttempt("cheap", cost_usd=0.05, calls=10, patch="")
    full = FinishedAttempt("dear", cost_usd=9.0, calls=400, patch="diff")
    assert policy.next_step(X[0], [empty]) == Run("dear")
    assert policy.next_step(X[0], [empty, full]) == Accept("dear")
    hopeless = FinishedAttempt("dear", cost_usd=9.0, calls=400, patch="")
    assert policy.next_step(X[0], [FinishedAttempt("cheap", 0.05, patch="diff", calls=10), hopeless]) == Accept("cheap")
    agreed = [FinishedAttempt(m, patch="diff", signals={"patch_agrees": 1.0}) for m in ("cheap", "dear")]
    assert policy.next_step(X[0], agreed) == Accept("dear")


def test_a_diff_is_carried_live_and_never_replayed() -> None:
    X, outcomes = signalling()
    policy = CascadePolicy(cost_weight=0.1, carry="patch").fit(X, outcomes)
    assert policy.next_step(X[0], []) == Run("cheap")
    assert policy.next_step(X[0], [FinishedAttempt("cheap", patch="")]) == Run("dear", carry=True)
    with pytest.raises(PolicyParameterError, match="cannot be replayed"):
        crossfit(CascadePolicy(carry="patch"), X, outcomes, folds(240, 2, 1))
    empty = next(row for row in range(240) if outcomes.signals["patch_present"][row, 0] == 0)
    with pytest.raises(PolicyParameterError, match="cannot be replayed"):
        roll_out(policy, X[empty], outcomes, empty)


def test_recorded_agreement_is_neither_fitted_on_nor_replayed() -> None:
    X, known = signalling()
    rng = np.random.default_rng(5)
    alike = {name: rng.integers(0, 2, known.resolved.shape) * 1.0 for name in LIVE_ONLY}
    outcomes = OutcomeMatrix.build(
        known.instances,
        known.models,
        known.resolved,
        known.cost,
        known.calls,
        known.seconds,
        {**known.signals, **alike},
    )
    policy = CascadePolicy(cost_weight=0.1).fit(X, outcomes)
    assert not set(policy._history().names) & LIVE_ONLY
    models, brought = policy.roll_out_recorded(X, outcomes, [None])
    acted = [roll_out(policy, X[row], outcomes, row) for row in range(len(outcomes))]
    assert models[0].tolist() == [one.model for one in acted]
    assert brought[1, 0].tolist() == pytest.approx([one.cost for one in acted])
    plain = CascadePolicy(cost_weight=0.1).fit(X, known)
    assert models.tolist() == plain.roll_out_recorded(X, known, [None])[0].tolist()


def test_recorded_pairs_that_agree_end_it_in_replay_as_live() -> None:
    X, known = signalling()
    rng = np.random.default_rng(5)
    alike = {f"patch_agrees@{model}": rng.integers(0, 2, known.resolved.shape) * 1.0 for model in known.models}
    outcomes = OutcomeMatrix.build(
        known.instances,
        known.models,
        known.resolved,
        known.cost,
        known.calls,
        known.seconds,
        {**known.signals, **alike},
    )
    policy = CascadePolicy(cost_weight=0.1, stages=3, slack=1.0).fit(X, outcomes)
    models, gains = policy.roll_out_recorded(X, outcomes, [None, 0.0])
    for w, weight in enumerate((None, 0.0)):
        acted = [roll_out(policy, X[row], outcomes, row, weight) for row in range(len(outcomes))]
        assert models[w].tolist() == [one.model for one in acted]
        assert gains[1, w].tolist() == pytest.approx([one.cost for one in acted])
    ignorant = policy.roll_out_recorded(X, known, [0.0])[1]
    assert gains[1, 1].sum() < ignorant[1, 0].sum(), "agreement saves the third attempt"


@pytest.mark.parametrize(("signal", "price"), [("tests_fixed", 0.25), ("own_tests_passed", 0.0)])
def test_who_reads_tests_pays_for_them_once_an_instance(signal: str, price: float) -> None:
    X, known = signalling()
    cells = np.ones(known.resolved.shape)
    signals = {signal: known.resolved, "tests_cost_usd": 0.25 * cells, "tests_seconds": 7 * cells}
    outcomes = OutcomeMatrix.build(
        known.instances, known.models, known.resolved, known.cost, known.calls, known.seconds, signals
    )
    policy = CascadePolicy(cost_weight=0.1).fit(X, outcomes)
    for row in range(20):
        seen = {name: float(values[row, 0]) for name, values in signals.items()}
        attempts = [FinishedAttempt(model, 1.0, signals=seen) for model in known.models[:2]]
        step = policy.next_step(X[row], attempts)
        assert isinstance(step, Accept)
        assert (step.paid_usd, step.paid_seconds) == (price, 28 * price)
    models, gains = policy.roll_out_recorded(X, outcomes, [None])
    acted = [roll_out(policy, X[row], outcomes, row) for row in range(len(outcomes))]
    assert models[0].tolist() == [one.model for one in acted]
    assert gains[1, 0].tolist() == pytest.approx([one.cost for one in acted])
    assert gains[2, 0].tolist() == pytest.approx([one.seconds for one in acted])


def test_tests_that_cost_more_than_they_bring_are_not_read() -> None:
    """Every instance of a chain that reads tests pays for them, whether a second model runs or not."""
    X, known = signalling()

    def with_tests_at(price: float) -> OutcomeMatrix:
        signals = {"tests_fixed": known.resolved, "tests_cost_usd": np.full(known.resolved.shape, price)}
        return OutcomeMatrix.build(
            known.instances, known.models, known.resolved, known.cost, known.calls, known.seconds, signals
        )

    cheap, dear = with_tests_at(0.01), with_tests_at(5.0)
    policy, careful = (CascadePolicy(cost_weight=0.1).fit(X, outcomes) for outcomes in (cheap, dear))
    assert np.ptp(policy.roll_out_recorded(X, cheap, [None])[0]) > 0, "it chooses by what the tests say"
    models, gains = careful.roll_out_recorded(X, dear, [None])
    assert gains[1, 0].max() < 5.0
    assert set(models[0]) == {careful.predict(X)[0]}, "one model alone"
    again = CascadePolicy(cost_weight=0.1).restore(careful.models_, careful.fitted_arrays())
    assert again.predict(X).tolist() == careful.predict(X).tolist()
    # a checkpoint of a version that left the price out is read, and decides as it did
    earlier = {name: array for name, array in careful.fitted_arrays().items() if name != "tests_"}
    before = CascadePolicy(cost_weight=0.1).restore(careful.models_, earlier)
    assert np.ptp(before.roll_out_recorded(X, dear, [None])[0]) > 0
    # where only what is resolved counts, they are read at any price
    assert (careful.roll_out_recorded(X, dear, [0.0])[1][1, 0] > 5.0).all()


def test_a_cascade_explains_the_chain_of_the_weight_that_decided() -> None:
    X, outcomes = signalling()
    taken = CascadePolicy().fit(X, outcomes)
    auto = make_policy("auto", candidates="cascade", cost_weight=0.1, alpha=1.0).fit(X, outcomes)
    assert auto.taken.name == "cascade"
    told = auto.explain(X[:1], auto.predict(X[:1]))[0].reason
    assert told.startswith(
        taken.explain(X[:1], taken.predict(X[:1], auto.effective_cost_weight(None)), auto.effective_cost_weight(None))[
            0
        ].reason
    )
    assert "follows" in told
    at_any_price = auto.explain(X[:1], auto.predict(X[:1], np.inf), np.inf)[0].reason
    assert "without a second model" in at_any_price, "by its own weight another one would follow"


def test_attempts_nobody_asked_for_are_taken_as_they_are() -> None:
    X, outcomes = signalling()
    policy = CascadePolicy().fit(X, outcomes)
    assert policy.next_step(X[0], [FinishedAttempt("bad"), FinishedAttempt("cheap")]) == Accept("cheap")
    assert isinstance(policy.next_step(X[0], [FinishedAttempt("dear", cost_usd=1.0, calls=20)]), Run | Accept)


@pytest.mark.parametrize("kind", ["one model", "identical", "no costs", "all right", "all wrong"])
def test_odd_pools_are_decided(kind: str) -> None:
    X, outcomes = signalling(n=40)
    resolved, cost = np.array(outcomes.resolved), np.array(outcomes.cost)
    if kind == "one model":
        outcomes = outcomes.pool(["dear"])
    elif kind == "identical":
        outcomes = OutcomeMatrix.build(outcomes.instances, "abc", resolved[:, [0, 0, 0]], cost[:, [0, 0, 0]])
    elif kind == "no costs":
        outcomes = OutcomeMatrix.build(outcomes.instances, "abc", resolved)
    else:
        outcomes = OutcomeMatrix.build(outcomes.instances, "abc", np.full((40, 3), float(kind == "all right")), cost)
    fit = in_sample(CascadePolicy(), X, outcomes, cost_weights=[0.0, 1.0, float("inf")])
    assert fit.rate >= outcomes.rates().min()
    assert fit.share.sum() == pytest.approx(1)


def test_it_can_be_tested_by_permutation() -> None:
    X, outcomes = signalling(n=120)
    null = permutation_null(CascadePolicy(cost_weight=0.1), X, outcomes, folds(120, 3, 1), permutations=19)
    assert null.observed > 0
    assert null.p_value <= 0.1


def test_impossible_parameters_are_refused() -> None:
    X, outcomes = signalling(n=20)
    with pytest.raises(PolicyParameterError, match="stages >= 1"):
        CascadePolicy(stages=0).fit(X, outcomes)
    with pytest.raises(PolicyParameterError, match="last must be"):
        CascadePolicy(last="best").fit(X, outcomes)
    with pytest.raises(PolicyParameterError, match="carry must be"):
        CascadePolicy(carry="all").fit(X, outcomes)
    with pytest.raises(PolicyParameterError, match="cost_weight"):
        CascadePolicy().fit(X, outcomes).predict(X, cost_weight=-1.0)
