"""Cells on this machine: a pool of agent threads and a pool of grading threads, with no barrier between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from harness.run.engines.base import CellStages
from harness.run.interrupt import Stop
from harness.store.store import Cell


def run_cells(
    to_attempt: Sequence[Cell],
    to_grade: Sequence[Cell],
    work: CellStages,
    *,
    agent_workers: int,
    grading_workers: int,
    stop: Stop,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Run the cells' stages; each patch is graded as soon as a grading worker is free, whatever other agents do.

    Args:
        to_attempt: cells that need an agent, in the order they are started.
        to_grade: cells whose patch is there already.
        meanwhile: done once by the first agent worker that has nothing left to start.
    Raises:
        whatever a stage raises that is not a cell's own failure; cells in flight are finished first.
    """
    agents = ThreadPoolExecutor(agent_workers, thread_name_prefix="agent")
    graders = ThreadPoolExecutor(grading_workers, thread_name_prefix="grading")

    def grade(cell: Cell) -> None:
        with _stopping_on_error(stop):
            work.grade(cell)

    def grade_earlier(cell: Cell) -> None:
        if not stop.requested:
            grade(cell)

    def attempt(cell: Cell) -> Future[None] | None:
        with _stopping_on_error(stop):
            if not stop.requested and work.attempt(cell):
                # a patch that was paid for is graded even when a stop was asked for meanwhile
                return graders.submit(grade, cell)
        return None

    with graders, agents:
        earlier = [graders.submit(grade_earlier, cell) for cell in to_grade]
        attempts = [agents.submit(attempt, cell) for cell in to_attempt]
        idle = agents.submit(meanwhile)
        gradings = [grading for future in attempts if (grading := future.result()) is not None]
        for future in [*earlier, *gradings, idle]:
            future.result()


@contextmanager
def _stopping_on_error(stop: Stop) -> Iterator[None]:
    """An error that is not a cell's own ends the run at once: no further money is spent before it is seen."""
    try:
        yield
    except BaseException:
        stop.request("an error in polyswe itself")
        raise
