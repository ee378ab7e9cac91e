"""What the pipeline and an engine agree on."""

from __future__ import annotations

import threading
from typing import Protocol

from harness.store import Cell


class Work(Protocol):
    """The two stages of a cell. Both record what they did in the store and say whether the cell goes on."""

    def attempt(self, cell: Cell) -> bool:
        """Let the cell's model work on its instance; True when there is a patch to grade."""

    def grade(self, cell: Cell) -> None:
        """Grade the cell's patch."""


class Stop:
    """Asks a run to end: cells in flight are finished, no other is started."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""
        self.now = False
        """The process is about to end: nothing is started or tried again, not even a grading."""

    def request(self, reason: str) -> None:
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()
