"""What an instance knows that its agent must not, and what is said of attempts that went looking for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agents.leaks import Hints

if TYPE_CHECKING:
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
    """What the scan of an attempt's trajectory is told of its instance; the model is not."""
    added = re.findall(r"^--- /dev/null\n\+\+\+ b/(.+?)\s*$", str(instance.row.get("test_patch") or ""), re.MULTILINE)
    return Hints(
        repo=instance.repo,
        packages=_IMPORT_NAMES.get(instance.repo.rsplit("/", 1)[-1].lower(), ()),
        hidden_files=tuple(added),
        known_text=instance.problem_statement,
    )
