"""Where a sequential test stands in its run's store, and the request to stop as soon as the answer is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.compare.load import load_side
from harness.regression.plan import ROUTED, Comparison, Plan
from harness.run.interrupt import Stop
from harness.run.spending import spent_by
from harness.store.keys import Change, change
from harness.store.rows import Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from router.lab.sequential import Decision, Look

SECONDS_BETWEEN_LOOKS = 2.0
LOOKS_TAKE = 0.05
"""of the time at most: a cascade's outcomes take the router to read"""
NO_MORE = "no further instance was needed"
"""Why a decided or a hopeless test ends."""


@dataclass(frozen=True)
class Progress:
    """The verdicts of the new side so far."""

    verdicts: Mapping[str, Mapping[str, float]]
    """By name and instance; NaN for a cell that ended without a verdict."""
    spent_usd: float


def read_progress(plan: Plan, folder: RunFolder) -> Progress:
    """What the run's store says now."""
    if not folder.store_path.is_file():
        return Progress({comparison.name: {} for comparison in plan.comparisons}, 0.0)
    with Store(folder.store_path, read_only=True) as store:
        rows = [row for row in store.rows() if row.attempt == 1]
    spent = spent_by(folder)
    if plan.comparisons[0].name == ROUTED:
        return Progress({ROUTED: _routed_verdicts(plan, folder, rows)}, spent)
    verdicts: dict[str, dict[str, float]] = {comparison.name: {} for comparison in plan.comparisons}
    for row in rows:
        if row.model in verdicts and row.state in (State.GRADED, State.FAILED):
            failed = row.state is State.FAILED
            verdicts[row.model][row.instance_id] = np.nan if failed else float(row.verdict == "resolved")
    return Progress(verdicts, spent)


def _routed_verdicts(plan: Plan, folder: RunFolder, rows: Sequence[CellRow]) -> dict[str, float]:
    verdicts = {row.instance_id: np.nan for row in rows if row.state is State.FAILED}
    if any(row.state is State.GRADED for row in rows):
        side = load_side(str(folder.path), trust_embedder=plan.trust_embedder)
        verdicts |= {i: values[0] for i, values in (side.routed or {}).items()}
    return verdicts


def rows_of(folder: RunFolder) -> list[CellRow]:
    """The cells on record; none before the first start."""
    if not folder.store_path.is_file():
        return []
    with Store(folder.store_path, read_only=True) as store:
        return store.rows()


def is_outdated(rows: Sequence[CellRow], cells: Mapping[Cell, str]) -> bool:
    """Whether verdicts on record were obtained with other settings than those planned now.

    Args:
        rows: On record.
        cells: Planned now, each with its key.
    """
    return any(row.cell in cells and change(row.key, cells[row.cell]) is not Change.NONE for row in rows)


def look(plan: Plan, comparison: Comparison, verdicts: Mapping[str, float]) -> Look:
    """The first decision among the instances that are finished without a gap, or where the test stands after them.

    It may end after every ten instances, as in results/regression. What finished out of order does not count yet: which
    cells end early may depend on their verdicts. Cells that were in flight when it was decided do not undo it.
    """
    finished = next((k for k, i in enumerate(plan.instances) if i not in verdicts), len(plan.instances))
    if not finished:
        return Look(Decision.OPEN, 0, 0, 0, 1.0, 1.0, 1.0)
    gate, base = comparison.gate, comparison.base[:finished]
    new = np.array([verdicts[i] for i in plan.instances[:finished]])
    looks = gate.looks(base, new, [after for after in gate.schedule() if after <= finished])
    decided = next((one for one in looks if one.decision is not Decision.OPEN), None)
    return decided or replace(gate.look(base, new), decision=Decision.OPEN)


class StopWhenDecided(Stop):
    """Asks the run to end once every comparison is decided or hopeless."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        super().__init__()
        self._plan, self._folder = plan, folder
        self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        self._lock = threading.Lock()

    @property
    def requested(self) -> bool:
        if not super().requested and self._lock.acquire(blocking=False):
            try:
                began = time.monotonic()
                if began >= self._next_look:
                    if is_decided(self._plan, self._folder):
                        self.request(NO_MORE)
                    now = time.monotonic()
                    self._next_look = now + max(SECONDS_BETWEEN_LOOKS, (now - began) / LOOKS_TAKE)
            finally:
                self._lock.release()
        return super().requested


def is_decided(plan: Plan, folder: RunFolder) -> bool:
    """Whether running more instances would change nothing: one model is worse, or none is open."""
    progress = read_progress(plan, folder)
    looks = [look(plan, comparison, progress.verdicts[comparison.name]) for comparison in plan.comparisons]
    return any(found.decision is Decision.WORSE for found in looks) or all(
        found.decision is not Decision.OPEN for found in looks
    )
