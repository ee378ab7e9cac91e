"""What to do with a finished run: five commands, right for this run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from harness.commands.common import say
from harness.grading.verdict import Verdict
from harness.report.html import REPORT
from harness.run.pipeline import RunEnd
from harness.store.run_folder import RunFolder


def say_next_steps(run: RunFolder, end: RunEnd, *, dataset: str) -> None:
    """Five lines after a run with results; a cell that was not resolved is named, if there is one.

    Args:
        run: The run's folder.
        end: How it ended.
        dataset: Name of the dataset, as the configuration has it.
    """
    rows = end.rows
    failed = next((row for row in rows if row.verdict is Verdict.UNRESOLVED), None)
    failed = failed or next((row for row in rows if row.verdict is not Verdict.RESOLVED), None)
    cell = failed or rows[0]
    steps = {
        "open the report": str(end.written_to / REPORT),
        "look into a failure" if failed else "look into an attempt": _command(
            "show", str(run.path), cell.instance_id, cell.model, "--tests" if cell.verdict is Verdict.UNRESOLVED else ""
        ),
        "grade your own patches": _command("grade", "preds.json", "--dataset", dataset),
        "compare with another run": _command("compare", str(run.path), "OTHER_RUN"),
    }
    if all(row.scripted for row in rows):
        steps["run real models"] = _command("init", "my.yaml")
    else:
        steps["submit a model"] = _command("submit", str(run.path), "--system", "NAME", "--model", cell.model)
    width = max(map(len, steps)) + 2
    say("\n".join(["next:", *(f"{f'{what}:':{width}}{command}" for what, command in steps.items())]))


def _command(*words: str) -> str:
    return f"{_program()} {shlex.join(word for word in words if word)}"


def _program() -> str:
    """How polyswe can be called from here: after `make`, it is not on the PATH."""
    if shutil.which("polyswe"):
        return "polyswe"
    called = Path(sys.argv[0])
    if called.name == "polyswe":
        return shlex.quote(os.path.relpath(called))
    return f"{shlex.quote(sys.executable)} -m harness"
