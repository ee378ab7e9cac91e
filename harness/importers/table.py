"""Outcomes as plain CSV, in and out: one row per cell, blank means unknown."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.files import write_atomic
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source
from harness.text import csv_original, csv_text
from router.outcomes import OutcomeMatrix

REQUIRED = ("instance_id", "model", "resolved")
AMOUNTS = ("cost_usd", "api_calls", "seconds")
ATTEMPT = "attempt"
"""Column that tells repeated attempts apart, from 1; without it, or where it is blank, a cell has one attempt."""
MOST_ATTEMPTS = 1000
SIGNAL = "signal_"
"""Begins the names of columns that hold signals of finished attempts (`agents.signals`)."""
TRUTH = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": None}


def matches(source: Source) -> bool:
    """Whether it is a text that is no JSON."""
    return bool(source.text) and not source.is_json


def read(source: Source) -> RecordedOutcomes:
    """One run per distinct `model`; columns beyond those of the contract are ignored.

    Raises:
        InputError: a required column is missing, a row is cut off, a value is not of its kind, or a cell comes twice.
    """
    reader = csv.DictReader(io.StringIO(source.text), skipinitialspace=True)
    columns = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise InputError(
            f"{source.label}: no column {' or '.join(map(repr, missing))} (it has: {', '.join(columns)[:200]}); "
            f"a CSV of outcomes needs {', '.join(REQUIRED)}"
        )
    cells: dict[str, dict[int, dict[str, RecordedCell]]] = {}
    lines: dict[tuple[str, str, int], int] = {}
    about: dict[str, dict[str, str]] = {}
    try:
        for row in reader:
            where = f"{source.label}: line {reader.line_num}"
            if None in row or None in row.values():
                raise InputError(f"{where}: not {len(columns)} columns; the row is cut off or has a stray comma")
            row = {column: value.strip() for column, value in row.items()}
            instance, model = csv_original(row["instance_id"]), csv_original(row["model"])
            if not instance or not model:
                raise InputError(f"{where}: blank {'model' if instance else 'instance_id'}; fill it in")
            attempt = _attempt(row.get(ATTEMPT, ""), where)
            first = lines.setdefault((instance, model, attempt), reader.line_num)
            if first != reader.line_num:
                raise InputError(
                    f"{source.label}: lines {first} and {reader.line_num} are both {instance} with '{model}'; "
                    f"keep one row per cell, or number repeated attempts in a column '{ATTEMPT}'"
                )
            cells.setdefault(model, {}).setdefault(attempt, {})[instance] = _read_cell(row, where)
            about.setdefault(model, row)
    except csv.Error as error:
        raise InputError(f"{source.label}: line {reader.line_num}: {error}; the file is damaged") from None
    if not cells:
        raise InputError(f"{source.label}: a header and no rows; there are no outcomes in it")
    runs = (
        RecordedRun(
            name=model,
            source=source.label,
            cells=attempts[min(attempts)],
            repeats=tuple(attempts.get(number, {}) for number in range(min(attempts) + 1, max(attempts) + 1)),
            agent=about[model].get("agent") or None,
            date=about[model].get("date") or None,
            flag=about[model].get("flag") or None,
        )
        for model, attempts in cells.items()
    )
    return RecordedOutcomes(tuple(runs))


def _read_cell(row: dict[str, str], where: str) -> RecordedCell:
    if row["resolved"].casefold() not in TRUTH:
        raise InputError(f"{where}: resolved is '{row['resolved']}', expected 0, 1 or blank")
    cost, calls, seconds = (_amount(row.get(column, ""), column, where) for column in AMOUNTS)
    signals = {
        column.removeprefix(SIGNAL): _number(text, column, where)
        for column, text in row.items()
        if column.startswith(SIGNAL) and text
    }
    verdict = TRUTH[row["resolved"].casefold()]
    return RecordedCell(verdict, cost, calls, seconds, row.get("exit_status") or None, signals)


def _attempt(text: str, where: str) -> int:
    if not text:
        return 1
    if not text.isdecimal() or len(text) > len(str(MOST_ATTEMPTS)) or not 1 <= int(text) <= MOST_ATTEMPTS:
        raise InputError(
            f"{where}: {ATTEMPT} is '{text[:40]}', expected a whole number from 1 to {MOST_ATTEMPTS}, or blank"
        )
    return int(text)


def _amount(text: str, column: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{where}: {column} is '{text}', expected a number of at least 0, or blank")
    return value


def _number(text: str, column: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {column} is '{text}', expected a number, or blank")
    return value


def write_outcomes_csv(
    matrix: OutcomeMatrix,
    path: Path,
    details: Mapping[tuple[str, str, int], Mapping[str, object]] | None = None,
    repeats: Sequence[OutcomeMatrix] = (),
) -> None:
    """Write every cell of a matrix, instance by instance; `read` gives the same numbers back.

    Args:
        matrix: The outcomes.
        path: The file.
        details: Further columns of a cell, by instance, model and attempt: the same ones for every cell that has any.
        repeats: Outcomes of the second attempts, of the third, …; their cells without verdict and details are left out.
    """
    details = details or {}
    further = list(next(iter(details.values()), {}))
    numbered = [ATTEMPT] if repeats else []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*REQUIRED, *AMOUNTS, *(SIGNAL + name for name in matrix.signals), *numbered, *further])
    for attempt, outcomes in enumerate((matrix, *repeats), start=1):
        unknown = np.full(outcomes.resolved.shape, np.nan)
        signals = (outcomes.signals.get(name, unknown) for name in matrix.signals)
        amounts = (outcomes.resolved, outcomes.cost, outcomes.calls, outcomes.seconds, *signals)
        columns = ([_shown(number) for number in values.ravel().tolist()] for values in amounts)
        for cell, *shown in zip(itertools.product(outcomes.instances, outcomes.models), *columns, strict=True):
            own = details.get((*cell, attempt), {})
            if attempt == 1 or own or shown[0]:
                number = [str(attempt)] if repeats else []
                writer.writerow([*map(csv_text, cell), *shown, *number, *(_detail(own.get(name)) for name in further)])
    write_atomic(path, buffer.getvalue())


def _detail(value: object) -> str:
    """A further column's value; blank where there is none."""
    return "" if value is None else repr(value) if isinstance(value, int | float) else csv_text(str(value))


def _shown(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else repr(value)
