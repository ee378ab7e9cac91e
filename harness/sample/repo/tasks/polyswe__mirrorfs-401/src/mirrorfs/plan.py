"""Deciding what to do. Nothing in here touches the disk beyond reading."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mirrorfs.ignore import IgnoreRules
from mirrorfs.scan import Tree, scan


class MirrorError(Exception):
    """The two sides cannot be brought together."""


class Kind(Enum):
    MAKE_DIR = "+ {}/"
    NEW = "+ {}"
    CHANGED = "~ {}"
    REMOVE = "- {}"
    REMOVE_TREE = "- {}/"


@dataclass(frozen=True)
class Action:
    kind: Kind
    path: str

    def __str__(self) -> str:
        return self.kind.value.format(self.path)


def plan(source: Path, target: Path, rules: IgnoreRules | None = None, delete: bool = False) -> list[Action]:
    """What it takes to make ``target`` a mirror of ``source``, in the order to do it. Raises MirrorError."""
    if not source.is_dir():
        raise MirrorError(f"{source} is not a directory")
    ours = scan(source, rules)
    theirs = scan(target) if target.is_dir() else Tree(target)
    _check_kinds(ours, theirs)
    actions = _removals(ours, theirs) if delete else []
    for path in sorted(ours.dirs - theirs.dirs):
        actions.append(Action(Kind.MAKE_DIR, path))
    for path in sorted(ours.files):
        if path not in theirs.files:
            actions.append(Action(Kind.NEW, path))
        elif not filecmp.cmp(source / path, target / path, shallow=False):
            actions.append(Action(Kind.CHANGED, path))
    return actions


def _check_kinds(ours: Tree, theirs: Tree) -> None:
    for path in sorted((ours.files & theirs.dirs) | (ours.dirs & theirs.files)):
        raise MirrorError(f"{path} is a file on one side and a directory on the other")


def _removals(ours: Tree, theirs: Tree) -> list[Action]:
    """What the target has too much of; a superfluous directory is one action, whatever is in it."""
    actions: list[Action] = []
    covered: set[str] = set()
    for path in sorted(theirs.dirs | theirs.files):
        if path in ours:
            continue
        parent = path.rpartition("/")[0]
        if parent in covered:
            if path in theirs.dirs:
                covered.add(path)
            continue
        if path in theirs.dirs:
            covered.add(path)
            actions.append(Action(Kind.REMOVE_TREE, path))
        else:
            actions.append(Action(Kind.REMOVE, path))
    return actions
