"""The report that `swebench eval` writes: `<model>.<run id>.json`, schema_version 2, one run as lists of ids."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from harness.errors import InputError
from harness.importers.details import parsed
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source
from harness.text import counted

SCHEMA_VERSION = 2
FAILED = ("unresolved_ids", "empty_patch_ids")
"""Lists of instances that the model failed at."""
UNKNOWN = ("error_ids", "infra_failure_ids", "incomplete_ids")
"""No verdict: an error may be the container's, an infrastructure failure is, and an incomplete instance never ran."""
COUNTS = {
    "submitted_ids": "submitted_instances",
    "completed_ids": "completed_instances",
    "resolved_ids": "resolved_instances",
    "unresolved_ids": "unresolved_instances",
    "empty_patch_ids": "empty_patch_instances",
    "error_ids": "error_instances",
    "infra_failure_ids": "infra_failure_instances",
}
"""Lists and the counts that stand beside them."""


def matches(source: Source) -> bool:
    """Whether a JSON text looks like a report rather than a leaderboards.json."""
    return source.is_json and '"resolved_ids"' in source.text and '"leaderboards"' not in source.text


def read(source: Source) -> RecordedOutcomes:
    """The one run of the report, named by its file; costs are unknown.

    An empty patch is the model's failure. Errors and infrastructure failures are unknown, not failed.

    Raises:
        InputError: not JSON, another schema version, lists that are none, or an instance both resolved and failed.
    """
    document: Any = parsed(source.text, source.label)
    if not isinstance(document, dict):
        raise InputError(f"{source.label}: not a report of `swebench eval`; expected an object with lists of ids")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{source.label}: a report of schema_version {version!r}, expected {SCHEMA_VERSION}; "
            "evaluate again with swebench 5"
        )
    ids = {name: _ids(document, name, source.label) for name in ("resolved_ids", *FAILED, *UNKNOWN, "submitted_ids")}
    _check_counts(document, source.label)
    resolved = ids["resolved_ids"]
    failed = set().union(*(ids[name] for name in FAILED))
    errors = ids["error_ids"] | ids["incomplete_ids"]
    for name, other, verdicts in (("failed", failed, resolved), ("an error or incomplete", errors, resolved | failed)):
        if both := other & verdicts:
            how = "resolved" if min(both) in resolved else "failed"
            raise InputError(f"{source.label}: {min(both)} is listed as {how} and as {name}; the report is damaged")
    submitted, judged = ids["submitted_ids"], resolved | failed | ids["error_ids"]
    if submitted and (others := judged - submitted):
        raise InputError(f"{source.label}: {min(others)} has an outcome, but was not submitted; the report is damaged")
    # an infrastructure failure stays in its other list, too
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
    notes: list[str] = []
    if unknown:
        notes.append(
            f"{model}: {counted(len(unknown), 'instance')} ended in an error or never ran; unknown, not failed"
        )
    if unlisted := submitted - cells.keys():
        those = counted(len(unlisted), "submitted instance is", "submitted instances are")
        notes.append(f"{model}: {those} in no list of outcomes, e.g. {min(unlisted)}")
    total = document.get("total_instances")
    if isinstance(total, int) and total > len(cells):
        notes.append(
            f"{model}: the report is of {counted(total, 'instance')} and lists {len(cells)}; the others are unknown"
        )
    return RecordedOutcomes((RecordedRun(name=model, source=source.label, cells=cells, notes=tuple(notes)),))


def _check_counts(document: dict[str, Any], label: str) -> None:
    """Raises InputError where a list and the count beside it contradict each other."""
    for name, count in COUNTS.items():
        listed, stated = document.get(name), document.get(count)
        if isinstance(listed, list) and isinstance(stated, int) and len(listed) != stated:
            raise InputError(
                f"{label}: {count} is {stated}, but {name} lists {len(listed)}; the report is damaged or was edited"
            )
    total = document.get("total_instances")
    for name in COUNTS.keys() - {"submitted_ids"}:  # predictions may be of more instances than were evaluated
        listed = document.get(name)
        if isinstance(total, int) and isinstance(listed, list) and len(listed) > total:
            raise InputError(f"{label}: {name} lists {len(listed)} of {total} instances; the report is damaged")


def _ids(document: dict[str, Any], name: str, label: str) -> set[str]:
    ids = document.get(name, [])
    if not isinstance(ids, list) or not all(isinstance(instance, str) and instance for instance in ids):
        raise InputError(f"{label}: {name!r} is not a list of instance ids; the report is damaged")
    if len(set(ids)) < len(ids):
        twice = next(instance for instance in ids if ids.count(instance) > 1)
        raise InputError(f"{label}: {name!r} lists {twice} twice; the report is damaged")
    return set(ids)
