"""Exceptions."""

from collections.abc import Sequence


class DepgraphError(Exception):
    pass


class FormatError(DepgraphError):
    """A line of the text format makes no sense."""

    def __init__(self, line_number: int, problem: str) -> None:
        super().__init__(f"line {line_number}: {problem}")
        self.line_number = line_number


class CycleError(DepgraphError):
    """Some tasks need each other; ``path`` shows how, first and last being the same task."""

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__("tasks need each other: " + " -> ".join(path))
        self.path = tuple(path)
