"""Drawing what a results document has numbers for, and saving it as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from harness.evaluation.schema import Results
from harness.files import write_atomic
from harness.report.figures.cost_quality import draw_cost_quality
from harness.report.figures.drawing import Drawing, fix_layout, rendering
from harness.report.figures.heat_tables import draw_clusters, draw_pairs
from harness.report.figures.rates import draw_rates
from harness.report.figures.shares import draw_shares
from harness.report.figures.verifier import draw_reliability, draw_what_it_takes

FIGURES: dict[str, Callable[[Results], Drawing | None]] = {
    "rates": draw_rates,
    "cost-quality": draw_cost_quality,
    "clusters": draw_clusters,
    "shares": draw_shares,
    "pairs": draw_pairs,
    "reliability": draw_reliability,
    "what-it-takes": draw_what_it_takes,
}
ON_PAGE = ("rates", "cost-quality", "shares", "reliability", "what-it-takes")
"""Figures that the page shows; it has the others as tables."""


def draw(results: Results, names: Iterable[str] = tuple(FIGURES)) -> dict[str, Drawing]:
    """The figures of a results document, from its numbers alone.

    Returns:
        Drawings by name. A figure whose numbers are unknown (no costs, no clusters, no signals) is left out.
    """
    drawn: dict[str, Drawing] = {}
    with rendering():
        for name in names:
            drawing = FIGURES[name](results)
            if drawing is not None:
                fix_layout(drawing)
                drawing.svg()
                drawn[name] = drawing
    return drawn


def save(drawings: Iterable[Drawing], folder: Path) -> list[Path]:
    """Write each drawing as `<name>.png` and `<name>.svg`; returns the files."""
    written: list[Path] = []
    with rendering():
        for drawing in drawings:
            for ending, content in (("png", drawing.png()), ("svg", drawing.svg())):
                written.append(folder / f"{drawing.name}.{ending}")
                write_atomic(written[-1], content, durable=False)
    return written


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Draw and save every figure of a results document; returns the files."""
    return save(draw(results).values(), folder)
