"""The graph: tasks in order of first mention, and what each of them needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Graph:
    def __init__(self) -> None:
        self._needs: dict[str, dict[str, None]] = {}  # dicts as ordered sets

    def add(self, task: str, needs: Iterable[str] = ()) -> None:
        """Mention a task, and possibly what it needs. Needs accumulate over several calls."""
        row = self._needs.setdefault(task, {})
        for other in needs:
            self._needs.setdefault(other, {})
            row[other] = None

    def __len__(self) -> int:
        return len(self._needs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._needs)

    def __contains__(self, task: str) -> bool:
        return task in self._needs

    def needs(self, task: str) -> tuple[str, ...]:
        return tuple(self._needs[task])

    def edges(self) -> Iterator[tuple[str, str]]:
        """Pairs (task, what it needs)."""
        for task, needs in self._needs.items():
            for other in needs:
                yield task, other

    def dependents(self) -> dict[str, list[str]]:
        """For every task, the tasks that need it."""
        found: dict[str, list[str]] = {task: [] for task in self._needs}
        for task, other in self.edges():
            found[other].append(task)
        return found

    def closure(self, targets: Iterable[str]) -> Graph:
        """The part of the graph the targets need, with the order of mention kept. Raises KeyError."""
        wanted: set[str] = set()
        todo = list(targets)
        while todo:
            task = todo.pop()
            if task not in wanted:
                wanted.add(task)
                todo.extend(self._needs[task])
        part = Graph()
        for task in self._needs:
            if task in wanted:
                part.add(task)
        for task in part:
            part.add(task, self._needs[task])
        return part
