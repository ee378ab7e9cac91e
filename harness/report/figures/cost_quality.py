"""Cost against quality: single models by number, their hull, every policy's held-out sweep over the weight of cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.evaluation.schema import Results, Row
from harness.evaluation.verdict import best_single
from harness.report.figures.drawing import COLOURS, WIDTH, Drawing, as_percent, blank, fix_layout, label, series
from harness.report.row_labels import chip
from harness.report.text import count, money, percent
from router.curves import hull, pareto

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

Point = tuple[float, float]
"""A cost per instance and a share resolved; or a place in the drawing."""

COLUMNS = 2
"""Of the key."""
DASHED, DOTTED = (0, (5, 3)), (0, (1, 2))
AROUND = ((0, 10), (0, -10), (10, 0), (-10, 0), (9, 8), (-9, 8), (9, -8), (-9, -8), (0, 19), (0, -19))
"""Where a number may stand beside its point, in the order of preference; in points."""
ROOM = 9.9
"""Points from a number to the next number or mark; less than a number's distance from its own point."""


def draw_cost_quality(results: Results) -> Drawing | None:
    """Cost on a logarithmic axis; None when no model's cost is known.

    The oracle does not stretch the axis, since the models would share what is left: where it lies above all else, an
    arrow at the upper edge names it.
    """
    priced = [row for row in results.rows if row.cost_per_instance]
    singles = [row for row in priced if row.kind == "single"]
    if not singles:
        return None
    policies = [row for row in results.rows if row.evaluation == "cross-fitted" and row.kind == "policy"]
    sweeps = [_sweep(row) for row in policies]
    configured = [row for row in policies if row.cost_per_instance]
    chance = [row for row in priced if row.kind == "random"]
    taken = [_place(row) for row in [*singles, *configured, *chance]]

    entries = len(singles) + len(policies) + 6
    description = f"Cost per instance against share resolved: {len(singles)} models, {len(policies)} policies"
    drawing = blank("cost-quality", description, width=WIDTH, height=4.6 + 0.19 * math.ceil(entries / COLUMNS))
    axes = drawing.axes
    _limit(axes, [*taken, *(point for sweep in sweeps for point in sweep)])
    key = [_dot(f"{k}  {label(row.name)}") for k, row in enumerate(singles, 1)]
    for k, (row, sweep) in enumerate(zip(policies, sweeps, strict=True)):
        key.append(_draw_policy(drawing, row, sweep, series(k)))
    key += _draw_references(drawing, results, singles)
    for row in chance:
        (cross,) = axes.plot(*_place(row), "x", color=COLOURS["warn"], markersize=7, label="a model at random")
        drawing.tip(cross, _tip(row))
        key.append(cross)
    for row in singles:
        (dot,) = axes.plot(*_place(row), "o", color=COLOURS["ink"], markersize=5.5, zorder=4)
        drawing.tip(dot, _tip(row))
    key += _draw_recommended(drawing, results, singles)
    _draw_oracle(drawing, [row for row in priced if row.kind == "oracle"])
    axes.set_xlabel(
        f"{results.money_kind}USD per instance, logarithmic; curves: policies, held out, at every weight of cost"
    )
    axes.set_ylabel(f"share resolved of {results.instances} instances")
    axes.yaxis.set_major_formatter(as_percent)
    axes.grid()
    drawing.figure.legend(handles=key, loc="outside lower left", ncols=COLUMNS)
    fix_layout(drawing)
    _number(axes, [_place(row) for row in singles], taken)
    return drawing


def _limit(axes: Axes, points: Sequence[Point]) -> None:
    """Axes that hold the points, with room around them and at least three ticks of cost."""
    costs, rates = np.array(points, dtype=np.float64).T
    low, high = float(costs.min()) / 1.2, float(costs.max()) * 1.2
    room = max(0.01, float(np.ptp(rates)) * 0.09)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(max(0.0, float(rates.min()) - room), min(1.0, float(rates.max()) + room))
    axes.set_xticks(_cost_ticks(low, high))
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda cost, _: f"${cost:g}")


