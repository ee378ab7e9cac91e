"""Cells on this machine: a pool of agent threads and a pool of grading threads, with no barrier between them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from harness.engines.base import Stop, Work
from harness.store import Cell


def run_cells(
    to_attempt: Sequence[Cell],
    to_grade: Sequence[Cell],
    work: Work,
    *,
    agent_workers: int,
    grading_workers: int,
    stop: Stop,
) -> None:
    """Run the cells' stages; each patch is graded as soon as a grading worker is free, whatever other agents do.

    Args:
        to_attempt: cells that need an agent, in the order they are started.
        to_grade: cells whose patch is there already.
    Raises:
        whatever a stage raises that is not a cell's own failure; cells in flight are finished first.
    """
    agents = ThreadPoolExecutor(agent_workers, thread_name_prefix="agent")
    graders = ThreadPoolExecutor(grading_workers, thread_name_prefix="grading")

    def grade(cell: Cell) -> None:
        if not stop.requested:
            work.grade(cell)

    def attempt(cell: Cell) -> Future[None] | None:
        if not stop.requested and work.attempt(cell):
            # a patch that was paid for is graded even when a stop was asked for meanwhile
            return graders.submit(work.grade, cell)
        return None

    pending: set[Future[Any]] = {graders.submit(grade, cell) for cell in to_grade}
    pending |= {agents.submit(attempt, cell) for cell in to_attempt}
    try:
        while pending:
            done, pending = wait(pending, return_when=FIRST_EXCEPTION)
            for future in done:
                grading = future.result()
                if isinstance(grading, Future):
                    pending.add(grading)
    except BaseException:
        stop.request("an error in polyswe itself")
        raise
    finally:
        agents.shutdown(wait=True, cancel_futures=True)
        graders.shutdown(wait=True, cancel_futures=True)
