"""Folders in which an agent keeps a subfolder for each instance."""

from __future__ import annotations

from pathlib import Path

from harness.data.checks import PLAIN_ID
from harness.importers.predictions import plain
from harness.importers.predictions.files import is_file, names


def base_of(path: Path) -> Path | None:
    """The folder that a path stands for: itself, or that of a file of predictions with its usual name."""
    if path.is_dir():
        return path
    return path.parent if path.name in plain.FILES else None


def has_trajectories(base: Path, suffix: str) -> bool:
    """Whether some subfolder holds a file of its own name with this suffix."""
    return any(is_file(base / name / f"{name}{suffix}") for name in names(base))


def beside(base: Path, instance_id: str, suffix: str) -> Path | None:
    """An instance's file in its subfolder; None for an id that cannot name a folder."""
    return base / instance_id / f"{instance_id}{suffix}" if PLAIN_ID.fullmatch(instance_id) else None
