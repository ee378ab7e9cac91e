"""`results.html`: one self-contained page with all results of a run or a replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.evaluation.schema import Results
from harness.report.figures import ON_PAGE, Drawing, inline
from harness.report.html.answer import answers_of
from harness.report.html.assets import environment, shell
from harness.report.html.cells import Cells
from harness.report.html.heading import heading_of
from harness.report.html.sections import Page, sections_of
from harness.report.html.tiles import tiles_of

SCRIPTS = ("sections.js", "tables.js", "cell-data.js", "matrix.js", "cells.js")
"""The page's scripts, in the order in which they run."""


def render_page(
    results: Results, cells: Cells, drawings: Mapping[str, Drawing], run: dict[str, Any], up: str = ""
) -> str:
    """The page's text; the same arguments give the same page.

    Args:
        results: The numbers.
        cells: The cells to list and to link to.
        drawings: The figures by name.
        run: A run's frozen `run.yaml`; empty for recorded outcomes.
        up: Path from the page to the run's folder, "" or "../".
    """
    figures = {name: inline(drawing) for name, drawing in drawings.items() if name in ON_PAGE}
    page = Page(results=results, cells=cells, figures=figures, run=run, heading=heading_of(results, cells), up=up)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            shell=shell("theme.js", *SCRIPTS),
            heading=page.heading,
            results=results,
            answers=answers_of(results.recommendation) if results.recommendation else [],
            tiles=tiles_of(results),
            sections=sections_of(page),
        )
    )
