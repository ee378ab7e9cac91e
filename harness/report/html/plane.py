"""The cost–quality plane: singles, their hull, every policy's held-out sweep over the price of money, the bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from harness.evaluation.schema import Results, Row
from harness.evaluation.verdict import best_single
from harness.report.html import svg
from harness.report.html.charts import COLOURS, chip
from harness.report.html.text import count, money, percent, shortened
from router.lab.curves import hull, pareto

HEIGHT = 430
WIDTH = 900
"""Pixels that labels are placed for; a narrower page shows numbers and a key instead."""
LETTER, LINE = 6.4, 14
"""Size of a label's letters."""


@dataclass(frozen=True)
class Key:
    """An entry of the legend."""

    swatch: Markup
    text: str


@dataclass(frozen=True)
class Plane:
    drawing: Markup
    legend: tuple[Key, ...]
    numbered: tuple[str, ...]
    """Names of the single models, in the order of the numbers a narrow page shows beside their points."""


def cost_quality(results: Results) -> Plane | None:
    """None when no model's cost is known."""
    priced = [row for row in results.rows if row.cost_per_instance]
    singles = [row for row in priced if row.kind == "single"]
    if not singles:
        return None
    policies = [row for row in results.rows if row.evaluation == "cross-fitted" and row.kind == "policy"]
    sweeps = {row.name: _sweep(row) for row in policies}
    bounds = [row for row in priced if row.kind in ("oracle", "random")]
    repeatable = results.complementarity.repeatable_oracle
    n = max(row.n for row in results.rows)

    points = [(row.cost_per_instance or 0.0, row.rate) for row in [*singles, *bounds, *_placed(policies)]]
    points += [point for sweep in sweeps.values() for point in sweep]
    rates = [rate for _, rate in points] + ([repeatable.resolved / n] if repeatable else [])
    across, up = _axes([cost for cost, _ in points], rates)
    draw = _Draw(across, up)

    parts = [*draw.frame(), *draw.hull(singles)]
    legend = [Key(_swatch("hull"), "hull: the best mixtures of single models")]
    if best := best_single(results.rows):
        parts.append(draw.level(best.rate, "reference"))
    if repeatable is not None:
        parts.append(draw.level(repeatable.resolved / n, "repeatable"))
        legend.append(Key(_swatch("repeatable"), f"repeatable oracle, {count(repeatable.resolved)} of {n}"))
    for k, row in enumerate(policies):
        colour = f"k{k}" if k < COLOURS else "kx"
        parts += draw.steps(sweeps[row.name], f"curve {colour}")
        legend.append(Key(_swatch(f"curve {colour}"), f"{row.name}, held out, over the weight of cost"))
    for k, row in enumerate(policies):
        if row.cost_per_instance:
            parts.append(draw.point(row, "diamond", f"mark k{k}" if k < COLOURS else "mark kx"))
    for row in bounds:
        parts.append(draw.point(row, "star" if row.kind == "oracle" else "cross", "mark bound"))
        name = "oracle: any model resolves it" if row.kind == "oracle" else "a model at random"
        legend.append(Key(_marker("star" if row.kind == "oracle" else "cross", "mark bound"), name))
    parts += [draw.point(row, "dot", "mark single") for row in singles]
    parts += draw.labels(singles, taken=points)
    label = f"Cost per instance against share resolved: {len(singles)} models, {len(policies)} policies"
    return Plane(svg.canvas(HEIGHT, *parts, label=label), tuple(legend), tuple(row.name for row in singles))


def _sweep(row: Row) -> list[tuple[float, float]]:
    """Corners of the Pareto-clean curve, cheapest first."""
    points = [(point.cost, point.rate) for point in row.curve or [] if point.cost > 0]
    if not points:
        return []
    costs, rates = pareto(*np.array(points, dtype=np.float64).T)
    return list(zip(costs.tolist(), rates.tolist(), strict=True))


def _placed(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.cost_per_instance]


def _axes(costs: Sequence[float], rates: Sequence[float]) -> tuple[svg.Axis, svg.Axis]:
    low, high = min(rates), max(rates)
    room = max(0.01, (high - low) * 0.06)
    across = svg.Axis(min(costs) / 1.15, max(costs) * 1.15, log=True)
    return across, svg.Axis(max(0.0, low - room), min(1.0, high + room), span=float(HEIGHT))


