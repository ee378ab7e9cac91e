"""What to do with a finished run: commands that are right for this run."""

from __future__ import annotations

from harness.commands.common import say, typed_command
from harness.grading.verdict import Verdict
from harness.report.html import REPORT
from harness.run.pipeline import RunEnd
from harness.store.run_folder import RunFolder


def say_next_steps(run: RunFolder, end: RunEnd, *, dataset: str = "") -> None:
    """A few lines after a run with results; a cell that was not resolved is named, if there is one.

    Args:
        run: The run's folder.
        end: How it ended.
        dataset: Name of the dataset, as the configuration has it; empty for a run of graded predictions.
    """
    rows = end.rows
    failed = next((row for row in rows if row.verdict is Verdict.UNRESOLVED), None)
    failed = failed or next((row for row in rows if row.verdict is not Verdict.RESOLVED), None)
    cell = failed or rows[0]
    steps = {
        "open the report": str(end.written_to / REPORT),
        "look into a failure" if failed else "look into an attempt": typed_command(
            "show", str(run.path), cell.instance_id, cell.model, "--tests" if cell.verdict is Verdict.UNRESOLVED else ""
        ),
        **({"grade your own patches": typed_command("grade", "preds.json", "--dataset", dataset)} if dataset else {}),
        "compare with another run": typed_command("compare", str(run.path), "OTHER_RUN"),
    }
    if all(row.scripted for row in rows):
        steps["run real models"] = typed_command("init", "my.yaml")
    else:
        steps["submit a model"] = typed_command("submit", str(run.path), "--system", "NAME", "--model", cell.model)
    width = max(map(len, steps)) + 2
    say("\n".join(["next:", *(f"{f'{what}:':{width}}{command}" for what, command in steps.items())]))