def _cost_ticks(low: float, high: float) -> list[float]:
    """Round costs within the limits: powers of ten where there are enough, else their multiples, else even steps."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    locators = (LogLocator(subs=(1,)), LogLocator(subs=(1, 2, 5)), MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ticks: list[float] = []
    for locator in locators:
        ticks = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks


def _draw_policy(drawing: Drawing, row: Row, sweep: list[Point], colour: str) -> Line2D:
    """What so much money buys, flat until the next corner is paid for; a diamond where the policy is configured."""
    from matplotlib.lines import Line2D

    if sweep:
        (curve,) = drawing.axes.step(*zip(*sweep, strict=True), where="post", color=colour, linewidth=1.5, alpha=0.9)
        drawing.tip(curve, f"{row.name}, {chip(row)}, over the weight of cost")
    if row.cost_per_instance:
        edge = COLOURS["raised"]
        (mark,) = drawing.axes.plot(*_place(row), "D", color=colour, markersize=8, markeredgecolor=edge, zorder=3)
        drawing.tip(mark, _tip(row))
    name = label(row.name)
    return Line2D([], [], color=colour, linewidth=1.5, marker="D", markersize=5, label=name)


def _draw_references(drawing: Drawing, results: Results, singles: Sequence[Row]) -> list[Line2D]:
    """The hull, the best single model's level and the repeatable oracle's."""
    axes, muted = drawing.axes, COLOURS["muted"]
    corners = hull(*np.array([_place(row) for row in singles], dtype=np.float64).T)
    # a mixture's cost is a straight line in dollars, which a logarithmic axis bends
    costs = np.unique(np.concatenate([corners[0], np.geomspace(corners[0][0], corners[0][-1], 60)]))
    name = "hull: best mixtures of single models"
    key = axes.plot(costs, np.interp(costs, *corners), color=muted, linestyle=DASHED, linewidth=1, label=name)
    if best := best_single(results.rows):
        key.append(axes.axhline(best.rate, color=COLOURS["kx"], linewidth=0.9, zorder=1, label="best single model"))
    repeatable = results.complementarity.repeatable_oracle
    if repeatable is not None:
        n = max(row.n for row in results.rows)
        rate, text = repeatable.resolved / n, f"repeatable oracle, {count(repeatable.resolved)} of {n}"
        if rate <= axes.get_ylim()[1]:
            key.append(axes.axhline(rate, color=muted, linestyle=DOTTED, linewidth=1.4, label=text))
        else:
            _note_above(drawing, axes.get_xlim()[1], f"↑ {text}", line=1)
    return key


def _draw_recommended(drawing: Drawing, results: Results, singles: Sequence[Row]) -> list[Line2D]:
    """A ring around the recommended model."""
    advice = results.recommendation
    if advice is None or advice.use is None or advice.use.kind != "single":
        return []
    style: dict[str, Any] = {
        "markersize": 11,
        "markerfacecolor": "none",
        "markeredgecolor": COLOURS["accent"],
        "markeredgewidth": 2,
    }
    place = next((_place(row) for row in singles if row.name == advice.use.name), None)
    return [] if place is None else drawing.axes.plot(*place, "o", zorder=5, label="recommended", **style)


def _draw_oracle(drawing: Drawing, oracles: Sequence[Row]) -> None:
    for row in oracles:
        cost, rate = _place(row)
        left, right = drawing.axes.get_xlim()
        arrow = "↑" if rate > drawing.axes.get_ylim()[1] else "←" if cost < left else "→" if cost > right else "★"
        if arrow == "★":
            (star,) = drawing.axes.plot(cost, rate, "*", color=COLOURS["warn"], markersize=11)
            drawing.tip(star, _tip(row))
        _note_above(drawing, min(max(cost, left), right), f"{arrow} oracle: {percent(rate)} at {money(cost)}", line=0)


def _note_above(drawing: Drawing, cost: float, text: str, *, line: int) -> None:
    """A line of text above the upper edge, at a cost."""
    axes = drawing.axes
    left, right = np.log(axes.get_xlim())
    at = (math.log(cost) - left) / (right - left)
    side = "left" if at < 0.2 else "right" if at > 0.8 else "center"
    axes.text(at, 1.02 + 0.05 * line, text, transform=axes.transAxes, ha=side, color=COLOURS["warn"])


def _number(axes: Axes, points: Sequence[Point], taken: Sequence[Point]) -> None:
    """Each point's number, in the first place beside it that holds neither a mark nor another number."""
    scale = 72 / axes.figure.dpi
    dots = axes.transData.transform(np.array(taken)) * scale
    busy = list(dots)
    for number, (point, own) in enumerate(zip(points, dots, strict=False), 1):
        hits = [sum(math.dist(own + offset, place) < ROOM for place in busy) for offset in AROUND]
        offset = AROUND[hits.index(min(hits))]
        busy.append(own + offset)
        axes.annotate(
            str(number), point, offset, textcoords="offset points", ha="center", va="center_baseline",
            zorder=3.5, bbox={"boxstyle": "round,pad=0.1", "facecolor": COLOURS["raised"], "alpha": 0.75, "lw": 0},
        )  # fmt: skip


def _sweep(row: Row) -> list[Point]:
    """Corners of the Pareto-clean curve, cheapest first."""
    points = [(point.cost, point.rate) for point in row.curve or [] if point.cost > 0]
    if not points:
        return []
    costs, rates = pareto(*np.array(points, dtype=np.float64).T)
    return list(zip(costs.tolist(), rates.tolist(), strict=True))


def _place(row: Row) -> Point:
    return row.cost_per_instance or 0.0, row.rate


def _dot(text: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", marker="o", markersize=5, color=COLOURS["ink"], label=text)


def _tip(row: Row) -> str:
    return f"{row.name}, {chip(row)}: {percent(row.rate)} at {money(row.cost_per_instance)} an instance"
