"""The soft limit of a run's cost: which cells may still start, and what is spent at worst."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.budget import BudgetSpentError
from agents.pool import ModelConfig, prices
from agents.runner import AgentConfig
from harness.config import Config, RunConfig
from harness.store.run_folder import RunFolder
from harness.store.store import Store

ASSUMED_PROMPT_TOKENS = 600_000
"""Of a cell of which nothing is recorded: about 40 calls whose conversation grows to 30,000 tokens."""
ASSUMED_CACHED_SHARE = 0.85
"""Share of these prompt tokens that the provider's cache has."""
ASSUMED_COMPLETION_TOKENS = 12_000
"""Of a cell of which nothing is recorded."""


@dataclass(eq=False)
class _CellInFlight:
    expected: float
    paid: float = 0.0

    @property
    def committed(self) -> float:
        """What it counts with until it has ended."""
        return max(self.expected, self.paid)


class Spending:
    """Lets cells start while their expected costs fit under `run.max_cost`. Safe for many threads.

    A cell in flight counts with its expected cost, or with what it has paid if that is more, and after its end with its
    true cost. Near the limit a cell waits for those in flight; the last one may cost more than is left.
    """

    def __init__(self, config: Config, store: Store, spent: float | None = None) -> None:
        """
        Args:
            config: the pool, its prices and limits.
            store: what finished cells have cost.
            spent: USD that the run has spent so far; by default what the store knows of.
        """
        self.limit = config.run.max_cost
        self._spent = store.spent() if spent is None else spent
        self._assumed = {m.name: 0.0 if self.limit is None else assumed_cost(m, config.agent) for m in config.pool}
        self._costs: dict[str, list[float]] = {model.name: [] for model in config.pool}
        self._in_flight: list[_CellInFlight] = []
        self._changed = threading.Condition()
        for row in store.rows():
            if row.model in self._costs and row.cost_usd is not None:
                self._costs[row.model].append(row.cost_usd)

    def expected(self, model: str) -> float:
        """USD of a cell of the model: the mean of those that have ended, or what is assumed of the first."""
        costs = self._costs[model]
        return sum(costs) / len(costs) if costs else self._assumed[model]

    @contextmanager
    def cell(self, model: str) -> Iterator[Callable[[float], None]]:
        """Start a cell, perhaps after others have ended; what is yielded takes the cost of each of its calls.

        Raises:
            BudgetSpentError: the limit is reached.
        """
        with self._changed:
            cell = self._await_room(model)
            self._in_flight.append(cell)

        def charge(cost: float) -> None:
            with self._changed:
                cell.paid += cost
                self._changed.notify_all()

        try:
            yield charge
        finally:
            with self._changed:
                self._in_flight.remove(cell)
                self._spent += cell.paid
                if cell.paid:
                    self._costs[model].append(cell.paid)
                self._changed.notify_all()

    def _await_room(self, model: str) -> _CellInFlight:
        """A cell that may start now."""
        while True:
            cell = _CellInFlight(self.expected(model))
            if self.limit is None:
                return cell
            if self._spent + sum(other.paid for other in self._in_flight) >= self.limit:
                raise BudgetSpentError(f"the cost limit of ${self.limit:g} is reached")
            if not self._in_flight:
                return cell
            if self._spent + sum(other.committed for other in self._in_flight) + cell.expected <= self.limit:
                return cell
            self._changed.wait()


def spent_by(folder: RunFolder) -> float:
    """USD that a run has spent so far, also on writing and judging tests."""
    return sum(_spent_in(path) for path in (folder.store_path, folder.tests.store_path))


def spent_on_tests(folder: RunFolder) -> float:
    """USD that a run has spent so far on writing and judging tests."""
    return _spent_in(folder.tests.store_path)


def _spent_in(path: Path) -> float:
    if not path.is_file():
        return 0.0
    with Store(path, read_only=True) as store:
        return store.spent()


def assumed_cost(model: ModelConfig, agent: AgentConfig) -> float:
    """USD of a cell of which nothing is recorded, by the model's prices and at most its cost limit."""
    known = prices(model)
    cached = ASSUMED_PROMPT_TOKENS * ASSUMED_CACHED_SHARE
    fresh = ASSUMED_PROMPT_TOKENS - cached
    cost = cached * known.cache_read + fresh * known.input + ASSUMED_COMPLETION_TOKENS * known.output
    return min(cost, cell_limit(model, agent))


def cell_limit(model: ModelConfig, agent: AgentConfig) -> float:
    """USD after which a cell of the model is stopped; infinite without a limit."""
    limit = agent.cost_limit if model.cost_limit is None else model.cost_limit
    return 0.0 if model.free else limit or math.inf


def limit_note(config: Config) -> str:
    """What the cost limits let a run spend at worst; empty without any."""
    run = config.run
    if run.max_cost is None:
        return "" if run.max_cost_hard is None else _hard_note(run)
    note = f"cost limit ${run.max_cost:g}: no cell starts that is expected to pass it, cells in flight finish"
    cell = max(cell_limit(model, config.agent) for model in config.pool)
    if math.isinf(cell):
        note += "; without agent.cost_limit they have no bound of their own"
    else:
        worst = run.max_cost + run.agent_workers * cell
        note += f"; at worst ${worst:,.2f} ({run.agent_workers} in flight, each at most ${cell:g} and one call)"
    return note if run.max_cost_hard is None else f"{note}; {_hard_note(run)}"


def _hard_note(run: RunConfig) -> str:
    return f"hard cost limit ${run.max_cost_hard:g}: no call is made once it is spent, cells in flight are cut off"
