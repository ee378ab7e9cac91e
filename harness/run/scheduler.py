"""Cells on this machine: a pool of agent threads and a pool of grading threads, with no barrier between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from harness.run.cell_queue import CellQueue, StartLimits
from harness.run.engines.base import CellStages
from harness.run.interrupt import Stop
from harness.store.rows import Cell


def run_cells(
    to_attempt: Sequence[Cell],
    to_grade: Sequence[Cell],
    work: CellStages,
    *,
    agent_workers: int,
    grading_workers: int,
    stop: Stop,
    meanwhile: Callable[[], None] = lambda: None,
    limits: StartLimits | None = None,
) -> None:
    """Run the cells' stages; each patch is graded as soon as a grading worker is free, whatever other agents do.

    Args:
        to_attempt: cells that need an agent, in the order they are started.
        to_grade: cells whose patch is there already.
        meanwhile: done once by the first agent worker that has nothing left to start.
        limits: what keeps cells waiting, so that others overtake them.
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

    queue = CellQueue(to_attempt, limits or StartLimits(), lambda: stop.requested)
    gradings: list[Future[None]] = []

    def attempt_cells() -> None:
        with _stopping_on_error(stop):
            while True:
                with queue.next() as cell:
                    if cell is None:
                        return
                    if work.attempt(cell):
                        # a patch that was paid for is graded even when a stop was asked for meanwhile
                        gradings.append(graders.submit(grade, cell))

    with graders, agents:
        earlier = [graders.submit(grade_earlier, cell) for cell in to_grade]
        workers = [agents.submit(attempt_cells) for _ in range(agent_workers)]
        idle = agents.submit(meanwhile)
        for future in [*workers, *earlier, idle]:
            future.result()
        for future in gradings:
            future.result()


@contextmanager
def _stopping_on_error(stop: Stop) -> Iterator[None]:
    """An error that is not a cell's own ends the run at once: no further money is spent before it is seen."""
    try:
        yield
    except BaseException:
        stop.request("an error in polyswe itself")
        raise
