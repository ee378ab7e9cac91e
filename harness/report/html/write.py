"""Write the report of a folder of results: `results.html`, and a page for each cell of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from harness.errors import InputError
from harness.evaluation.schema import Results, read_results
from harness.files import write_atomic
from harness.report.figures import ON_PAGE, Drawing, draw
from harness.report.html.cell_page import CellView, Sibling, cell_page
from harness.report.html.cells import CellFacts, Cells, load_cells
from harness.report.html.page import render_page
from harness.store.rows import Cell

REPORT = "results.html"
"""Name of the report in its folder."""


def write_report(
    folder: Path,
    results: Results | None = None,
    *,
    drawings: Mapping[str, Drawing] | None = None,
    show_bar: bool = False,
) -> Path:
    """Write `results.html` into a folder of results, and the pages of a run's cells that are missing or out of date.

    Args:
        folder: A run's folder, its `selection/`, or a replay's folder.
        results: The numbers to show; None reads the folder's results.json.
        drawings: The results' figures if they are drawn already; None draws those of the page.
        show_bar: Draw a progress bar for the cells' pages when they take long.

    Returns:
        Path of the report.

    Raises:
        InputError: The folder has no results, or a file in it is damaged.
    """
    document = results or read_results(folder)
    drawn = draw(document, ON_PAGE) if drawings is None else drawings
    cells = load_cells(folder)
    up = "" if cells.run is None or cells.run.path == folder else "../"
    write_atomic(folder / REPORT, render_page(document, cells, drawn, _frozen(cells), up))
    for view, place in tqdm(
        list(_views(cells)),
        desc="pages of cells",
        unit="cell",
        delay=2,
        leave=False,
        disable=None if show_bar else True,
    ):
        page = cell_page(view, place)
        if page is not None:
            # a page can be drawn again from the files beside it: it need not survive a power cut
            write_atomic(place / "cell.html", page, durable=False)
    return folder / REPORT


def _frozen(cells: Cells) -> dict[str, Any]:
    """A run's frozen configuration; empty for recorded outcomes."""
    if cells.run is None:
        return {}
    try:
        return cells.run.read_manifest()
    except InputError:
        return {}


def _views(cells: Cells) -> Iterator[tuple[CellView, Path]]:
    """Every cell that has a folder, with the same instance's other cells and the issue."""
    if cells.run is None:
        return
    by_instance: dict[str, list[tuple[CellFacts, Path]]] = {}
    for fact in (*cells.facts, *cells.further):
        place = cells.run.cell_dir(Cell(fact.instance, fact.model, fact.attempt))
        if place.is_dir():
            by_instance.setdefault(fact.instance, []).append((fact, place))
    for instance, placed in by_instance.items():
        for fact, place in placed:
            siblings = tuple(
                Sibling(model=other.label, folder=beside.name, verdict=other.verdict, resolved=other.resolved)
                for other, beside in placed
                if other is not fact
            )
            yield CellView(facts=fact, siblings=siblings, issue=cells.issues.get(instance, "")), place
