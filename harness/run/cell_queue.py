"""The order in which cells start: the given one, but other models' cells overtake those of a model at its limit."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents.rate_limit import RateLimit
from harness.store.rows import Cell

POLL_SECONDS = 0.5
"""How long a stop may go unnoticed by an agent worker that waits for a cell."""


@dataclass(frozen=True)
class StartLimits:
    """What keeps a cell waiting although an agent worker is free."""

    max_parallel: Mapping[str, int] = field(default_factory=dict)
    """Model → attempts at the same time."""
    rates: Mapping[str, RateLimit] = field(default_factory=dict)
    """Model → its calls and tokens a minute."""
    reach: int | None = None
    """How many instances may be under way at the same time: the images of all of them stay on the disk. None means no
    limit."""


class CellQueue:
    """Hands out cells to agent workers; a cell that has to wait occupies none. Thread-safe."""

    def __init__(self, cells: Sequence[Cell], limits: StartLimits, stopped: Callable[[], bool]) -> None:
        """
        Args:
            cells: In the order they start where no limit keeps them waiting.
            limits: What may keep them waiting.
            stopped: Whether no further cell shall start.
        """
        self._limits = limits
        self._stopped = stopped
        ranks: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, int, Cell]]] = {}
        """Model → its cells, each after its place in the order and its instance's."""
        for place, cell in enumerate(cells):
            rank = ranks.setdefault(cell.instance_id, len(ranks))
            self._waiting.setdefault(cell.model, deque()).append((place, rank, cell))
        self._at_work: list[tuple[str, int]] = []
        """Of each cell at work its model, and its instance's place."""
        self._changed = threading.Condition()

    @contextmanager
    def next(self) -> Iterator[Cell | None]:
        """The next cell, once there is one that may start, at work while the context lasts; None when there is none."""
        taken = self._take()
        if taken is None:
            yield None
            return
        cell, rank = taken
        try:
            yield cell
        finally:
            with self._changed:
                self._at_work.remove((cell.model, rank))
                self._changed.notify_all()

    def _take(self) -> tuple[Cell, int] | None:
        with self._changed:
            while any(self._waiting.values()) and not self._stopped():
                taken, wait = self._startable()
                if taken is not None:
                    cell, rank = taken
                    self._at_work.append((cell.model, rank))
                    return taken
                self._changed.wait(min(wait, POLL_SECONDS))
        return None

    def _startable(self) -> tuple[tuple[Cell, int] | None, float]:
        """The first cell that may start and its instance's place; else the seconds until it is worth looking again."""
        heads = sorted(queue[0] for queue in self._waiting.values() if queue)
        at_work = Counter(model for model, _ in self._at_work)
        least_rank = min([*(rank for _, rank, _ in heads), *(rank for _, rank in self._at_work)])
        wait = POLL_SECONDS
        for _, rank, cell in heads:
            if self._limits.reach is not None and rank >= least_rank + self._limits.reach:
                continue
            at_most = self._limits.max_parallel.get(cell.model)
            if at_most is not None and at_work[cell.model] >= at_most:
                continue
            rate = self._limits.rates.get(cell.model)
            if rate is not None and (seconds := rate.start()) > 0:
                wait = min(wait, seconds)
                continue
            self._waiting[cell.model].popleft()
            return (cell, rank), 0.0
        return None, wait
