"""What an instance knows that its agent must not, and what is said of attempts that went looking for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agents.leaks import KINDS, Flag, Hints
from harness.evaluation.schema import FlaggedAttempt

if TYPE_CHECKING:
    from harness.data.instances import Instance
    from harness.store.store import Cell

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


def flagged_attempts(flags: Mapping[Cell, Sequence[Flag]], cells: Sequence[Cell]) -> list[FlaggedAttempt]:
    """Those of `cells` that were flagged, a row a kind, with the first command that showed it and succeeded, if any."""
    rows = []
    for cell in sorted(set(cells) & set(flags)):
        for kind in KINDS:
            found = [flag for flag in flags[cell] if flag.kind == kind]
            if found:
                first = next((flag for flag in found if not flag.failed), found[0])
                rows.append(
                    FlaggedAttempt(
                        instance_id=cell.instance_id,
                        model=cell.model,
                        kind=kind,
                        times=len(found),
                        step=first.step,
                        command=first.command,
                        failed=all(flag.failed for flag in found),
                    )
                )
    return rows


def flag_notes(flagged: Sequence[FlaggedAttempt]) -> list[str]:
    """One line for the notes; empty when nothing was flagged."""
    if not flagged:
        return []
    cells = len({(row.instance_id, row.model) for row in flagged})
    kinds = Counter(row.kind for row in flagged)
    told = ", ".join(f"{count} {KINDS[kind]}" for kind, count in kinds.most_common())
    vain = sum(row.failed for row in flagged)
    tail = f"; {vain} of these in vain" if vain else ""
    return [f"{cells} attempts are flagged, see results.json: {told}{tail}; they are counted like any other"]
