"""The failure table of a run: how its cells ended, and what a later try overcame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.evaluation.schema import Failure
from harness.grading.verdict import Verdict
from harness.run.failures import KINDS, kind_of
from harness.store.rows import CellRow, FailureRow, State


def ending(row: CellRow) -> str | None:
    """The one kind a cell counts under in the failure table; None for a plain verdict and for what was never tried."""
    if row.state is not State.GRADED:
        return row.failure
    if row.exit_status in KINDS and row.verdict is not Verdict.RESOLVED:
        return row.exit_status
    return str(row.verdict) if row.verdict in KINDS else None


def failure_table(rows: Sequence[CellRow], failure_events: Sequence[FailureRow]) -> list[Failure]:
    """Kind × model, the model's own kinds first: how cells ended, and what a later try overcame."""
    endings = {row.cell: kind for row in rows if (kind := ending(row)) is not None}
    ended = Counter((kind, cell.model) for cell, kind in endings.items())
    earlier = Counter((event.kind, event.model) for event in failure_events)
    for cell, kind in endings.items():
        if not kind_of(kind).scored:
            earlier[kind, cell.model] -= 1  # the last time is how the cell ended
    seen = {kind for kind, _ in ended} | {kind for (kind, _), count in earlier.items() if count > 0}
    order = [*KINDS, *sorted(seen - KINDS.keys())]
    return [
        Failure(
            kind=kind.name,
            whose=kind.owner.value,
            scored=kind.scored,
            retried=kind.retried,
            cells={model: count for (name, model), count in sorted(ended.items()) if name == kind.name},
            earlier={model: n for (name, model), n in sorted(earlier.items()) if name == kind.name and n > 0},
        )
        for kind in map(kind_of, order)
        if kind.name in seen
    ]
