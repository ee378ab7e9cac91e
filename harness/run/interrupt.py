"""Ctrl-C once: finish what is in flight and stop. Twice: stop now, leaving no container behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from harness.docker.engine import connect, sweep
from harness.errors import EXIT_INTERRUPTED

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a user or the system asks a run to end with."""


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
def stop_on_signals(run_label: str, stop: Stop | None = None) -> Iterator[Stop]:
    """A `Stop` that SIGINT, SIGTERM and SIGHUP request; at a second one the run's containers go and the process ends.

    A signal that was ignored before, as `nohup` does with SIGHUP, stays ignored.
    """
    stop = stop or Stop()
    terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]
    signalled = False  # a run that stops for another reason finishes its cells on the first signal, too

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal signalled
        if number == signal.SIGHUP:
            _discard(terminals)
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

    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _discard(terminals: Sequence[int]) -> None:
    """Let what is still printed go nowhere: a terminal that has hung up answers every write with an error."""
    with Path(os.devnull).open("w") as nowhere:
        for terminal in terminals:
            os.dup2(nowhere.fileno(), terminal)


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
