"""Figures of a results document that are bars and dots: rates with their intervals, routing shares, pairs of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.schema import Results, Row
from harness.report.html.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Canvas = Callable[[float, float], "tuple[Figure, Axes]"]
"""From a width and a height in inches to an empty figure."""

HOW = {
    "cross-fitted": "held out",
    "leave-one-repository-out": "unseen repositories",
    "in-sample": "in-sample",
}
NAME_LENGTH = 40


def draw_rates(results: Results, canvas: Canvas) -> Figure | None:
    """A dot with Wilson's 95 % interval for every row; the best single model as a line."""
    rows = results.rows[::-1]
    figure, axes = canvas(7.5, 0.8 + 0.22 * len(rows))
    for k, row in enumerate(rows):
        colour = {"single": "0.25", "policy": "C0"}.get(row.kind, "C1")
        filled = row.evaluation in ("cross-fitted", "recorded", "live")
        axes.plot(row.rate_ci95, [k, k], color=colour, linewidth=2, alpha=0.45)
        axes.plot(row.rate, k, marker="o", markersize=4.5, color=colour, mfc=colour if filled else "white")
    best = [row.rate for row in results.rows if row.kind == "single" and row.vs_best_single is not None]
    if best:
        axes.axvline(max(best), color="0.5", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=7)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("share resolved, 95 % interval")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    return figure


def draw_shares(results: Results, canvas: Canvas) -> Figure | None:
    """Who gets how much, a stacked bar for each way of choosing."""
    rows = [row for row in results.rows if row.kind != "single" and row.routing_share][::-1]
    if not rows:
        return None
    figure, axes = canvas(7.5, 1.2 + 0.28 * len(rows) + 0.12 * len(results.pool))
    left = np.zeros(len(rows))
    for k, model in enumerate(results.pool):
        part = np.array([(row.routing_share or {}).get(model, 0.0) for row in rows])
        axes.barh(range(len(rows)), part, left=left, height=0.65, color=f"C{k}" if k < 10 else "0.7", label=_cut(model))
        left += part
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=7)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlim(0, 1)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=2)
    return figure


def draw_pairs(results: Results, canvas: Canvas) -> Figure | None:
    """How many instances the row's model resolves and the column's does not."""
    pairs, models = results.complementarity.pairs, results.pool
    if not pairs:
        return None
    table = np.full((len(models), len(models)), np.nan)
    for pair in pairs:
        if pair.a in models and pair.b in models:
            a, b = models.index(pair.a), models.index(pair.b)
            table[a, b], table[b, a] = pair.a_only, pair.b_only
    figure, axes = canvas(3 + 0.5 * len(models), 2 + 0.34 * len(models))
    axes.imshow(table, cmap="Blues", vmin=0, vmax=max(1.0, float(np.nanmax(table)) * 1.5), aspect="auto")
    for (i, j), n in np.ndenumerate(table):
        if not np.isnan(n):
            axes.text(j, i, f"{n:.0f}", ha="center", va="center", fontsize=7)
    names = [_cut(model) for model in models]
    axes.set_xticks(range(len(models)), names, rotation=35, ha="right", fontsize=7)
    axes.set_yticks(range(len(models)), names, fontsize=7)
    axes.set_ylabel("resolved by")
    axes.set_xlabel("and not by")
    return figure


def _label(row: Row) -> str:
    how = HOW.get(row.evaluation)
    return _cut(row.name) + (f" ({how})" if how and row.kind == "policy" else "")


def _cut(name: str) -> str:
    return as_it_is(shortened(name, NAME_LENGTH))


def as_it_is(name: str) -> str:
    """Text from outside for a figure: matplotlib reads $…$ as mathematics, and half a formula as an error."""
    return plain(name).replace("$", r"\$")
