"""The report people read: `polyswe report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import check_folder, output, quiet_libraries, say, terminal_width
from harness.commands.options import ModelOption, SelectOption, narrowing
from harness.errors import InputError

if TYPE_CHECKING:
    from harness.evaluation.schema import Results


def report(
    run: Annotated[Path, typer.Argument(help="A run or replay folder, e.g. results/sample.")],
    as_written: Annotated[
        bool, typer.Option("--as-written", help="Use the folder's results.json as it is; compute nothing.")
    ] = False,
    select: SelectOption = None,
    model: ModelOption = None,
) -> None:
    """Write a folder's results.html again: one self-contained page, and a page for each cell of a run.

    The numbers of a run are computed again from its store, even while it is in progress. Those of a replay are read
    from its results.json and outcomes.csv.

    Examples:

        polyswe report results/sample

        polyswe report results/replay-latest

        polyswe report results/sample --select repo=*/billing     # only this part, in results/sample/selection/
    """
    quiet_libraries()
    from harness.evaluation.schema import read_results
    from harness.importers.predictions import refuse_predictions
    from harness.report.tables import render_answer
    from harness.store.run_folder import RunFolder
    from harness.text import line

    folder = run if run.is_dir() else run.parent
    check_folder(folder, "the report goes there")
    if (folder / "outcomes.sqlite").is_file() and not as_written:
        from harness.run.results import results_again

        part = narrowing(select, model)
        results = results_again(folder, say, part)
        folder = RunFolder(folder).part.path if part else folder
    elif select or model:
        raise InputError("--select and --model need a run whose numbers are computed again, without --as-written")
    else:
        refuse_predictions(run)
        results = read_results(run)
    output(render_answer(results, terminal_width()) if results.recommendation else line(results.verdict))
    say(f"report: {write_all(folder, results)}")


def write_all(folder: Path, results: Results) -> Path:
    """Write results.html, the cells' pages, and the figures as files; returns the page's path."""
    from harness.report.figures import draw, save
    from harness.report.html import write_report

    drawings = draw(results)
    page = write_report(folder, results, drawings=drawings, show_bar=True)
    save(drawings.values(), folder / "figures")
    return page
