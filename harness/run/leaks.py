"""What the scan of a trajectory needs to know of an instance."""

from __future__ import annotations

import re

from agents.leaks import Hints
from harness.data.instances import Instance

_IMPORT_NAMES = {
    "scikit-learn": ("sklearn",),
    "sphinx": ("Sphinx",),
    "seaborn": ("seaborn",),
    "pytest": ("_pytest",),
    "pillow": ("PIL",),
}
"""Repositories whose package is imported by another name than theirs."""


def hints_of(instance: Instance) -> Hints:
    """What a model must not know and the scan of its trajectory looks for."""
    added = re.findall(r"^--- /dev/null\n\+\+\+ b/(.+)$", str(instance.row.get("test_patch") or ""), re.MULTILINE)
    return Hints(
        repo=instance.repo,
        packages=_IMPORT_NAMES.get(instance.repo.rsplit("/", 1)[-1].lower(), ()),
        hidden_files=tuple(name.rstrip() for name in added),
        known_text=instance.problem_statement,
    )
