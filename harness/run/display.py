"""What a person sees while a run goes on: a table of the models on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from harness.run.status import INTERRUPTED, ModelStatus, RunStatus
from harness.text import line

SECONDS_BETWEEN_LINES = 15.0
"""Between two lines about the progress where there is no terminal."""
REFRESHES_PER_SECOND = 2
WORK_SHOWN = 8
"""Cells at work that are named at most."""
LEAST_NAME = 16
"""Columns of the terminal that a longer model name keeps."""


class Snapshot(Protocol):
    """What a display shows."""

    def models(self) -> Sequence[ModelStatus]: ...

    def at_work(self) -> Sequence[str]:
        """A line for each cell at work, the longest at work first."""

    def summary(self) -> str:
        """All models together, in one line."""


class Display(Protocol):
    """Shows a snapshot again and again, and messages in between."""

    def update(self) -> None:
        """Something has changed."""

    def print(self, message: str) -> None:
        """Show a message that stays."""

    def close(self) -> None: ...


def make_display(snapshot: Snapshot, stream: TextIO | None = None) -> Display:
    """The display that fits where the program's messages go."""
    stream = stream or sys.stderr
    live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if live and not os.environ.get("NO_COLOR") and not os.environ.get("CI"):
        return LiveDisplay(snapshot, Console(file=stream, highlight=False))
    return PlainDisplay(snapshot, stream)


class PlainDisplay:
    """Lines of text, for log files and terminals that cannot move their cursor."""

    def __init__(self, snapshot: Snapshot, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._snapshot = snapshot
        self._stream = stream
        self._clock = clock
        self._shown_at = clock()
        self._shown = ""

    def update(self) -> None:
        if self._clock() - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._show()

    def print(self, message: str) -> None:
        print(line(message), file=self._stream, flush=True)

    def close(self) -> None:
        self._show()

    def _show(self) -> None:
        self._shown_at = self._clock()
        summary = self._snapshot.summary()
        if summary != self._shown:
            self._shown = summary
            self.print(summary)


class LiveDisplay:
    """A table at the end of the terminal's output, drawn anew in place; messages go above it."""

    def __init__(self, snapshot: Snapshot, console: Console) -> None:
        self._snapshot = snapshot
        self._console = console
        self._live = Live(
            get_renderable=lambda: _Table(snapshot),
            console=console,
            redirect_stdout=False,  # the result's, perhaps of another pipe
            refresh_per_second=REFRESHES_PER_SECOND,
            vertical_overflow="crop",
        )

    def update(self) -> None:
        """The table is drawn by a clock; it begins when the first cell is at work."""
        if not self._live.is_started:
            self._live.start()
            self._console.show_cursor(True)  # a run that is ended by force must not leave a terminal without one

    def print(self, message: str) -> None:
        self._console.print(Text(line(message)), soft_wrap=True)

    def close(self) -> None:
        if self._live.is_started:
            self._live.stop()


class _Table:
    """The table and what is at work, as wide as the terminal is at the moment."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, models = options.max_width, self._snapshot.models()
        for number, row in enumerate(model_lines(models, width)):
            yield Text(row, style="bold" if number == 0 else "", no_wrap=True, overflow="crop")
        room = max(0, min(WORK_SHOWN, (options.height or console.height) - len(models) - 5))
        at_work = self._snapshot.at_work()
        for row in at_work[:room]:
            yield Text(cut(f"  {row}", width), style="dim", no_wrap=True, overflow="crop")
        if room and len(at_work) > room:
            yield Text(cut(f"  … and {len(at_work) - room} more", width), style="dim")
        yield Text(cut(self._snapshot.summary(), width), no_wrap=True, overflow="crop")


def model_lines(models: Sequence[ModelStatus], width: int) -> list[str]:
    """A table of the models, a line each below a head, at most `width` columns wide.

    On a narrow terminal the columns that say least are left out, then names are cut.
    """
    names = ["model", *(line(model.name) for model in models)]
    longest = max(map(cell_len, names))
    columns = {head: [head, *(figure(model) for model in models)] for head, figure in COLUMNS.items()}
    if any(model.interrupted for model in models):
        columns["running"] = [INTERRUPTED, *(str(model.interrupted) for model in models)]

    def room() -> int:
        return width - sum(max(map(len, values)) + 2 for values in columns.values())

    for head in LEFT_OUT_FIRST:
        if room() < min(longest, LEAST_NAME):
            del columns[head]
    name_width = max(1, min(longest, room()))
    rows = [
        "".join([_padded(name, name_width), *(f"  {value:>{max(map(len, values))}}" for value, values in cells)])
        for name, cells in zip(names, _rows(columns), strict=True)
    ]
    return [cut(row, width) for row in rows]


def _rows(columns: Mapping[str, Sequence[str]]) -> Iterator[list[tuple[str, Sequence[str]]]]:
    """Row by row, each value beside its whole column."""
    for place in range(len(next(iter(columns.values())))):
        yield [(values[place], values) for values in columns.values()]


def _running(model: ModelStatus) -> str:
    return f"{model.running} ({model.awaiting_turn} wait)" if model.awaiting_turn else str(model.running)


def cost(of: ModelStatus | RunStatus) -> str:
    """USD, or that they are more than this, or unknown: others' attempts may state no cost."""
    return known_cost(of.cost_usd, of.unpriced)


def known_cost(cost_usd: float, unpriced: int) -> str:
    """USD, where `unpriced` attempts add an unknown amount."""
    if unpriced and not cost_usd:
        return "unknown"
    return ("≥ " if unpriced else "") + f"${cost_usd:.2f}"


def duration(hours: float | None) -> str:
    """Hours or minutes, at least one minute; empty where nobody knows."""
    if hours is None:
        return ""
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1.0, hours * 60):.0f} min"


COLUMNS: Mapping[str, Callable[[ModelStatus], str]] = {
    "done": lambda model: f"{model.graded}/{model.cells}",
    "resolved": lambda model: str(model.resolved),
    "running": _running,
    "waiting": lambda model: str(model.waiting),
    "failed": lambda model: str(model.failed),
    "cost": cost,
    "rate": lambda model: "" if model.cells_per_hour is None else f"{model.cells_per_hour:.0f}/h",
    "left": lambda model: duration(model.hours_left),
}
"""The table's columns behind the model's name: head → what a row shows."""
LEFT_OUT_FIRST = ("waiting", "rate", "left", "running")
"""Columns that a narrow terminal does not show, the first ones first."""


def cut(text: str, width: int) -> str:
    """A line that takes at most `width` columns of a terminal."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def _padded(name: str, width: int) -> str:
    return set_cell_size(cut(name, width), width)
