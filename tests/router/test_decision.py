from collections.abc import Sequence

import numpy as np
import pytest

from router.attempt import FinishedAttempt
from router.decision import Accept, Decision, DecisionError, Run, next_step, roll_out
from router.lab.crossfit import crossfit, folds
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.policies.fixed import BestFixedPolicy
from router.signals import signal_names


class CheapFirst(BestFixedPolicy):
    """Run the cheap model; escalate to the dear one when it was slow."""

    name = "cheap-first"
    is_sequential = True

    def next_step(
        self, x: np.ndarray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None
    ) -> Decision:
        if not attempts:
            return Run("cheap")
        if len(attempts) == 1 and not cost_weight:
            return Run("parser")
        return Accept(attempts[-1].model)


class Stubborn(BestFixedPolicy):
    is_sequential = True

    def next_step(self, x: np.ndarray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None) -> Run:
        return Run("cheap")


class Inventor(BestFixedPolicy):
    is_sequential = True

    def next_step(self, x: np.ndarray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None) -> Accept:
        return Accept("cheap")


def test_a_one_shot_policy_runs_once_then_accepts(world) -> None:
    policy = make_policy("cluster", n_clusters=2).fit(world.X, world.outcomes)
    assert next_step(policy, world.X[0], []) == Run("parser")
    assert next_step(policy, world.X[1], []) == Run("network")
    assert next_step(policy, world.X[1], [], cost_weight=float("inf")) == Run("cheap")
    assert next_step(policy, world.X[0], [FinishedAttempt("parser", exit_status="LimitsExceeded")]) == Accept("parser")


def test_a_cascade_pays_for_every_attempt_and_hands_in_one(world) -> None:
    splits = folds(120, folds=4, repeats=2)
    both = crossfit(CheapFirst(), world.X, world.outcomes, splits, cost_weights=[0.0, 1.0])
    assert both.cost_per_instance == pytest.approx(1.1)
    assert both.seconds_per_instance == pytest.approx(40)
    assert np.array_equal(both.resolved, world.outcomes.resolved[:, 0])
    assert both.share.tolist() == [1, 0, 0]
    assert both.curve is not None
    assert both.curve.cost == pytest.approx([1.1, 0.1])
    assert both.curve.quality[1] == pytest.approx(world.outcomes.rates()[2])


def test_a_cascade_that_can_not_be_acted_out_is_stopped(world) -> None:
    with pytest.raises(DecisionError, match="'cheap' twice on 'repo__3'"):
        roll_out(Stubborn(), world.X[3], world.outcomes, 3)
    with pytest.raises(DecisionError, match="'cheap', which made no attempt"):
        roll_out(Inventor(), world.X[3], world.outcomes, 3)


class Witness(BestFixedPolicy):
    """Asks for all three models and keeps what it was shown each time; the decision itself costs 2 USD."""

    name = "witness"
    is_sequential = True

    def next_step(
        self, x: np.ndarray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None
    ) -> Decision:
        self.seen = [dict(attempt.signals) for attempt in attempts]
        order = ("cheap", "parser", "network")
        return Run(order[len(attempts)]) if len(attempts) < 3 else Accept("cheap", paid_usd=2.0)


def test_recorded_pairs_become_what_a_live_run_would_know_of_the_attempts_made(world) -> None:
    models = world.outcomes.models
    rng = np.random.default_rng(0)
    alike = {f"patch_similarity@{model}": rng.random((120, 3)) for model in models}
    alike["patch_similarity@parser"][3, models.index("cheap")] = np.nan
    outcomes = OutcomeMatrix.build(
        world.outcomes.instances, models, world.outcomes.resolved, world.outcomes.cost,
        signals={**alike, "patch_similarity": np.ones((120, 3)), "tests_fixed": np.full((120, 3), 4.0)},
    )  # fmt: skip
    policy = Witness()
    assert roll_out(policy, world.X[3], outcomes, 3).cost == pytest.approx(1.9 + 2.0)
    pair = {(a, b): alike[f"patch_similarity@{b}"][3, models.index(a)] for a in models for b in models}
    assert [signals["patch_similarity"] for signals in policy.seen] == pytest.approx(
        [
            pair["cheap", "network"],  # against parser it is unknown
            (pair["parser", "cheap"] + pair["parser", "network"]) / 2,
            (pair["network", "cheap"] + pair["network", "parser"]) / 2,
        ]
    )
    assert [set(signals) for signals in policy.seen] == [{"tests_fixed", "patch_similarity"}] * 3
    assert not {name for name in signal_names(outcomes) if name.startswith("patch_similarity")}
