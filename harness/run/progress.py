"""What a person sees while a run goes on: cells done, resolved, cost so far, time left."""

from __future__ import annotations

import sys
import threading

from tqdm import tqdm

from harness.text import line


class Progress:
    """A live line on a terminal, an occasional line in a log file. Safe to call from many threads."""

    def __init__(self, total: int, *, done: int = 0, resolved: int = 0, cost: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._resolved, self._cost, self._failed, self._agents, self._gradings = resolved, cost, 0, 0, 0
        live = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            unit="cell",
            dynamic_ncols=live,
            ncols=None if live else 110,
            mininterval=0.2 if live else 15,
            # each new cell counts as much as the last ones: cells differ widely in length
            smoothing=0.1,
            bar_format="{desc} |{bar:12}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            desc="cells",
        )
        self._show()

    def agent_started(self) -> None:
        with self._lock:
            self._agents += 1
            self._show()

    def agent_ended(self, cost: float) -> None:
        with self._lock:
            self._agents -= 1
            self._cost += cost
            self._show()

    def grading_started(self) -> None:
        with self._lock:
            self._gradings += 1
            self._show()

    def grading_ended(self) -> None:
        with self._lock:
            self._gradings -= 1
            self._show()

    def cell_done(self, *, resolved: bool) -> None:
        with self._lock:
            self._resolved += resolved
            self._show()
            self._bar.update(1)

    def cell_failed(self, message: str) -> None:
        """A cell without a verdict: said at once, on a line of its own."""
        with self._lock:
            self._failed += 1
            self._bar.write(line(message), file=sys.stderr)
            self._show()

    def say(self, message: str) -> None:
        with self._lock:
            self._bar.write(line(message), file=sys.stderr)

    def close(self) -> None:
        self._bar.close()

    def _show(self) -> None:
        failed = f", failed {self._failed}" if self._failed else ""
        self._bar.set_postfix_str(
            f"resolved {self._resolved}, ${self._cost:.2f}{failed}, agents {self._agents}, grading {self._gradings}",
            refresh=False,
        )
