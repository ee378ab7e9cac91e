"""The local engine: no barrier between the stages, nothing started after a stop, nothing swallowed."""

from __future__ import annotations

import threading

import pytest

from harness.run.interrupt import Stop
from harness.run.scheduler import run_cells
from harness.store.store import Cell

CELLS = [Cell(f"i-{n}", "m") for n in range(6)]
PATIENCE = 30


class Recorder:
    """CellStages that records what was asked of it."""

    def __init__(self) -> None:
        self.attempted: list[Cell] = []
        self.graded: list[Cell] = []
        self.lock = threading.Lock()

    def attempt(self, cell: Cell) -> bool:
        with self.lock:
            self.attempted.append(cell)
        return True

    def grade(self, cell: Cell) -> None:
        with self.lock:
            self.graded.append(cell)


def test_every_cell_goes_through_both_stages_once() -> None:
    work = Recorder()
    run_cells(CELLS[:4], CELLS[4:], work, agent_workers=3, grading_workers=2, stop=Stop())
    assert sorted(work.attempted) == CELLS[:4]
    assert sorted(work.graded) == CELLS


def test_a_patch_is_graded_while_other_agents_are_still_at_work() -> None:
    first_graded = threading.Event()

    class Slow(Recorder):
        def attempt(self, cell: Cell) -> bool:
            if cell is not CELLS[0]:
                assert first_graded.wait(PATIENCE), "grading waited for all agents"
            return super().attempt(cell)

        def grade(self, cell: Cell) -> None:
            super().grade(cell)
            first_graded.set()

    work = Slow()
    run_cells(CELLS, [], work, agent_workers=2, grading_workers=1, stop=Stop())
    assert sorted(work.graded) == CELLS


def test_a_stop_starts_nothing_new_and_grades_what_is_paid_for() -> None:
    stop = Stop()

    class Stopping(Recorder):
        def attempt(self, cell: Cell) -> bool:
            stop.request("enough")
            return super().attempt(cell)

    work = Stopping()
    run_cells(CELLS, [], work, agent_workers=1, grading_workers=1, stop=stop)
    assert work.attempted == work.graded == CELLS[:1]
    assert stop.reason == "enough"


def test_a_cell_without_a_patch_is_not_graded() -> None:
    class Failing(Recorder):
        def attempt(self, cell: Cell) -> bool:
            return super().attempt(cell) and cell is not CELLS[2]

    work = Failing()
    run_cells(CELLS, [], work, agent_workers=2, grading_workers=2, stop=Stop())
    assert sorted(work.graded) == [cell for cell in CELLS if cell is not CELLS[2]]


@pytest.mark.parametrize("stage", ["attempt", "grade"])
def test_an_error_of_ours_surfaces_after_the_cells_in_flight(stage: str) -> None:
    raised = threading.Event()

    class Broken(Recorder):
        def attempt(self, cell: Cell) -> bool:
            if cell in CELLS[2:]:
                raised.wait(PATIENCE)
            if stage == "attempt" and cell is CELLS[1]:
                raised.set()
                raise ZeroDivisionError
            return super().attempt(cell)

        def grade(self, cell: Cell) -> None:
            if stage == "grade" and cell is CELLS[1]:
                raised.set()
                raise ZeroDivisionError
            super().grade(cell)

    work = Broken()
    with pytest.raises(ZeroDivisionError):
        run_cells(CELLS, [], work, agent_workers=2, grading_workers=1, stop=Stop())
    assert CELLS[1] not in work.graded
    assert len(work.attempted) < len(CELLS), "money was spent on after the error"
