"""Money that all agents of a run share, and the record of every single call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from agents.errors import AgentError


class BudgetSpentError(AgentError):
    """The run's cost limit is reached: the call was not made. Neither the model's nor the provider's failure."""


@dataclass(frozen=True)
class Call:
    """One request to a provider, as it ended."""

    started_at: float
    """Seconds since the epoch."""
    seconds: float
    """Wall-clock time of the request alone, without waits before another try."""
    prompt_tokens: int
    """Prompt tokens, cached ones included."""
    cached_tokens: int
    """Prompt tokens read from the provider's cache."""
    completion_tokens: int
    cost_usd: float
    estimated: bool
    """The reply stated no usage: its tokens were estimated from the texts' lengths."""
    failure: str
    """Kind of failure (`agents.provider_errors.KINDS`); empty when the call was answered."""


class Budget:
    """A hard stop: no call starts once `limit` is spent, so that only calls in flight can take the total past it.

    Calls in flight hold a reservation. Near the limit a call waits for those in flight instead of joining them, so that
    the total usually passes the limit by one call's cost at most, and never by more than the calls in flight.
    """

    def __init__(
        self, limit: float | None = None, spent: float = 0.0, *, halted: Callable[[], bool] = lambda: False
    ) -> None:
        """A budget for the agents of a run.

        Args:
            limit: USD; None means no limit.
            spent: USD that earlier starts of the run have paid.
            halted: Asked before every call; once it says so, no further call is made whatever is left.
        """
        self.limit = limit
        self._halted = halted
        self._spent = spent
        self._reserved = 0.0
        self._in_flight = 0
        self._changed = threading.Condition()

    @property
    def spent(self) -> float:
        """USD paid so far."""
        with self._changed:
            return self._spent

    @property
    def exhausted(self) -> bool:
        return self.limit is not None and self.spent >= self.limit

    @property
    def halted(self) -> bool:
        """Whether no further call will be made, whatever is left."""
        return self._halted()

    def reserve(self, estimate: float) -> None:
        """Ask for a call of about `estimate` USD; may wait for calls in flight. Settle it, however it ends.

        Raises:
            BudgetSpentError: the limit is reached.
        """
        with self._changed:
            if self._halted():
                raise BudgetSpentError("the run is stopping now: no further call is made")
            while self.limit is not None:
                if self._spent >= self.limit:
                    raise BudgetSpentError(
                        f"the run's cost limit of ${self.limit:g} is reached (${self._spent:.4g} spent): "
                        "continue with a higher limit"
                    )
                if not self._in_flight or self._spent + self._reserved + estimate <= self.limit:
                    break
                self._changed.wait()
            self._reserved += estimate
            self._in_flight += 1

    def settle(self, estimate: float, cost: float) -> None:
        """A reserved call has ended and cost `cost` USD."""
        with self._changed:
            self._in_flight -= 1
            # without calls in flight nothing is reserved, rounding errors of earlier reservations included
            self._reserved = self._reserved - estimate if self._in_flight else 0.0
            self._spent += cost
            self._changed.notify_all()
