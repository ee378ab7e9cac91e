"""Submissions laid out as in SWE-bench/experiments: `evaluation/<split>/<submission>/results/results.json`.

A submission lists the ids it resolved (and those without a patch or log) and nothing else: what an instance cost is
unknown, and an instance that is not listed failed, if it belongs to the benchmark at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.files import parse_yaml
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source

RESULTS = Path("results") / "results.json"
LISTS = ("resolved", "no_generation", "no_logs")


def find_submissions(folder: Path) -> list[Path]:
    """The submission folders at or under `folder`: it may be one, a split, `evaluation`, or the whole repository."""
    if (folder / RESULTS).is_file():
        return [folder]
    for pattern in ("*", "*/*", "evaluation/*/*"):
        if found := sorted(path.parents[1] for path in folder.glob(f"{pattern}/{RESULTS}")):
            return found
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
        raise InputError(f"{source.label}: no <submission>/{RESULTS} in it; name a folder of SWE-bench/experiments")
    listed = {path: _read_lists(path / RESULTS) for path in submissions}
    # what any submission of the split lists certainly belongs to the split
    universe: dict[Path, set[str]] = {}
    for path, lists in listed.items():
        universe.setdefault(path.parent, set()).update(*lists.values())
    runs = tuple(_run(path, lists, frozenset(universe[path.parent])) for path, lists in listed.items())
    return RecordedOutcomes(runs, (f"{source.label}: submissions state no costs",))


def _run(path: Path, lists: Mapping[str, list[str]], universe: frozenset[str]) -> RecordedRun:
    resolved = set(lists["resolved"])
    without = (set(lists["no_generation"]) | set(lists["no_logs"])) - resolved
    contradictory = resolved & (set(lists["no_generation"]) | set(lists["no_logs"]))
    fault = None
    if not resolved:
        fault = "its results.json lists no resolved instance at all"
    elif contradictory:
        fault = f"{len(contradictory)} instances are listed as resolved and as without a patch or log"
    return RecordedRun(
        name=_name(path),
        source=str(path),
        cells={**dict.fromkeys(without, RecordedCell(False)), **dict.fromkeys(resolved, RecordedCell(True))},
        board=path.parent.name,
        folder=path.name,
        date=path.name[:8] if path.name[:8].isdecimal() else None,
        fault=fault,
        universe=universe,
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
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); the file is damaged, get it again") from None
    if not isinstance(document, dict) or "resolved" not in document:
        raise InputError(f"{path}: no list 'resolved'; expected a results.json of SWE-bench/experiments")
    lists = {name: document.get(name, []) for name in LISTS}
    for name, ids in lists.items():
        if not isinstance(ids, list) or not all(isinstance(instance, str) and instance for instance in ids):
            raise InputError(f"{path}: {name!r} is not a list of instance ids; get the file again")
    return lists
