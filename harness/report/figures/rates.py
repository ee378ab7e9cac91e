"""Resolution rates with their intervals, a line for each row of the results."""

from __future__ import annotations

from harness.evaluation.schema import Results
from harness.evaluation.verdict import best_single
from harness.report.figures.drawing import COLOURS, Drawing, as_percent, blank, row_names
from harness.report.row_labels import Tone, chip, tone
from harness.report.text import count, percent

MARKS: dict[Tone, tuple[str, str, str]] = {
    "single": ("muted", "ink", "ink"),
    "held": ("accent", "accent", "accent"),
    "unseen": ("kx", "muted", "raised"),
    "pale": ("kx", "muted", "raised"),
    "bound": ("kx", "warn", "warn"),
}
"""Colours of the interval, of the dot's edge and of its face."""


def draw_rates(results: Results) -> Drawing:
    """A dot with Wilson's 95 % interval for every row; the best single model as a line."""
    rows = results.rows
    height = 0.5 + 0.24 * len(rows)
    drawing = blank("rates", f"Share resolved with its 95 % interval: {len(rows)} rows", height=height)
    axes = drawing.axes
    if best := best_single(rows):
        axes.axvline(best.rate, color=COLOURS["muted"], linestyle=(0, (4, 3)), linewidth=0.9)
    for y, row in enumerate(rows):
        interval, edge, face = (COLOURS[name] for name in MARKS[tone(row)])
        low, high = row.rate_ci95
        axes.plot([low, high], [y, y], color=interval, linewidth=2.2, alpha=0.5, solid_capstyle="round")
        (dot,) = axes.plot(row.rate, y, "o", markersize=5.5, color=edge, markerfacecolor=face)
        drawing.tip(dot, f"{row.name}, {chip(row)}: {count(row.resolved)} of {row.n}, {percent(row.rate)}")
        text = f"{percent(row.rate)} [{low * 100:.1f} to {high * 100:.1f}]"
        place = axes.get_yaxis_transform()
        axes.text(1.02, y, text, transform=place, va="center", color=COLOURS["muted"])
    axes.set_yticks(range(len(rows)), row_names(rows), color=COLOURS["ink"])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(as_percent)
    axes.locator_params(axis="x", nbins=6, steps=[1, 2, 2.5, 5, 10])
    axes.grid(axis="x")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("share resolved, 95 % interval")
    return drawing
