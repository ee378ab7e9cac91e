from collections.abc import Sequence

import numpy as np
import pytest

from router.attempt import FinishedAttempt
from router.decision import Accept, Decision, DecisionError, Run, next_step, roll_out
from router.lab.crossfit import crossfit, folds
from router.policies import make_policy
from router.policies.fixed import BestFixedPolicy


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
