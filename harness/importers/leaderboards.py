"""The SWE-bench site's `data/leaderboards.json`, as it is published.

Rows of the boards `bash-only`, `Verified` and `Multilingual` carry `per_instance_details`
{instance id: {resolved, cost, api_calls}} for the runs of mini-SWE-agent. One run is listed on two boards under two
names ("Claude 4.5 Opus medium" and "mini-SWE-agent + Claude 4.5 Opus medium") but with one `folder`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.importers.details import parsed, read_cells
from harness.importers.recorded import RecordedOutcomes, RecordedRun
from harness.importers.source import Source
from harness.text import counted

CONTRADICTION_POINTS = 0.5
"""A recorded rate further from the published percentage than this is another run's record."""
PREFERRED_BOARD = "bash-only"
"""Its names are the models' own; other boards put the agent in front."""


def matches(source: Source) -> bool:
    """Whether it is JSON: other kinds of JSON are matched before."""
    return source.is_json


def read(source: Source) -> RecordedOutcomes:
    """Every run with per-instance outcomes, each once.

    Raises:
        InputError: not JSON, cut off, or not the site's shape.
    """
    document = parsed(source.text, source.label)
    boards = document.get("leaderboards") if isinstance(document, dict) else None
    if not isinstance(boards, list) or not all(isinstance(board, dict) for board in boards):
        raise InputError(
            f"{source.label}: JSON without a list 'leaderboards'; expected the SWE-bench site's data/leaderboards.json"
        )
    runs: dict[str, RecordedRun] = {}
    notes: list[str] = []
    without_details = 0
    for board in sorted(boards, key=lambda board: board.get("name") != PREFERRED_BOARD):
        rows = board.get("results")
        if not isinstance(rows, list):
            raise InputError(f"{source.label}: board '{board.get('name')}' has no list 'results'; download it again")
        for row in rows:
            run = _read_row(row, str(board.get("name")), source.label)
            if run is None:
                without_details += 1
            elif (first := runs.setdefault(run.label, run)) is not run and first.cells != run.cells:
                notes.append(
                    f"'{run.name}' ({run.board}) has the folder of '{first.name}' but other outcomes; left out"
                )
    if not runs:
        raise InputError(
            f"{source.label}: no row has per_instance_details; only runs recorded per instance can be used"
        )
    if without_details:
        notes.append(
            f"{Path(source.label).name}: skipped {counted(without_details, 'row')} without per-instance outcomes"
        )
    return RecordedOutcomes(tuple(runs.values()), tuple(notes))


def _read_row(row: Any, board: str, label: str) -> RecordedRun | None:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{label}: board '{board}' has a row without a name; download it again")
    details = row.get("per_instance_details")
    if not details:
        return None
    cells = read_cells(details, f"{label}: per_instance_details of '{name}'")
    run = RecordedRun(
        name=" ".join(name.split()),
        source=label,
        cells=cells,
        board=board,
        folder=row.get("folder") or f"{board}/{name}",
        agent=f"mini-swe-agent {row.get('mini-swe-agent_version') or ''}".strip(),
        date=row.get("date"),
    )
    return _check_against_published(run, row.get("resolved"), row.get("instance_cost"))


def _check_against_published(run: RecordedRun, percent: Any, instance_cost: Any) -> RecordedRun:
    known = [cell.resolved for cell in run.cells.values() if cell.resolved is not None]
    costs = [cell.cost_usd for cell in run.cells.values() if cell.cost_usd is not None]
    notes: list[str] = []
    fault = None
    if isinstance(percent, (int, float)) and known:
        recorded = 100 * sum(known) / len(known)
        rates = f"{percent:g} % was published, {sum(known)} of {len(known)} = {recorded:.4g} % is recorded per instance"
        if abs(recorded - percent) > CONTRADICTION_POINTS:
            fault = rates
        elif abs(recorded - percent) > _half_a_unit(percent):
            notes.append(f"{run.name}: {rates}; the published rate has another denominator")
    if isinstance(instance_cost, (int, float)) and costs:
        mean = sum(costs) / len(costs)
        if abs(mean - instance_cost) > 0.01 * max(mean, instance_cost):
            notes.append(f"{run.name}: ${instance_cost:.4f} an instance was published, ${mean:.4f} is recorded")
    elif costs:
        notes.append(f"{run.name}: the site publishes no cost for this run; its recorded costs may be wrong")
    return dataclasses.replace(run, fault=fault, notes=tuple(notes))


def _half_a_unit(percent: float) -> float:
    """What rounding may hide: the site prints one decimal ("74" is 74.0), and more only where it means them."""
    decimals = len(repr(float(percent)).partition(".")[2])
    return 0.5 * 10.0**-decimals + 1e-9
