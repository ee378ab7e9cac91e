"""The soft cost limit: no cell starts that is expected to pass it, and none in flight is thrown away."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agents.attempt import Attempt
from agents.budget import BudgetSpentError
from harness.config import Config, find_config, load_config, with_overrides
from harness.run.spending import Spending, limit_note
from harness.store.rows import Cell
from harness.store.store import Store

SMALL, LARGE = "scripted-small", "scripted-large"


def config(**run: object) -> Config:
    return with_overrides(load_config(find_config("sample")), {f"run.{name}": value for name, value in run.items()})


def store_with(path: Path, costs: dict[str, list[float]]) -> Store:
    store = Store(path / "outcomes.sqlite")
    cells = [(Cell(f"i-{n}", model), cost) for model, all_costs in costs.items() for n, cost in enumerate(all_costs)]
    store.plan({cell: "key" for cell, _ in cells})
    for cell, cost in cells:
        store.agent_done(
            cell,
            Attempt(
                instance_id=cell.instance_id, model=cell.model, patch="", exit_status="Submitted", cost_usd=cost,
                api_calls=1, prompt_tokens=1, completion_tokens=1, cached_tokens=0, failed_calls=0, seconds=1.0,
                trajectory=path / "t", unsubmitted_patch="", scripted=True,
            ),
        )  # fmt: skip
    return store


def test_cells_start_while_their_expected_costs_fit_under_the_limit(tmp_path: Path) -> None:
    """$0.9 of $2 are spent, a cell costs $0.3: three run at a time, the fourth waits for what they really cost."""
    spending = Spending(config(max_cost=2.0), store_with(tmp_path, {SMALL: [0.3, 0.3, 0.3]}))
    started, go_on = threading.Semaphore(0), threading.Event()
    costs = []

    def run(cost: float) -> None:
        with spending.cell(SMALL) as charge:
            started.release()
            assert go_on.wait(30)
            charge(cost)
            costs.append(cost)

    threads = [threading.Thread(target=run, args=(0.25,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        assert started.acquire(timeout=30)
    assert not started.acquire(timeout=0.2), "the fourth would pass the limit"
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert costs == [0.25] * 4, "it fits once the others have cost less than expected"
    with spending.cell(SMALL) as charge:  # $0.10 are left: the last cell may cost more than that
        charge(0.25)
    with pytest.raises(BudgetSpentError), spending.cell(SMALL):
        pass


def test_a_cell_alone_always_starts_below_the_limit(tmp_path: Path) -> None:
    """A limit below what is assumed of the first cell must not end a run before it begins."""
    spending = Spending(config(max_cost=0.01), store_with(tmp_path, {}))
    assert spending.expected(LARGE) > 0.01
    with spending.cell(LARGE) as charge:
        charge(0.2)
    assert spending.expected(LARGE) == 0.2
    with pytest.raises(BudgetSpentError), spending.cell(LARGE):
        pass


def test_a_cell_in_flight_that_costs_more_than_expected_counts_at_once(tmp_path: Path) -> None:
    spending = Spending(config(max_cost=2.0), store_with(tmp_path, {SMALL: [0.3, 0.3, 0.3]}))
    with spending.cell(SMALL) as charge:
        charge(0.5)
        with spending.cell(SMALL):
            pass  # 0.9 + 0.5 + 0.3
        charge(0.7)
        with pytest.raises(BudgetSpentError), spending.cell(SMALL):
            pass


def test_money_that_a_failed_cell_lost_counts(tmp_path: Path) -> None:
    spending = Spending(config(max_cost=1.0), store_with(tmp_path, {}))

    def fail() -> None:
        with spending.cell(SMALL) as charge:
            charge(1.5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(BudgetSpentError), spending.cell(SMALL):
        pass


def test_the_worst_case_is_said_beforehand() -> None:
    assert limit_note(config()) == ""
    assert "at worst $54.00 (4 in flight, each at most $1 and one call)" in limit_note(config(max_cost=50))
    without = with_overrides(config(max_cost=50), {"agent.cost_limit": 0})
    assert "no bound" in limit_note(without)
    both = limit_note(config(max_cost=50, max_cost_hard=60))
    assert "at worst $54.00" in both
    assert "hard cost limit $60" in both
