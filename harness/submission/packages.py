"""Which packages a folder holds, and the instances that each has to cover."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.checks import readable
from harness.data.classic import completed, is_classic
from harness.data.rows import load_rows
from harness.errors import EnvironmentUnavailableError, InputError
from harness.submission.write import ENTRIES, PUBLIC

RESULTS = "results/results.json"
LEVELS = ((), ("*",), ("*", "*"), (ENTRIES, "*", "*"))
"""Where entries lie below the folder that was named: itself, a split, all splits, SWE-bench/experiments as a whole."""
SPLITS = {
    "lite": "lite",
    "verified": "verified",
    "bash-only": "verified",
    "test": "full",
    "multilingual": "multilingual",
    "sample": "sample",
}
"""Folder under `evaluation/` → dataset."""

DATED = re.compile(r"\d{8}_")
"""Beginning of an entry's name."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Package:
    """An entry with its public tree, where there is one."""

    entry: Path
    public: Path | None

    @property
    def split(self) -> str:
        return self.entry.parent.name


def find_packages(path: Path) -> list[Package]:
    """The packages at or under a folder: a package of ours, an entry, a split, or SWE-bench/experiments as a whole.

    Beside entries with a results.json, their siblings that are named like entries are packages, too: what they lack is
    for the check to say. Links are not followed, except for the folder that was named itself.

    Raises:
        InputError: There is none.
    """
    if not path.is_dir():
        kind = "not a folder" if path.exists() else "no such folder"
        raise InputError(f"{path}: {kind}; name a package, or a folder of SWE-bench/experiments")
    root = path.resolve()
    for level in LEVELS:
        folders = _folders(root, level)
        if any(map(_is_entry, folders)):
            entries = [folder for folder in folders if _is_entry(folder) or DATED.match(folder.name)]
            return [Package(entry, _public(root, entry)) for entry in entries]
    raise InputError(f"{path}: no {RESULTS} in it or below; this is no package")


def _folders(root: Path, level: tuple[str, ...]) -> list[Path]:
    folders = [root]
    for name in level:
        if name == "*":
            folders = [child for folder in folders for child in _children(folder)]
        else:
            folders = [folder / name for folder in folders if (folder / name).is_dir()]
    return folders


def _children(folder: Path) -> list[Path]:
    """The folders in a folder, links to folders among them: those become packages with a fault, and are not entered."""
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error


def _is_entry(folder: Path) -> bool:
    parts = [RESULTS, "results", "metadata.yaml"] if DATED.match(folder.name) else [RESULTS]
    return any(os.path.lexists(folder / part) for part in parts)


def _public(root: Path, entry: Path) -> Path | None:
    """Beside `evaluation/`, or the entry itself, as all were once laid out."""
    for candidate in (root / PUBLIC, *(parent / PUBLIC for parent in entry.parents[:3]), entry):
        if any(os.path.lexists(candidate / name) for name in ("all_preds.jsonl", "logs")):
            return candidate
    return None


class Datasets:
    """The rows of each split, loaded once; None for one that is not at hand.

    Args:
        given: A dataset to take for every split.
    """

    def __init__(self, given: str | None = None) -> None:
        self.given = given
        self.reasons: dict[str, str] = {}
        """Why a split's rows are not at hand."""
        self._rows: dict[str, dict[str, Row] | None] = {}

    def rows(self, split: str) -> dict[str, Row] | None:
        """Rows by instance id of the dataset given, else of the split's own.

        Raises:
            InputError: The dataset given cannot be read.
            EnvironmentUnavailableError: The dataset given cannot be reached. A split's own is merely not compared with.
        """
        key = self.given or split
        if key not in self._rows:
            self._rows[key] = self._load(split)
        return self._rows[key]

    def _load(self, split: str) -> dict[str, Row] | None:
        name = self.given or SPLITS.get(split)
        if name is None:
            self.reasons[split] = f"'{split}' is no split of SWE-bench; name its instances with --dataset"
            return None
        try:
            rows = [completed(row) if is_classic(row) else row for row in load_rows(name)]
        except EnvironmentUnavailableError as error:
            if self.given:
                raise
            self.reasons[split] = str(error)
            return None
        return {str(row.get("instance_id")): readable(row) for row in rows}
