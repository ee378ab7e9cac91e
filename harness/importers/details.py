"""`per_instance_details.json` of SWE-bench/experiments: a submission's {instance id: {resolved, cost, api_calls}}."""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import InputError
from harness.files import why_unread
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source

DETAILS = "per_instance_details.json"


def matches(source: Source) -> bool:
    """Whether it is a file of that name."""
    return source.is_json and PurePosixPath(source.label.replace("\\", "/")).name == DETAILS


def read(source: Source) -> RecordedOutcomes:
    """The one run of the file, named by its folder.

    Raises:
        InputError: damaged, or of another shape.
    """
    cells = read_cells(parsed(source.text, source.label), source.label)
    parent = PurePosixPath(source.label.replace("\\", "/")).parent.name
    return RecordedOutcomes((RecordedRun(name=parent or "model", source=source.label, cells=cells),))


def read_file(path: Path) -> dict[str, RecordedCell] | None:
    """The cells of a file; None where there is none.

    Raises:
        InputError: damaged, or of another shape.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({why_unread(error)}); get the file again") from None
    return read_cells(parsed(text, str(path)), str(path))


def parsed(text: str, label: str) -> Any:
    """A JSON text. Raises InputError, naming the place where it is damaged."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise InputError(f"{label}: not valid JSON ({where}); the file is damaged, get it again") from None
    except ValueError:  # a number of thousands of digits
        raise InputError(f"{label}: not valid JSON (a number that is too long); get the file again") from None
    except RecursionError:
        raise InputError(f"{label}: nested too deeply for a record of outcomes; get the file again") from None


def read_cells(details: Any, label: str) -> dict[str, RecordedCell]:
    """Cells by instance.

    Raises:
        InputError: no object, or a cell that is none.
    """
    if not isinstance(details, dict) or not details:
        raise InputError(f"{label}: not an object of instances; get the file again")
    return {instance: _cell(cell, f"{label}, {instance}") for instance, cell in details.items()}


def _cell(cell: Any, where: str) -> RecordedCell:
    resolved = cell.get("resolved") if isinstance(cell, dict) else None
    if resolved not in (True, False, None) or not isinstance(cell, dict):
        raise InputError(f"{where}: resolved is {resolved!r}, expected true or false; get the file again")
    return RecordedCell(
        resolved=None if resolved is None else bool(resolved),
        cost_usd=_amount(cell.get("cost"), f"{where}: cost"),
        api_calls=_amount(cell.get("api_calls"), f"{where}: api_calls"),
    )


def _amount(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise InputError(f"{where} is {value!r}, expected a number of at least 0; get the file again")
    return float(value)
