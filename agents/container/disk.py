"""Measure how much each container has written: overlay2 enforces no quota on most file systems."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from agents.container.capture import run_captured

LOOK_EVERY_SECONDS = 5.0
"""Pause between two measurements."""


class Watched(Protocol):
    """A container, as far as the disk watch needs to know it."""

    name: str

    @property
    def disk_bytes(self) -> float:
        """Bytes that the container may write; infinite without a limit."""

    def overflow(self) -> None:
        """End the container, which has written more than it may."""


class DiskWatch:
    """One thread for all containers of an engine, alive while there are any, that ends those which hold too much."""

    def __init__(self, client: Sequence[str], every: float = LOOK_EVERY_SECONDS) -> None:
        """
        Args:
            client: Docker's client program, with the arguments that choose the engine.
            every: seconds between two measurements.
        """
        self.client = client
        self.every = every
        self._containers: dict[str, Watched] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, container: Watched) -> None:
        with self._changed:
            self._containers[container.name] = container
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="disk-watch", daemon=True)
                self._thread.start()

    def discard(self, container: Watched) -> None:
        with self._changed:
            self._containers.pop(container.name, None)
            self._changed.notify()

    def _watch(self) -> None:
        pause = self.every
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._containers, timeout=pause)
                if not self._containers:
                    self._thread = None
                    return
                watched = dict(self._containers)
            started = time.monotonic()
            for name, size in self._written(list(watched)).items():
                if size > watched[name].disk_bytes and name in self._containers:
                    watched[name].overflow()
            # the engine walks through the files: use a tenth of one core at most
            pause = max(self.every, 10 * (time.monotonic() - started))

    def _written(self, names: Sequence[str]) -> dict[str, int]:
        """Bytes in each container's writable layer, in one question to the engine; vanished ones are left out."""
        command = [*self.client, "inspect", "-s", "--type", "container", "-f", "{{.Name}} {{.SizeRw}}", *names]
        try:
            done = run_captured(command, timeout=120, max_bytes=1_000_000)
        except OSError:
            return {}
        pairs = (line.lstrip("/").split() for line in done.text.splitlines() if line.startswith("/"))
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in names and pair[1].isdigit()}
