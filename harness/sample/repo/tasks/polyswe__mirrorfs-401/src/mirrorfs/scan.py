"""Looking at a directory tree."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from mirrorfs.ignore import IgnoreRules


@dataclass
class Tree:
    """What is below ``root``: relative POSIX paths of directories and files (symlinks count as files)."""

    root: Path
    dirs: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    def __contains__(self, path: str) -> bool:
        return path in self.dirs or path in self.files


def scan(root: Path, rules: IgnoreRules | None = None) -> Tree:
    """Walk ``root``; with rules, ignored things and everything below them are left out."""
    tree = Tree(root)
    _walk(tree, "", rules or IgnoreRules())
    return tree


def _walk(tree: Tree, prefix: str, rules: IgnoreRules) -> None:
    with os.scandir(tree.root / prefix) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            path = prefix + entry.name
            is_dir = entry.is_dir(follow_symlinks=False)
            if rules.ignores(path, is_dir):
                continue
            if is_dir:
                tree.dirs.add(path)
                _walk(tree, path + "/", rules)
            else:
                tree.files.add(path)
