"""What to do next on an instance: run a model, or accept a finished attempt. Live runs and replay ask the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np

from router.arrays import FloatArray, IntArray
from router.attempt import FinishedAttempt
from router.outcomes import OutcomeMatrix
from router.policy import Policy, PolicyParameterError
from router.signals import recorded_signals


@dataclass(frozen=True)
class Run:
    """Let this model attempt the instance next."""

    model: str
    also: tuple[str, ...] = ()
    """models that will be asked for whatever this attempt shows, so that a live run may run them side by side"""
    carry: bool = False
    """start with the last finished attempt's diff applied; only a live run can, as no record shows such an attempt"""


@dataclass(frozen=True)
class Accept:
    """Hand in the patch of this model's finished attempt."""

    model: str
    paid_usd: float = 0.0
    """what the decision itself cost beyond the attempts, e.g. the tests that it read"""
    paid_seconds: float = 0.0
    """how long that took beyond the attempts"""


Decision = Run | Accept


class SequentialPolicy(Policy, Protocol):
    """A policy that looks at finished attempts (a cascade). It must accept one of them within m attempts."""

    def next_step(
        self, x: FloatArray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None
    ) -> Decision:
        """Decide for one embedding x (d,) and the instance's attempts so far, oldest first."""


def is_sequential(policy: Policy) -> TypeGuard[SequentialPolicy]:
    """Whether the policy looks at finished attempts."""
    return policy.is_sequential


class BatchedPolicy(SequentialPolicy, Protocol):
    """A cascade that decides many recorded instances to the end at once, with the very decisions of `next_step`."""

    def roll_out_recorded(
        self, X: FloatArray, outcomes: OutcomeMatrix, cost_weights: Sequence[float | None]
    ) -> tuple[IntArray, FloatArray]:
        """For rows X (t, d) and their `outcomes` (t, m): accepted model (w, t), and verdict, USD, seconds (3, w, t)."""


def is_batched(policy: SequentialPolicy) -> TypeGuard[BatchedPolicy]:
    """Whether the policy can decide recorded instances together, which is much faster than one by one."""
    return hasattr(policy, "roll_out_recorded")


class ClairvoyantPolicy(Policy, Protocol):
    """A bound rather than a policy: it reads the verdicts of the rows it decides. Only the laboratory can ask it."""

    def choose_recorded(self, outcomes: OutcomeMatrix, cost_weights: Sequence[float | None]) -> IntArray:
        """(w, t) choices for the recorded rows `outcomes` (t, m) and each λ (None: the policy's own)."""


def is_clairvoyant(policy: Policy) -> TypeGuard[ClairvoyantPolicy]:
    """Whether the policy needs the recorded outcomes of what it decides."""
    return policy.needs_recorded


NOT_ON_RECORD = (
    "carry=patch cannot be replayed: recorded attempts started afresh, not from another one's diff; run it live"
)


class DecisionError(RuntimeError):
    """A policy asked for something that cannot be done: an attempt twice, or a patch that does not exist."""


def next_step(
    policy: Policy, x: FloatArray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None
) -> Decision:
    """The policy's next decision on the instance with embedding x (d,). One-shot policies run once, then accept."""
    if is_sequential(policy):
        return policy.next_step(x, attempts, cost_weight)
    if attempts:
        return Accept(attempts[-1].model)
    return Run(policy.models_[int(policy.predict(np.asarray(x)[None, :], cost_weight)[0])])


@dataclass(frozen=True)
class Rollout:
    """One instance decided to the end on recorded outcomes: what was accepted, and what attempts and decision cost."""

    model: int
    resolved: float
    cost: float
    seconds: float


def roll_out(
    policy: Policy, x: FloatArray, outcomes: OutcomeMatrix, row: int, cost_weight: float | None = None
) -> Rollout:
    """Ask `policy` until it accepts, paying for every attempt it asks for. The verdict is read only at the end."""
    attempts: list[FinishedAttempt] = []
    cells: list[int] = []
    while isinstance(decision := next_step(policy, x, attempts, cost_weight), Run):
        if decision.carry:
            raise PolicyParameterError(NOT_ON_RECORD)
        cell = outcomes.models.index(decision.model)
        if cell in cells:
            raise DecisionError(f"policy asks for {decision.model!r} twice on {outcomes.instances[row]!r}")
        cells.append(cell)
        attempts = _recorded(outcomes, row, cells)
    if decision.model not in (attempt.model for attempt in attempts):
        raise DecisionError(f"policy accepts {decision.model!r}, which made no attempt on {outcomes.instances[row]!r}")
    accepted = outcomes.models.index(decision.model)
    return Rollout(
        model=accepted,
        resolved=float(outcomes.resolved[row, accepted]),
        cost=float(outcomes.cost[row, cells].sum()) + decision.paid_usd,
        seconds=float(outcomes.seconds[row, cells].sum()) + decision.paid_seconds,
    )


def roll_out_all(
    policy: SequentialPolicy,
    X: FloatArray,
    outcomes: OutcomeMatrix,
    test: IntArray,
    cost_weights: Sequence[float | None],
) -> tuple[IntArray, FloatArray]:
    """`roll_out` of the rows `test` for every λ: models (w, t); verdict, USD and seconds (3, w, t)."""
    if is_batched(policy):
        return policy.roll_out_recorded(X[test], outcomes.take(test), cost_weights)
    rollouts = [[roll_out(policy, X[row], outcomes, row, weight) for row in test] for weight in cost_weights]
    models = np.array([[rollout.model for rollout in line] for line in rollouts], dtype=np.int64)
    gains = [
        [[getattr(rollout, name) for rollout in line] for line in rollouts] for name in ("resolved", "cost", "seconds")
    ]
    return models, np.array(gains, dtype=np.float64)


def _recorded(outcomes: OutcomeMatrix, row: int, cells: Sequence[int]) -> list[FinishedAttempt]:
    """The recorded attempts `cells` of one row, as they look when no others have been made."""
    return [
        FinishedAttempt(
            outcomes.models[cell],
            cost_usd=_known(outcomes.cost[row, cell]),
            calls=_known(outcomes.calls[row, cell]),
            seconds=_known(outcomes.seconds[row, cell]),
            signals=signals,
        )
        for cell, signals in zip(cells, recorded_signals(outcomes, row, cells), strict=True)
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def decide(
    policy: Policy, X: FloatArray, outcomes: OutcomeMatrix, test: IntArray, cost_weights: Sequence[float | None]
) -> tuple[IntArray, FloatArray]:
    """A fitted policy's decisions on the rows `test` for every λ (None: the policy's own).

    Returns the model handed in (λ, t) and what the decisions bring (3, λ, t): verdict, USD and seconds.
    """
    if is_sequential(policy):
        return roll_out_all(policy, X, outcomes, test, cost_weights)
    if is_clairvoyant(policy):
        choices = policy.choose_recorded(outcomes.take(test), cost_weights)
    elif len(cost_weights) == 1:
        choices = policy.predict(X[test], cost_weights[0])[None, :]
    else:
        choices = policy.sweep(X[test], cost_weights)
    return choices, np.stack([table[test, choices] for table in (outcomes.resolved, outcomes.cost, outcomes.seconds)])
