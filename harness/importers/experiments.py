"""Submissions laid out as in SWE-bench/experiments: `evaluation/<split>/<submission>/`.

`results/results.json` lists the ids that were resolved (and those without a patch or log): an instance that is not
listed failed, if it belongs to the benchmark at all. `per_instance_details.json`, where there is one, records each
instance with its cost and calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.files import parse_yaml, why_unread
from harness.importers.details import DETAILS, parsed, read_file
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source
from harness.text import counted

RESULTS = Path("results") / "results.json"
LISTS = ("resolved", "no_generation", "no_logs")
"""Of a results.json; the first is needed."""


def find_submissions(folder: Path) -> list[Path]:
    """The submission folders at or under `folder`: it may be one, a split, `evaluation`, or the whole repository."""
    if any((folder / name).is_file() for name in (RESULTS, DETAILS)):
        return [folder]
    for pattern in ("*", "*/*", "evaluation/*/*"):
        found = {path.parents[1] for path in folder.glob(f"{pattern}/{RESULTS}")}
        found |= {path.parent for path in folder.glob(f"{pattern}/{DETAILS}")}
        if found:
            return sorted(found)
    return []


def matches(source: Source) -> bool:
    """Whether it is a folder that holds a submission."""
    return source.folder is not None and bool(find_submissions(source.folder))


def read(source: Source) -> RecordedOutcomes:
    """Every submission at or under the folder, named by its metadata's `name` (else by its folder).

    Raises:
        InputError: there is none, or a results.json is damaged or of another shape.
    """
    folder = source.folder
    submissions = [] if folder is None else find_submissions(folder)
    if not submissions:
        raise InputError(
            f"{source.label}: no <submission>/{RESULTS} or {DETAILS} in it; name a folder of SWE-bench/experiments"
        )
    listed = {path: _read_lists(path / RESULTS) for path in submissions if (path / RESULTS).is_file()}
    details = {path: read_file(path / DETAILS) for path in submissions}
    # what any submission of the split lists certainly belongs to the split
    universe: dict[Path, set[str]] = {}
    for path, lists in listed.items():
        universe.setdefault(path.parent, set()).update(*lists.values())
    runs = tuple(
        _listed_run(path, listed[path], frozenset(universe[path.parent]), details[path] or {})
        if path in listed
        else _run(path, details[path] or {})
        for path in submissions
    )
    costless = sum(all(cell.cost_usd is None for cell in run.cells.values()) for run in runs)
    notes = (f"{source.label}: {costless} of {len(runs)} submissions state no costs",) if costless else ()
    return RecordedOutcomes(runs, notes)


def _listed_run(
    path: Path, lists: Mapping[str, list[str]], universe: frozenset[str], details: Mapping[str, RecordedCell]
) -> RecordedRun:
    """By its lists; costs and calls, and instances that no list names, by its details."""
    resolved = set(lists["resolved"])
    without = set(lists["no_generation"]) | set(lists["no_logs"])
    by_list = {**dict.fromkeys(without - resolved, False), **dict.fromkeys(resolved, True)}
    disagreeing = [
        instance
        for instance, cell in details.items()
        if cell.resolved is not None and cell.resolved != (instance in resolved)
    ]
    fault = None
    if not resolved:
        fault = "its results.json lists no resolved instance at all"
    elif contradictory := resolved & without:
        those = counted(len(contradictory), "instance is", "instances are")
        fault = f"{those} listed as resolved and as without a patch or log"
    elif disagreeing:
        those = counted(len(disagreeing), "instance")
        fault = f"its results.json and {DETAILS} disagree on {those}, e.g. {min(disagreeing)}"
    cells = {instance: RecordedCell(verdict) for instance, verdict in by_list.items()}
    for instance, cell in details.items():
        cells[instance] = dataclasses.replace(cell, resolved=by_list.get(instance, cell.resolved))
    return dataclasses.replace(_run(path, cells), fault=fault, universe=universe)


def _run(path: Path, cells: Mapping[str, RecordedCell]) -> RecordedRun:
    return RecordedRun(
        name=_name(path),
        source=str(path),
        cells=cells,
        board=path.parent.name,
        folder=path.name,
        date=path.name[:8] if path.name[:8].isdecimal() else None,
    )


def _name(path: Path) -> str:
    try:
        metadata = parse_yaml((path / "metadata.yaml").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return path.name  # the name is a convenience; the folder is the identity
    info = metadata.get("info") if isinstance(metadata, dict) else None
    names = [part.get("name") for part in (metadata, info) if isinstance(part, dict)]
    return next((" ".join(name.split()) for name in names if isinstance(name, str) and name.strip()), path.name)


def _read_lists(path: Path) -> dict[str, list[str]]:
    try:
        document: Any = parsed(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({why_unread(error)}); get the file again") from None
    if not isinstance(document, dict) or "resolved" not in document:
        raise InputError(f"{path}: no list 'resolved'; expected a results.json of SWE-bench/experiments")
    lists = {name: document.get(name, []) for name in LISTS}
    for name, ids in lists.items():
        if not isinstance(ids, list) or not all(isinstance(instance, str) and instance for instance in ids):
            raise InputError(f"{path}: {name!r} is not a list of instance ids; get the file again")
    return lists
