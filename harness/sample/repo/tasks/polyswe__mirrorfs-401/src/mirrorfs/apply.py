"""Doing what was planned."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from mirrorfs.plan import Action, Kind


def apply(actions: Iterable[Action], source: Path, target: Path, dry_run: bool = False) -> Iterator[Action]:
    """Carry the actions out one by one, yielding each when it is done (or would have been)."""
    if not dry_run:
        target.mkdir(parents=True, exist_ok=True)
    for action in actions:
        if not dry_run:
            _perform(action, source / action.path, target / action.path)
        yield action


def _perform(action: Action, source: Path, target: Path) -> None:
    match action.kind:
        case Kind.MAKE_DIR:
            target.mkdir()
        case Kind.NEW | Kind.CHANGED:
            shutil.copy2(source, target)
        case Kind.REMOVE:
            target.unlink()
        case Kind.REMOVE_TREE:
            shutil.rmtree(target)
