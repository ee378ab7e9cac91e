"""The report that `swebench eval` writes: `<model>.<run id>.json`, schema_version 2, one run as lists of ids."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from harness.errors import InputError
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source

SCHEMA_VERSION = 2
FAILED = ("unresolved_ids", "empty_patch_ids")
UNKNOWN = ("error_ids", "infra_failure_ids", "incomplete_ids")
"""No verdict: an error may be the container's, an infrastructure failure is, and an incomplete instance never ran."""


def matches(source: Source) -> bool:
    """Whether a JSON text looks like a report rather than a leaderboards.json."""
    return source.is_json and '"resolved_ids"' in source.text and '"leaderboards"' not in source.text


def read(source: Source) -> RecordedOutcomes:
    """The one run of the report, named by its file; costs are unknown.

    An empty patch is the model's failure. Errors and infrastructure failures are unknown, not failed.

    Raises:
        InputError: not JSON, another schema version, lists that are none, or an instance both resolved and failed.
    """
    try:
        document: Any = json.loads(source.text)
    except json.JSONDecodeError as error:
        raise InputError(f"{source.label}: not valid JSON (line {error.lineno}: {error.msg}); get it again") from None
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{source.label}: a report of schema_version {version!r}, expected {SCHEMA_VERSION}; "
            "evaluate again with swebench 5"
        )
    ids = {name: _ids(document, name, source.label) for name in ("resolved_ids", *FAILED, *UNKNOWN)}
    resolved = ids["resolved_ids"]
    failed = set().union(*(ids[name] for name in FAILED))
    if both := resolved & failed:
        raise InputError(f"{source.label}: {min(both)} is listed as resolved and as failed; the report is damaged")
    unknown = set().union(*(ids[name] for name in UNKNOWN)) - resolved
    cells = {
        **dict.fromkeys(failed, RecordedCell(False)),
        **dict.fromkeys(unknown, RecordedCell(None)),
        **dict.fromkeys(resolved, RecordedCell(True)),
    }
    if not cells:
        raise InputError(f"{source.label}: no instance is listed in it; there are no outcomes")
    name = PurePosixPath(source.label.replace("\\", "/")).name.removesuffix(".json")
    model = name.rpartition(".")[0] or name
    errors = len(unknown)
    notes = (f"{model}: {errors} instances ended in an error or never ran; unknown, not failed",) if errors else ()
    return RecordedOutcomes((RecordedRun(name=model, source=source.label, cells=cells, notes=notes),))


def _ids(document: dict[str, Any], name: str, label: str) -> set[str]:
    ids = document.get(name, [])
    if not isinstance(ids, list) or not all(isinstance(instance, str) and instance for instance in ids):
        raise InputError(f"{label}: {name!r} is not a list of instance ids; the report is damaged")
    return set(ids)
