"""Ctrl-C once: finish what is in flight and stop. Twice: stop now, leaving no container behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.docker_engine import connect, sweep
from harness.engines.base import Stop
from harness.errors import EXIT_INTERRUPTED


@contextmanager
def stop_on_signals(run_label: str) -> Iterator[Stop]:
    """A `Stop` that SIGINT and SIGTERM request; a second signal removes the run's containers and ends the process."""
    stop = Stop()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if not stop.requested:
            stop.request("interrupted")
            print("\npolyswe: finishing the cells in flight; again to stop now", file=sys.stderr)
            return
        print("\npolyswe: stopping now; finished cells are kept", file=sys.stderr)
        sweep(connect(timeout=20), run_label)
        os._exit(EXIT_INTERRUPTED)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
