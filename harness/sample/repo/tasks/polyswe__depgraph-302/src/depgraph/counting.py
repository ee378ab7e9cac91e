"""Kahn's bookkeeping: how many needs of each task are still open."""

from __future__ import annotations

from depgraph.errors import CycleError
from depgraph.graph import Graph


class Countdown:
    """Tasks become ready once everything they need is done."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._rank = {task: rank for rank, task in enumerate(graph)}
        self._dependents = graph.dependents()
        self._open = {task: len(graph.needs(task)) for task in graph}

    def initially_ready(self) -> list[str]:
        return [task for task, count in self._open.items() if count == 0]

    def rank(self, task: str) -> int:
        return self._rank[task]

    def finish(self, task: str) -> list[str]:
        """Mark a task as done; the tasks that became ready by it."""
        del self._open[task]
        ready = []
        for dependent in self._dependents[task]:
            self._open[dependent] -= 1
            if self._open[dependent] == 0:
                ready.append(dependent)
        return ready

    def check_all_done(self) -> None:
        """Raise CycleError if tasks are left that can never become ready."""
        stuck = list(self._open)
        if stuck:
            raise CycleError([*stuck, stuck[0]])
