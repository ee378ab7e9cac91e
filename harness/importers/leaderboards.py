"""The SWE-bench site's `data/leaderboards.json`, as it is published.

Rows of the boards `bash-only`, `Verified` and `Multilingual` carry `per_instance_details`
{instance id: {resolved, cost, api_calls}} for the runs of mini-SWE-agent. One run is listed on two boards under two
names ("Claude 4.5 Opus medium" and "mini-SWE-agent + Claude 4.5 Opus medium") but with one `folder`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source

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
    try:
        document = json.loads(source.text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise InputError(
            f"{source.label}: not valid JSON ({where}); the file is damaged or half-written, download it again"
        ) from None
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
        notes.append(f"{Path(source.label).name}: {without_details} rows without per-instance outcomes were skipped")
    return RecordedOutcomes(tuple(runs.values()), tuple(notes))


def _read_row(row: Any, board: str, label: str) -> RecordedRun | None:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{label}: board '{board}' has a row without a name; download it again")
    details = row.get("per_instance_details")
    if not details:
        return None
    if not isinstance(details, dict):
        raise InputError(f"{label}: per_instance_details of '{name}' is not an object; download it again")
    cells = {instance: _read_cell(cell, f"{label}: '{name}', {instance}") for instance, cell in details.items()}
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


def _read_cell(cell: Any, where: str) -> RecordedCell:
    resolved = cell.get("resolved") if isinstance(cell, dict) else None
    if resolved not in (True, False, None) or not isinstance(cell, dict):
        raise InputError(f"{where}: resolved is {resolved!r}, expected true or false; download the file again")
    return RecordedCell(
        resolved=None if resolved is None else bool(resolved),
        cost_usd=_amount(cell.get("cost"), f"{where}: cost"),
        api_calls=_amount(cell.get("api_calls"), f"{where}: api_calls"),
    )


def _amount(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise InputError(f"{where} is {value!r}, expected a number of at least 0; download the file again")
    return float(value)


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
