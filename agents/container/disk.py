"""Looking at how much each container has written: overlay2 enforces no quota on most file systems."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from agents.container.capture import run_captured

if TYPE_CHECKING:
    from agents.container.environment import Container

LOOK_EVERY_SECONDS = 5.0


class DiskWatch:
    """One thread a process, alive while there are containers, that ends those which hold more than they may."""

    def __init__(self, every: float = LOOK_EVERY_SECONDS) -> None:
        self.every = every
        self._containers: dict[str, Container] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, container: Container) -> None:
        if container.config.limits.disk_gb is None:
            return
        with self._changed:
            self._containers[container.name] = container
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="disk-watch", daemon=True)
                self._thread.start()

    def discard(self, container: Container) -> None:
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
                watched = list(self._containers.values())
            started = time.monotonic()
            for name, size in _written(watched[0].config.executable, [container.name for container in watched]).items():
                container = self._containers.get(name)
                if container is not None and size > container.config.limits.disk_bytes:
                    container.overflow()
            # the engine walks through the files: a tenth of one core at most
            pause = max(self.every, 10 * (time.monotonic() - started))


def _written(executable: str, names: list[str]) -> dict[str, int]:
    """Bytes in each container's writable layer, in one question to the engine; vanished ones are left out."""
    command = [executable, "inspect", "-s", "--type", "container", "-f", "{{.Name}} {{.SizeRw}}", *names]
    try:
        done = run_captured(command, timeout=120, max_bytes=1_000_000)
    except OSError:
        return {}
    pairs = (line.lstrip("/").split() for line in done.text.splitlines() if line.startswith("/"))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


DISK_WATCH = DiskWatch()
