"""`select` chooses among finished attempts by tests, abstains in doubt, and acts live exactly as in replay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.attempt import FinishedAttempt
from router.decision import Accept, Run, next_step, roll_out
from router.lab.crossfit import crossfit, folds
from router.outcomes import OutcomeMatrix, single
from router.policies import PolicyParameterError, make_policy
from router.policies.select import READ, SelectPolicy
from router.signals import OF_INSTANCE

WEIGHTS = [None, 0.0, 0.05, 1.0, 30.0, float("inf")]
MODELS = ("lead", "second", "third", "weak")


def with_tests(seed: int = 0, n: int = 200, tests: int = 3, unknown: float = 0.0) -> tuple[np.ndarray, OutcomeMatrix]:
    """Models of nearly equal strength, and tests that half of the time tell right patches from wrong ones."""
    rng = np.random.default_rng(seed)
    right = (rng.random((n, 4)) < [0.6, 0.58, 0.57, 0.3]).astype(float)
    telling = rng.random((n, 1)) < 0.5
    signals = {
        "tests_fixed": np.where(telling, right * rng.integers(1, tests + 1, (n, 1)), 0.0),
        "own_tests_fixed": np.where(telling, right, 0.0),
        "existing_broken": rng.integers(0, 5, (n, 4)) * (1.0 - right),
        "existing_obsolete": rng.integers(0, 2, (n, 4)) * 1.0,
        "patch_present": (rng.random((n, 4)) < 0.95) * 1.0,
        "patch_applies": (rng.random((n, 4)) < 0.95) * 1.0,
        "tests_cost_usd": np.repeat(rng.random((n, 1)), 4, axis=1),
        "tests_seconds": np.repeat(np.arange(n, dtype=float)[:, None], 4, axis=1),
        "tests_valid": np.repeat(rng.integers(0, 4, (n, 1)), 4, axis=1) * 1.0,
        "failed_commands": rng.random((n, 4)) - 0.3 * right,
    }
    for model in MODELS:
        signals[f"patch_similarity@{model}"] = rng.random((n, 4)) * (0.5 + right / 2)
        signals[f"patch_agrees@{model}"] = (rng.random((n, 4)) < 0.3 * right) * 1.0
    signals = {name: np.where(rng.random((n, 4)) < unknown, np.nan, values) for name, values in signals.items()}
    outcomes = OutcomeMatrix.build(
        [f"r__{i}" for i in range(n)], MODELS, right, rng.random((n, 4)) * [1.0, 0.9, 0.5, 0.1], None,
        rng.random((n, 4)) * 100, signals,
    )  # fmt: skip
    return rng.normal(size=(n, 3)), outcomes


def attempt(model: str, **signals: float) -> FinishedAttempt:
    return FinishedAttempt(model, cost_usd=1.0, patch="diff", signals=signals)


@pytest.fixture
def fitted() -> SelectPolicy:
    return SelectPolicy(members=3).fit(*with_tests(n=2000))


def test_all_members_are_asked_for_at_once_the_default_first(fitted: SelectPolicy) -> None:
    x = np.zeros(3)
    assert next_step(fitted, x, []) == Run("lead", ("second", "third"))
    assert next_step(fitted, x, [attempt("lead")]) == Run("second", ("third",))


@pytest.mark.parametrize(
    ("signals", "handed_in"),
    [
        ([{}, {}, {}], "lead"),
        ([{}, {"tests_fixed": 1}, {"own_tests_fixed": 2}], "third"),
        ([{"tests_fixed": 2}, {"tests_fixed": 1, "own_tests_fixed": 1}, {}], "lead"),
        ([{"tests_fixed": 5, "existing_broken": 3}, {}, {"tests_fixed": 1}], "third"),
        ([{"tests_fixed": 5, "existing_broken": 3, "existing_obsolete": 1}, {}, {"tests_fixed": 1}], "lead"),
        ([{"patch_present": 0, "tests_fixed": 5}, {"existing_broken": 9}, {"patch_applies": 0}], "second"),
        ([{"patch_present": 0}, {"patch_applies": 0}, {"patch_present": 0}], "lead"),
    ],
)
def test_which_attempt_is_handed_in(signals: list[dict[str, float]], handed_in: str, fitted: SelectPolicy) -> None:
    attempts = [attempt(model, **known) for model, known in zip(MODELS[:3], signals, strict=True)]
    assert next_step(fitted, np.zeros(3), attempts) == Accept(handed_in)


def test_what_the_tests_cost_is_paid_once_an_instance(fitted: SelectPolicy) -> None:
    attempts = [attempt(model, tests_cost_usd=0.25, tests_seconds=60) for model in MODELS[:3]]
    assert next_step(fitted, np.zeros(3), attempts) == Accept("lead", 0.25, 60.0)
    X, outcomes = with_tests(n=50)
    row = roll_out(fitted, X[7], outcomes, 7)
    assert row.cost == pytest.approx(outcomes.cost[7, :3].sum() + outcomes.signals["tests_cost_usd"][7, 0])
    assert row.seconds == pytest.approx(outcomes.seconds[7, :3].sum() + 7.0)
    alone = roll_out(fitted, X[0], outcomes, 0, float("inf"))
    assert alone.cost == outcomes.cost[0, 3], "where nothing is compared, no test is written"


@given(
    st.integers(0, 10_000), st.integers(1, 5), st.booleans(), st.sampled_from([0.0, 0.2]), st.sampled_from([0.0, 0.001])
)
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("train", [40, 160])
def test_replay_of_many_decides_as_step_by_step(
    train: int, seed: int, members: int, sequential: bool, unknown: float, time_weight: float
) -> None:
    """Below 100 training outcomes by the published formula, above by a refitted one."""
    X, outcomes = with_tests(seed, n=train + 20, unknown=unknown)
    test = outcomes.take(np.arange(train, train + 20))
    policy = SelectPolicy(members=members, sequential=sequential, time_weight=time_weight)
    policy.fit(X[:train], outcomes.take(np.arange(train)))
    again = SelectPolicy(members=members, sequential=sequential, time_weight=time_weight)
    again.restore(policy.models_, policy.fitted_arrays())
    models, gains = again.roll_out_recorded(X[train:], test, WEIGHTS)
    for w, weight in enumerate(WEIGHTS):
        acted = [roll_out(policy, X[train + row], test, row, weight) for row in range(20)]
        assert models[w].tolist() == [one.model for one in acted]
        for values, name in zip(gains, ("resolved", "cost", "seconds"), strict=True):
            assert values[w] == pytest.approx([getattr(one, name) for one in acted])


def test_with_few_outcomes_it_stops_when_a_test_is_fixed() -> None:
    X, outcomes = with_tests(n=90)
    policy = SelectPolicy(sequential=True).fit(X, outcomes)
    first, second, third = (MODELS[h] for h in policy.members_)
    policy.rescue_, policy.harm_ = np.ones(3), np.zeros(3)  # one more model always pays
    assert next_step(policy, X[0], []) == Run(first)
    assert next_step(policy, X[0], [attempt(first, tests_fixed=1, tests_cost_usd=0.25)]) == Accept(first, 0.25)
    assert next_step(policy, X[0], [attempt(first, tests_fixed=0)]) == Run(second)
    more = [attempt(first, tests_fixed=1, existing_broken=0), attempt(second, tests_fixed=2, existing_broken=9)]
    assert next_step(policy, X[0], more) == Run(third), "another attempt fixes more, and is not handed in"
    hopeless = [attempt(first, patch_present=0), attempt(second, patch_present=0)]
    assert next_step(policy, X[0], hopeless) == Run(third)


def test_tests_of_the_attempts_themselves_end_no_sequence_live_as_in_replay() -> None:
    """An attempt passes its own tests, which no record could know of before all models have run."""
    X, outcomes = with_tests(n=90)
    policy = SelectPolicy(sequential=True).fit(X, outcomes)
    policy.rescue_, policy.harm_ = np.ones(3), np.zeros(3)  # one more model always pays
    first, second, third = (MODELS[h] for h in policy.members_)
    fixed = attempt(first, tests_fixed=1, own_tests_fixed=0, tests_valid=2)  # the second valid one is its own
    assert next_step(policy, X[0], [fixed]) == Accept(first)
    none = [attempt(first, tests_fixed=0, own_tests_fixed=1), attempt(second, tests_fixed=0)]
    assert next_step(policy, X[0], none) == Run(third)


def test_tests_are_believed_that_no_training_attempt_had() -> None:
    X, outcomes = with_tests(n=200)
    untested = OutcomeMatrix.build(outcomes.instances, MODELS, outcomes.resolved, outcomes.cost)
    policy = SelectPolicy(sequential=True).fit(X, untested)
    policy.rescue_, policy.harm_ = np.ones(3), np.zeros(3)
    first = MODELS[policy.members_[0]]
    assert next_step(policy, X[0], [attempt(first, tests_fixed=1)]) == Accept(first)
    assert isinstance(next_step(policy, X[0], [attempt(first)]), Run)


def test_one_after_the_other_saves_cost_where_a_price_is_set() -> None:
    X, outcomes = with_tests(n=600)
    splits = folds(600, 5, 1)
    together = crossfit(SelectPolicy(), X, outcomes, splits)
    stepwise = crossfit(SelectPolicy(sequential=True, cost_weight=0.02), X, outcomes, splits)
    best = single(outcomes, outcomes.best_single())
    assert stepwise.cost_per_instance < 0.9 * together.cost_per_instance
    assert stepwise.resolved_count > best.resolved_count + 20


def test_agreement_and_the_course_of_a_run_end_a_sequence_where_a_price_is_set() -> None:
    X, outcomes = with_tests(n=600)
    policy = SelectPolicy(sequential=True).fit(X, outcomes)
    alike = {"tests_fixed": 0.0, "patch_similarity": 1.0, "patch_agrees": 1.0}
    apart = {"tests_fixed": 0.0, "patch_similarity": 0.1, "patch_agrees": 0.0}
    weight = float(policy.rescue_[1]) * 0.3 / float(policy.cost_[2])
    policy.gained_ = np.array([0.0, 0.0, 99.0])  # all three are worth considering

    def after(known: dict[str, float]) -> Run | Accept:
        return policy.next_step(X[0], [attempt("lead", **known), attempt("second", **known)], weight)

    assert policy._order(weight).tolist() == policy.members_.tolist()
    assert after(alike) == Accept("lead")
    assert after(apart) == Run("third")


def test_a_replay_does_not_know_what_models_that_have_not_run_would_have_tested() -> None:
    X, outcomes = with_tests(n=90)
    signals = {name: values for name, values in outcomes.signals.items() if name != "tests_fixed"}
    signals |= {"own_tests_fixed": np.ones((90, 4)), "tests_valid": np.ones((90, 4))}
    recorded = OutcomeMatrix.build(
        outcomes.instances, MODELS, outcomes.resolved, outcomes.cost, None, outcomes.seconds, signals
    )
    policy = SelectPolicy(sequential=True).fit(X, recorded)
    policy.rescue_, policy.harm_ = np.ones(3), np.zeros(3)  # one more model always pays
    # nor is what grows with every attempt that is tested: it would change what was decided before
    assert not {"own_tests_fixed", "tests_valid", *OF_INSTANCE} & set(policy._history().names)
    cost = policy.roll_out_recorded(X, recorded, [0.0])[1][1, 0]
    first, second = outcomes.cost[:, policy.members_[:2]].T
    tests = outcomes.signals["tests_cost_usd"][:, 0]
    assert (cost >= first + second + tests - 1e-9).all(), "the first attempt alone has no tests of others to fix"


def test_where_tests_tell_it_beats_the_best_single_and_without_tests_it_is_the_best_single() -> None:
    X, outcomes = with_tests(n=400)
    best = single(outcomes, outcomes.best_single())
    splits = folds(400, 5, 1)
    assert crossfit(SelectPolicy(), X, outcomes, splits).resolved_count > best.resolved_count + 10
    untested = OutcomeMatrix.build(outcomes.instances, MODELS, outcomes.resolved, outcomes.cost)
    without = crossfit(SelectPolicy(), X, untested, splits)
    fixed = crossfit(make_policy("best-fixed"), X, untested, splits)
    assert without.resolved.tolist() == fixed.resolved.tolist()
    assert without.cost_per_instance > 2 * fixed.cost_per_instance, "all attempts are paid for"


def test_a_price_ends_the_choice_where_it_does_not_pay() -> None:
    X, outcomes = with_tests(n=2000)
    policy = SelectPolicy().fit(X, outcomes)
    asked = [next_step(policy, X[0], [], weight) for weight in (0.0, 0.01, 10.0)]
    assert asked[:2] == [Run("lead", ("second", "third"))] * 2
    assert asked[2] == Run("weak"), "alone"


def test_members_are_models_with_verdicts() -> None:
    X, outcomes = with_tests(n=40)
    resolved = np.array(outcomes.resolved)
    resolved[:, 0] = np.nan
    policy = SelectPolicy(members=9).fit(X, OutcomeMatrix.build(outcomes.instances, MODELS, resolved))
    assert sorted(policy.members_.tolist()) == [1, 2, 3]
    with pytest.raises(PolicyParameterError, match="members >= 1"):
        SelectPolicy(members=0).fit(X, outcomes)


def test_a_checkpoint_that_names_a_member_twice_is_refused(fitted: SelectPolicy) -> None:
    arrays = fitted.fitted_arrays() | {"members_": np.array([0, 0, 1])}
    with pytest.raises(PolicyParameterError, match="twice"):
        SelectPolicy().restore(fitted.models_, arrays)


def test_every_signal_that_is_read_changes_a_decision() -> None:
    """A signal under a wrong name would be silently unknown."""
    assert set(READ) <= set(with_tests(n=5)[1].signals)
