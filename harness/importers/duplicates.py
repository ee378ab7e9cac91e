"""One run under several names: the same submission folder, or verdicts too alike to be two runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.importers.recorded import RecordedRun

KAPPA = 0.97
"""Agreement beyond chance (Cohen's kappa) from which two records are one run. Re-runs of one model at temperature 0
reach 0.9; the closest two independent entries of 150 submissions to SWE-bench Verified reach 0.94."""
LEAST_COMMON = 100
"""Fewer common instances prove nothing: small records agree by chance."""
LEAST_RESOLVED = 20
"""Nor do two records of near-total failure (or success)."""


def merge_listings(runs: Sequence[RecordedRun]) -> tuple[list[RecordedRun], list[str]]:
    """Each submission once: of several listings of one folder (or one name in one file) the one that knows most.

    Listings agree when no instance has two verdicts; costs that only one knows are a reason to prefer it.
    """
    kept: dict[tuple[str, str], RecordedRun] = {}
    notes: list[str] = []
    for run in runs:
        key = (run.label, run.name if run.folder is None else "")
        first = kept.setdefault(key, run)
        if first is run:
            continue
        common = first.cells.keys() & run.cells.keys()
        if any(first.cells[i].resolved != run.cells[i].resolved for i in common):
            notes.append(f"'{run.name}' is in {first.source} and {run.source} with other outcomes; the first is used")
        elif _wealth(run) > _wealth(first):
            kept[key] = dataclasses.replace(run, fault=run.fault or first.fault)
    return list(kept.values()), notes


def flag_copies(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs, a copy of an earlier one (under another folder or in another file) with the fault of being a copy.

    Two names in one file of the user's own are two runs, whatever their verdicts.
    """
    ids = {instance: place for place, instance in enumerate({i for run in runs for i in run.cells})}
    verdicts = np.full((len(runs), len(ids)), np.nan)
    for line, run in zip(verdicts, runs, strict=True):
        line[[ids[i] for i in run.universe or ()]] = 0.0
        known = [(ids[i], cell.resolved) for i, cell in run.cells.items() if cell.resolved is not None]
        line[[place for place, _ in known]] = [verdict for _, verdict in known]
    copied = copies(verdicts)
    result = list(runs)
    originals: list[int] = []
    for k in sorted(range(len(runs)), key=lambda k: _wealth(runs[k]), reverse=True):
        if runs[k].fault is not None:
            continue
        original = next((runs[o] for o in originals if copied[k, o] and not _named_by_the_user(runs[k], runs[o])), None)
        if original is None:
            originals.append(k)
            continue
        fault = f"its verdicts are those of '{original.name}' ({original.label}) under another name"
        result[k] = dataclasses.replace(runs[k], fault=fault)
    return result


def copies(verdicts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(r, r) whether two of r records (r, n) of 0, 1 or NaN agree more than two runs of one model ever do."""
    known = (~np.isnan(verdicts)).astype(np.float64)
    solved = np.nan_to_num(verdicts)
    failed = known - solved
    common = known @ known.T
    n = np.maximum(common, 1)
    a, b = solved @ known.T, known @ solved.T  # resolved by the one and by the other, of the common instances
    agreement = (solved @ solved.T + failed @ failed.T) / n
    chance = (a * b + (n - a) * (n - b)) / n**2
    extreme = np.minimum(np.minimum(a, b), np.minimum(common - a, common - b)) < LEAST_RESOLVED
    return np.asarray(~extreme & (common >= LEAST_COMMON) & (agreement - chance >= KAPPA * (1 - chance)))


def same_verdicts(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """The same for two records (n,)."""
    return bool(copies(np.stack([a, b]))[0, 1])


def _named_by_the_user(run: RecordedRun, other: RecordedRun) -> bool:
    return run.folder is None and other.folder is None and run.source == other.source


def _wealth(run: RecordedRun) -> tuple[int, int]:
    """How much a record knows: costs first, then verdicts."""
    cells = run.cells.values()
    return sum(cell.cost_usd is not None for cell in cells), sum(cell.resolved is not None for cell in cells)
