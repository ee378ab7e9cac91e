"""What a part of results/replay was made with, kept beside it: settings, data, and the version of polyswe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.files import write_atomic

STAMP = "made-with.json"
"""The file's name in a part's folder."""


@cache
def data_version(*paths: Path) -> str:
    """A hash of files and of folders' files, names included; what is missing counts as missing."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"
            digest.update(f"{file.relative_to(path.parent)} {content}\n".encode())
    return digest.hexdigest()[:16]


def stamp(settings: Mapping[str, Any], data: Sequence[Path]) -> dict[str, Any]:
    """What a part made now would be made with."""
    made = {**settings, "data_sha256": data_version(*data), "polyswe": version("polyswe")}
    stamped: dict[str, Any] = json.loads(json.dumps(made))
    return stamped


def differences(folder: Path, wanted: Mapping[str, Any]) -> list[str] | None:
    """In what the part in `folder` differs from `wanted`: nothing where it is as it would be made; None without one."""
    try:
        made = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError:
        return ["damaged stamp"]
    return sorted(key for key in made.keys() | wanted.keys() if made.get(key) != wanted.get(key))


def keep(folder: Path, made: Mapping[str, Any]) -> None:
    """Stamp a part that is finished."""
    write_atomic(folder / STAMP, json.dumps(made, indent=1) + "\n")


def forget(folder: Path) -> None:
    """Take the stamp off before a part is made again: one that is stopped halfway must not look finished."""
    (folder / STAMP).unlink(missing_ok=True)
