"""Everything in results/replay from the recorded data, by one command; the summary is computed from the files written.

The data folder holds `outcomes/leaderboards-2025-12-10.json`, `outcomes/leaderboards-2026-02-26.json`,
`outcomes/experiments`, `outcomes/repeats_*.csv`, `tasks/swebench_verified.jsonl` and `swebench_multilingual.jsonl`.
Each part has its folder and a stamp in it (`harness.lab.stamps`): a part is kept while settings, data and version are
those it was made with, so that a stopped run can be continued; else, and with `fresh`, it is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import InputError
from harness.evaluation.policy_rows import Progress, silent
from harness.files import write_atomic
from harness.lab.parts import GROUPS, NEW, OLD, OTHER_TASKS, PARTS, TASKS, TableSettings, parts_of
from harness.lab.stamps import differences, forget, keep, stamp
from harness.lab.summary import render_summary


def write_tables(
    data: Path,
    out: Path,
    settings: TableSettings | None = None,
    *,
    parts: Sequence[str] = PARTS,
    workers: int = 2,
    fresh: bool = False,
    progress: Progress = silent,
) -> str:
    """Make the parts that are missing or were made otherwise, then README.md of all that is there.

    Args:
        data: The data folder.
        out: Folder of the parts.
        settings: What can be chosen of the parts.
        parts: Of PARTS or GROUPS.
        workers: Processes.
        fresh: Make parts again that are there.
        progress: Called before each part.

    Returns:
        The summary.

    Raises:
        InputError: a file of `data` is missing, or a part has no such name.
    """
    if unknown := [part for part in parts if part not in PARTS and part not in GROUPS]:
        raise InputError(f"tables: no part {unknown[0]!r}; choose of {', '.join((*PARTS, *GROUPS))}")
    requested = [name for part in parts for name in GROUPS.get(part, (part,))]
    for name in (OLD, NEW, TASKS, *([OTHER_TASKS] if "transfer" in requested else [])):
        if not (data / name).is_file():
            raise InputError(f"{data / name}: no such file; the data folder is described in harness/lab/tables.py")
    stale = []
    for name, part in parts_of(data, settings or TableSettings(), workers, progress).items():
        folder, wanted = out / name, stamp(part.settings, [data / file for file in part.files])
        changed = differences(folder, wanted)
        if name not in requested:
            if changed != [] and any(folder.glob("*.json")):
                stale.append(name)
        elif fresh or changed != []:
            progress(f"tables: {name}" + (f" (again: {', '.join(changed)} changed)" if changed else ""))
            forget(folder)
            part.make(folder)
            keep(folder, wanted)
        else:
            progress(f"tables: {name} is there, made with the same settings, data and version")
    summary = render_summary(out, stale)
    write_atomic(out / "README.md", summary)
    return summary
