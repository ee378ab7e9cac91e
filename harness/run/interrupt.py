"""Ctrl-C once: finish what is in flight and stop. Twice: stop now, leaving no container behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from harness.docker.engine import connect, sweep
from harness.errors import EXIT_INTERRUPTED


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


@contextmanager
def stop_on_signals(run_label: str) -> Iterator[Stop]:
    """A `Stop` that SIGINT and SIGTERM request; a second signal removes the run's containers and ends the process."""
    stop = Stop()
    signalled = False  # a run that stops for another reason finishes its cells on the first signal, too

    def handle(_signal: int, _frame: FrameType | None) -> None:
        nonlocal signalled
        if not signalled:
            signalled = True
            stop.request("interrupted")
            print("\npolyswe: finishing the cells in flight; again to stop now", file=sys.stderr)
            return
        stop.now = True
        print("\npolyswe: stopping now; finished cells are kept", file=sys.stderr)
        try:
            _kill_children()
            _sweep_until_clean(run_label)
        finally:  # also where the engine does not answer: the next start sweeps
            os._exit(EXIT_INTERRUPTED)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kill_children() -> None:
    """End grading processes and docker commands, which might create another container during the sweep (Linux)."""
    for listing in Path("/proc/self/task").glob("*/children"):
        for child in listing.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)


def _sweep_until_clean(run_label: str) -> None:
    """A container whose client was killed may appear a moment later: look again until none does."""
    client = connect(timeout=20)
    for _ in range(20):
        removed = sweep(client, run_label)
        time.sleep(0.5)
        if not removed and not sweep(client, run_label):
            return
