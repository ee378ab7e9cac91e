"""A run's flagged attempts, for its results and their notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from agents.leaks import Flag
from harness.evaluation.schema import FlaggedAttempt
from harness.report.flag_kinds import FLAG_KINDS
from harness.store.rows import Cell


def flagged_attempts(flags: Mapping[Cell, Sequence[Flag]], cells: Sequence[Cell]) -> list[FlaggedAttempt]:
    """Those of `cells` that were flagged, a row a kind, with the first command that showed it and succeeded, if any."""
    rows = []
    for cell in sorted(set(cells) & set(flags)):
        for kind in FLAG_KINDS:
            signs = [flag for flag in flags[cell] if flag.kind == kind]
            if signs:
                first = next((flag for flag in signs if not flag.failed), signs[0])
                rows.append(
                    FlaggedAttempt(
                        instance_id=cell.instance_id,
                        model=cell.model,
                        attempt=cell.attempt,
                        kind=kind,
                        times=len(signs),
                        step=first.step,
                        command=first.command,
                        failed=all(flag.failed for flag in signs),
                    )
                )
    return rows


def flag_notes(flagged: Sequence[FlaggedAttempt]) -> list[str]:
    """One line for the notes; empty when nothing was flagged."""
    if not flagged:
        return []
    cells = len({(row.instance_id, row.model, row.attempt) for row in flagged})
    kinds = Counter(row.kind for row in flagged)
    counts = "; ".join(f"{FLAG_KINDS[kind]} ({count})" for kind, count in kinds.most_common())
    failed = sum(row.failed for row in flagged)
    failed_note = f"; {failed} of these commands failed" if failed else ""
    if cells == 1:
        return [f"1 attempt is flagged, see results.json: {counts}{failed_note}; it is counted like any other"]
    return [f"{cells} attempts are flagged, see results.json: {counts}{failed_note}; they are counted like any other"]