@dataclass(frozen=True)
class _Draw:
    across: svg.Axis
    up: svg.Axis

    def y(self, rate: float) -> float:
        return HEIGHT - self.up.at(rate)

    def frame(self) -> list[Markup]:
        parts = []
        for mark in svg.ticks(self.up.low, self.up.high, 7):
            parts.append(svg.line("0%", self.y(mark), "100%", self.y(mark), "grid"))
            text = percent(mark, 0 if abs(mark * 100 - round(mark * 100)) < 1e-9 else 1)
            parts.append(svg.tag("text", text, x=-6, y=self.y(mark) + 4, text_anchor="end", class_="tick"))
        for mark in svg.log_ticks(self.across.low, self.across.high):
            at = self.across.x(mark)
            parts.append(svg.line(at, 0, at, HEIGHT, "grid"))
            parts.append(svg.tag("text", f"${mark:g}", x=at, y=HEIGHT + 16, text_anchor="middle", class_="tick"))
        parts.append(
            svg.tag("text", "USD per instance", x="50%", y=HEIGHT + 34, text_anchor="middle", class_="tick axis-name")
        )
        return parts

    def level(self, rate: float, class_: str) -> Markup:
        return svg.line("0%", self.y(rate), "100%", self.y(rate), class_)

    def hull(self, singles: Sequence[Row]) -> list[Markup]:
        costs, rates = np.array([(row.cost_per_instance, row.rate) for row in singles], dtype=np.float64).T
        corners = list(zip(*(axis.tolist() for axis in hull(costs, rates)), strict=True))
        # a mixture's cost is a straight line in dollars, which a logarithmic axis bends
        fine = [
            (a[0] + (b[0] - a[0]) * t / 12, a[1] + (b[1] - a[1]) * t / 12)
            for a, b in pairwise(corners)
            for t in range(12)
        ]
        return self._path([*fine, *corners[-1:]], "hull")

    def steps(self, corners: Sequence[tuple[float, float]], class_: str) -> list[Markup]:
        """What so much money buys: flat until the next corner is paid for."""
        turns = [point for here, after in pairwise(corners) for point in (here, (after[0], here[1]))]
        return self._path([*turns, *corners[-1:]], class_)

    def _path(self, points: Sequence[tuple[float, float]], class_: str) -> list[Markup]:
        """As straight pieces: a path's coordinates cannot be percentages."""
        x, y = self.across.x, self.y
        return [svg.line(x(a[0]), y(a[1]), x(b[0]), y(b[1]), class_) for a, b in pairwise(points)]

    def point(self, row: Row, shape: str, class_: str) -> Markup:
        cost = row.cost_per_instance or 0.0
        title = f"{row.name}, {chip(row)}: {percent(row.rate)} at {money(cost)} an instance"
        return svg.marker(shape, self.across.x(cost), self.y(row.rate), class_, title)

    def labels(self, singles: Sequence[Row], taken: Sequence[tuple[float, float]]) -> list[Markup]:
        """Names where they collide with nothing on a wide page, and numbers for a narrow one."""
        dots = [(self.across.at(cost) / 100 * WIDTH, self.y(rate)) for cost, rate in taken]
        boxes: list[tuple[float, float, float, float]] = []
        parts = []
        for number, row in enumerate(singles, 1):
            x, y = self.across.at(row.cost_per_instance or 0.0) / 100 * WIDTH, self.y(row.rate)
            at = self.across.x(row.cost_per_instance or 0.0)
            parts.append(svg.tag("text", str(number), x=at, y=y - 7, text_anchor="middle", class_="label narrow"))
            name = shortened(row.name, 30)
            width = len(name) * LETTER
            for anchor, dx, dy in (
                ("start", 9, 4), ("end", -9, 4), ("middle", 0, -10), ("middle", 0, 18), ("start", 7, -7),
                ("start", 7, 16), ("end", -7, -7), ("end", -7, 16), ("start", 12, 26), ("end", -12, 26),
            ):  # fmt: skip
                left = x + dx - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
                box = (left, y + dy - LINE + 3, left + width, y + dy + 3)
                if box[0] < 0 or box[2] > WIDTH or box[1] < 0 or box[3] > HEIGHT or _hits(box, boxes, dots, (x, y)):
                    continue
                boxes.append(box)
                nested = svg.tag("text", name, x=dx, y=dy, text_anchor=anchor, class_="label wide")
                parts.append(svg.tag("svg", nested, x=at, y=y, overflow="visible"))
                break
        return parts


def _hits(
    box: tuple[float, float, float, float],
    boxes: Iterable[tuple[float, float, float, float]],
    dots: Iterable[tuple[float, float]],
    own: tuple[float, float],
) -> bool:
    left, top, right, bottom = box
    if any(left < b[2] and b[0] < right and top < b[3] and b[1] < bottom for b in boxes):
        return True
    return any(left - 3 < x < right + 3 and top - 3 < y < bottom + 3 for x, y in dots if (x, y) != own)


def _swatch(class_: str) -> Markup:
    return svg.tag("svg", svg.line(0, 6, 22, 6, class_), width=22, height=12, class_="swatch", aria_hidden="true")


def _marker(shape: str, class_: str) -> Markup:
    drawn = svg.marker(shape, "11", 6.0, class_, "")
    return svg.tag("svg", drawn, width=22, height=12, class_="swatch", aria_hidden="true")
