"""The local engine: no barrier between the stages, nothing started after a stop, nothing swallowed."""

from __future__ import annotations

import threading

import pytest

from agents.rate_limit import TokenBucket
from harness.run.cell_queue import CellQueue, StartLimits
from harness.run.interrupt import Stop
from harness.run.scheduler import run_cells
from harness.store.rows import Cell

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


def test_a_model_at_its_limit_is_overtaken_and_never_exceeds_it() -> None:
    """Cells of a slow model come first; all others are finished while it works on its first one."""
    slow, fast = [Cell(f"i-{n}", "slow") for n in range(4)], [Cell(f"i-{n}", "fast") for n in range(4)]
    others_done = threading.Event()

    class Counting(Recorder):
        at_work = 0
        most = 0

        def attempt(self, cell: Cell) -> bool:
            if cell.model == "slow":
                with self.lock:
                    self.at_work += 1
                    self.most = max(self.most, self.at_work)
                assert others_done.wait(PATIENCE), "the slow model holds all agents"
                with self.lock:
                    self.at_work -= 1
            ended = super().attempt(cell)
            if {done.instance_id for done in self.attempted if done.model == "fast"} == {c.instance_id for c in fast}:
                others_done.set()
            return ended

    work = Counting()
    limits = StartLimits(max_parallel={"slow": 1})
    run_cells([*slow, *fast], [], work, agent_workers=2, grading_workers=1, stop=Stop(), limits=limits)
    assert work.most == 1
    assert sorted(work.graded) == sorted([*slow, *fast])


def test_a_stop_ends_the_wait_of_cells_that_have_not_started() -> None:
    """A model without a turn for hours: nothing of it is started, and nobody waits for it."""
    stop, bucket = Stop(), TokenBucket(rpm=1)
    bucket.reserve(10)

    class Stopping(Recorder):
        def attempt(self, cell: Cell) -> bool:
            threading.Timer(0.2, stop.request, ["enough"]).start()
            return super().attempt(cell)

    work = Stopping()
    cells = [Cell("i-0", "limited"), Cell("i-0", "free")]
    limits = StartLimits(rates={"limited": bucket})
    run_cells(cells, [], work, agent_workers=2, grading_workers=1, stop=stop, limits=limits)
    assert work.attempted == [Cell("i-0", "free")]


def test_no_model_runs_further_ahead_than_the_disk_has_room_for() -> None:
    cells = [Cell(f"i-{n}", model) for n in range(5) for model in ("slow", "fast")]
    stop = Stop()
    queue = CellQueue(cells, StartLimits(max_parallel={"slow": 1}, reach=2), lambda: stop.requested)
    with queue.next() as first, queue.next() as second, queue.next() as third:
        assert [first, second, third] == [cells[0], cells[1], cells[3]]
        threading.Timer(0.2, stop.request, ["enough"]).start()
        with queue.next() as fourth:
            assert fourth is None, "the images of three instances are on the disk"
