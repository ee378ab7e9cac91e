"""Routing shares: how many instances each model is given by each way of choosing."""

from __future__ import annotations

from harness.evaluation.schema import Results
from harness.report.figures.drawing import COLOURS, Drawing, as_percent, blank, label, row_names, series
from harness.report.row_labels import chip
from harness.report.text import percent

NUMBERED = 0.04
"""From this share on a part has room for its model's number."""
WITH_SHARE = 0.15
"""And from this one on for its share, too."""


def draw_shares(results: Results) -> Drawing | None:
    """A stacked bar for each way of choosing; None when there is none."""
    from matplotlib.patches import Patch

    rows = [row for row in results.rows if row.kind != "single" and row.routing_share]
    if not rows:
        return None
    columns = 2
    height = 0.7 + 0.27 * len(rows) + 0.19 * -(-len(results.pool) // columns)
    drawing = blank("shares", f"Share of instances that each model is given: {len(rows)} rows", height=height)
    axes = drawing.axes
    for y, row in enumerate(rows):
        left = 0.0
        for k, model in enumerate(results.pool):
            share = (row.routing_share or {}).get(model, 0.0)
            if share <= 0:
                continue
            (bar,) = axes.barh(y, share, left=left, height=0.68, color=series(k), edgecolor=COLOURS["raised"], lw=0.7)
            drawing.tip(bar, f"{row.name}, {chip(row)}: {model} {percent(share)}")
            if share >= NUMBERED:
                text = f"{k + 1}: {percent(share, 0)}" if share >= WITH_SHARE else str(k + 1)
                middle = left + share / 2
                axes.text(middle, y, text, ha="center", va="center_baseline", color=COLOURS["raised"])
            left += share
    axes.set_yticks(range(len(rows)), row_names(rows), color=COLOURS["ink"])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(as_percent)
    axes.spines[["left", "bottom"]].set_visible(False)
    boxes = [Patch(color=series(k), label=f"{k + 1}  {label(model)}") for k, model in enumerate(results.pool)]
    drawing.figure.legend(handles=boxes, loc="outside lower left", ncols=columns, handlelength=1)
    return drawing
