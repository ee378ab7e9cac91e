"""Orders in which to do things."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from depgraph.counting import Countdown
from depgraph.graph import Graph


def order(graph: Graph, targets: Iterable[str] | None = None) -> list[str]:
    """All tasks (or those the targets need), every one after what it needs. Raises CycleError."""
    part = graph if targets is None else graph.closure(targets)
    countdown = Countdown(part)
    heap = [(countdown.rank(task), task) for task in countdown.initially_ready()]
    heapq.heapify(heap)
    done: list[str] = []
    while heap:
        _, task = heapq.heappop(heap)
        done.append(task)
        for ready in countdown.finish(task):
            heapq.heappush(heap, (countdown.rank(ready), ready))
    countdown.check_all_done()
    return done


def batches(graph: Graph, targets: Iterable[str] | None = None) -> list[list[str]]:
    """The tasks in as few rounds as possible, each round independent in itself. Raises CycleError."""
    part = graph if targets is None else graph.closure(targets)
    countdown = Countdown(part)
    rounds: list[list[str]] = []
    current = countdown.initially_ready()
    while current:
        rounds.append(current)
        following = [ready for task in current for ready in countdown.finish(task)]
        current = sorted(following, key=countdown.rank)
    countdown.check_all_done()
    return rounds
