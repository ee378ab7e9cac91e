"""The text format: `task: need need …`, `#` comments, a backslash at the end of a line continues it."""

from __future__ import annotations

from collections.abc import Iterator

from depgraph.errors import FormatError
from depgraph.graph import Graph


def load(text: str) -> Graph:
    graph = Graph()
    for number, line in _logical_lines(text):
        head, colon, tail = line.partition(":")
        name = head.strip()
        if not colon:
            raise FormatError(number, f"no colon in {line.strip()!r}")
        if not name or len(name.split()) != 1:
            raise FormatError(number, f"{name!r} is not a task name")
        graph.add(name, tail.split())
    return graph


def dump(graph: Graph) -> str:
    """The text form; `load(dump(graph))` has the same tasks and needs."""
    return "".join(f"{task}: {' '.join(graph.needs(task))}".rstrip() + "\n" for task in graph)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].rstrip()
        start = start or number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        if (pending + line).strip():
            yield start, pending + line
        pending, start = "", 0
    if pending.strip():
        raise FormatError(start, "the last line ends in a backslash")
