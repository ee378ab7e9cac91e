"""What a part of results/replay was made with: kept beside it, so that no number outlives them."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.files import write_atomic

STAMP = "made-with.json"
CODE = (
    "router",
    "harness/importers",
    "harness/report",
    "harness/lab*.py",
    "harness/replay.py",
    "harness/data/embeddings.py",
)
"""what numbers depend on; a trailing pattern names files, a folder all its modules"""
ONLY_WORDS = frozenset({"lab_tables.py", "lab_parts.py", "tables.py", "verdict.py", "words.py"}) | frozenset(
    {"figures.py", "plain_figures.py", "signal_figures.py"}
)
"""modules that put numbers into words and pictures"""


@cache
def code_version() -> str:
    """A hash of the code that numbers depend on, without comments, docstrings and layout."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for place in CODE:
        found = sorted(root.glob(place)) if place.endswith(".py") else sorted((root / place).rglob("*.py"))
        for path in found:
            if path.name not in ONLY_WORDS:
                digest.update(f"{path.relative_to(root)}\n{_bare(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:16]


def _bare(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


@cache
def data_version(*paths: Path) -> str:
    """A hash of files and of folders' files, names included; what is missing counts as missing."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]
        for file in files:
            content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"
            digest.update(f"{file.relative_to(path.parent)} {content}\n".encode())
    return digest.hexdigest()[:16]


def stamp(settings: Mapping[str, Any], data: Sequence[Path]) -> dict[str, Any]:
    """What a part made now would be made with."""
    made = {**settings, "data_sha256": data_version(*data), "code_sha256": code_version()}
    found: dict[str, Any] = json.loads(json.dumps(made))
    return found


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
