"""One budget for a whole cluster: an actor beside the driver holds it; agents on all nodes ask it before every call."""

from __future__ import annotations

import threading
from typing import Any

from agents.budget import Budget, BudgetSpentError


class BudgetActor:
    """The actor: `agents.budget.Budget` behind Ray's calls. A spent budget is an answer, not an error.

    Reservations are kept by attempt: those of an attempt whose node died are settled by the driver.
    """

    def __init__(self, limit: float | None, spent: float) -> None:
        self.budget = Budget(limit, spent)
        self._guard = threading.Lock()
        self._open: dict[str, float] = {}
        """Attempt → the estimate of its call in flight; an agent makes one call at a time."""
        self._gone: set[str] = set()
        """Attempts whose node died; one may still be waiting for its reservation."""

    def reserve(self, attempt: str, estimate: float) -> str:
        """Why the call must not be made; empty when it may."""
        try:
            self.budget.reserve(estimate)
        except BudgetSpentError as error:
            return str(error)
        with self._guard:
            if attempt not in self._gone:
                self._open[attempt] = estimate
                return ""
        self.budget.settle(estimate, 0.0)
        return "its attempt is over"

    def settle(self, attempt: str, cost: float | None) -> None:
        """The attempt's call in flight has ended, if there is one; its cost is its estimate where nobody knows it."""
        with self._guard:
            estimate = self._open.pop(attempt, None)
            if cost is None:
                self._gone.add(attempt)
        if estimate is not None:
            self.budget.settle(estimate, estimate if cost is None else cost)

    def spent(self) -> float:
        return self.budget.spent


class ClusterBudget(Budget):
    """The actor's client, for the driver or for one attempt's agent; it can be sent between processes."""

    def __init__(self, limit: float, budget_actor: Any, attempt: str = "") -> None:
        super().__init__(limit)
        self.budget_actor = budget_actor
        self.attempt = attempt

    def __reduce__(self) -> tuple[Any, ...]:
        return ClusterBudget, (self.limit, self.budget_actor, self.attempt)

    def of(self, attempt: str) -> ClusterBudget:
        """A client of the same actor for one attempt."""
        assert self.limit is not None
        return ClusterBudget(self.limit, self.budget_actor, attempt)

    def abandon(self) -> None:
        """The attempt's node is gone: settle what it had reserved."""
        import ray

        ray.get(self.budget_actor.settle.remote(self.attempt, None))

    @property
    def _holder(self) -> str:
        """Who makes the call: the attempt, or a thread of the driver, which calls reviewers."""
        return self.attempt or f"driver-{threading.get_ident()}"

    @property
    def spent(self) -> float:
        import ray

        return float(ray.get(self.budget_actor.spent.remote()))

    def reserve(self, estimate: float) -> None:
        import ray

        if refusal := ray.get(self.budget_actor.reserve.remote(self._holder, estimate)):
            raise BudgetSpentError(refusal)

    def settle(self, estimate: float, cost: float) -> None:
        import ray

        ray.get(self.budget_actor.settle.remote(self._holder, cost))
