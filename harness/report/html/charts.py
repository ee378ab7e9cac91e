"""The report's drawings: intervals, shares and counts as one bar a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.evaluation.schema import Results, Row
from harness.evaluation.verdict import best_single
from harness.report.html import svg
from harness.report.html.text import count, percent, signed

COLOURS = 12
"""Colours of the style sheet (`.k0` … `.k11`); what comes after them is grey."""


@dataclass(frozen=True)
class Line:
    """A label, its drawing, and the numbers in words."""

    label: str
    chip: str
    drawing: Markup
    text: str


CHIPS = {
    "cross-fitted": "held out",
    "leave-one-repository-out": "unseen repositories",
    "in-sample": "in-sample",
    "recorded": "recorded",
    "live": "live",
}


def chip(row: Row) -> str:
    """How the row was obtained, in a word or two."""
    if row.kind == "oracle":
        return "bound"
    if row.kind == "random":
        return "expectation"
    return CHIPS[row.evaluation]


def tone(row: Row) -> str:
    """Class of a row's marks: what may be quoted stands out, what is fitted on its own test is pale."""
    if row.kind in ("oracle", "random"):
        return "bound"
    if row.kind == "single":
        return "single"
    return {"in-sample": "pale", "leave-one-repository-out": "unseen"}.get(row.evaluation, "held")


def rate_lines(results: Results) -> tuple[list[Line], Markup]:
    """A dot with its 95 % interval for every row, and the axis below them."""
    low = min(row.rate_ci95[0] for row in results.rows)
    high = max(row.rate_ci95[1] for row in results.rows)
    room = max(0.02, (high - low) * 0.05)
    axis = svg.Axis(max(0.0, low - room), min(1.0, high + room))
    marks = svg.ticks(axis.low, axis.high, 5)
    best = best_single(results.rows)
    lines = []
    for row in results.rows:
        title = f"{row.name}, {chip(row)}: {count(row.resolved)} of {row.n}, {percent(row.rate)}"
        ends = (axis.x(row.rate_ci95[0]), axis.x(row.rate_ci95[1]))
        parts = [svg.line(axis.x(mark), 0, axis.x(mark), 24, "grid") for mark in marks]
        if best is not None:
            parts.append(svg.line(axis.x(best.rate), 0, axis.x(best.rate), 24, "reference"))
        parts += [
            svg.line(ends[0], 12, ends[1], 12, f"whisker {tone(row)}"),
            svg.marker("dot", axis.x(row.rate), 12, f"mark {tone(row)}", title),
        ]
        interval = f"{row.rate_ci95[0] * 100:.1f} to {row.rate_ci95[1] * 100:.1f}"
        lines.append(
            Line(row.name, chip(row), svg.canvas(24, *parts, label=title), f"{percent(row.rate)} [{interval}]")
        )
    labels = [
        svg.tag("text", percent(mark, 0), x=axis.x(mark), y=12, text_anchor="middle", class_="tick") for mark in marks
    ]
    return lines, svg.canvas(18, *labels, label="axis: share resolved")


def share_lines(results: Results) -> list[Line]:
    """Who gets how much, one stacked bar for each way of choosing that does not always take the same model."""
    lines = []
    for row in results.rows:
        if row.kind == "single" or not row.routing_share:
            continue
        left, parts = 0.0, []
        for k, model in enumerate(results.pool):
            share = row.routing_share.get(model, 0.0)
            if share <= 0:
                continue
            box = svg.tag(
                "rect", svg.tag("title", f"{model}: {percent(share)}"), x=f"{left * 100:.2f}%", y=0,
                width=f"{share * 100:.2f}%", height=16, class_=f"k{k}" if k < COLOURS else "kx",
            )  # fmt: skip
            parts.append(box)
            left += share
        leading = sorted(row.routing_share.items(), key=lambda item: -item[1])
        shown = [f"{model} {percent(share, 0)}" for model, share in leading[:3] if share >= 0.005]
        rest = sum(share for _, share in leading[3:])
        text = ", ".join(shown) + (f", others {percent(rest, 0)}" if rest >= 0.005 else "")
        lines.append(Line(row.name, chip(row), svg.canvas(16, *parts, label=text), text))
    return lines


def count_lines(counts: Sequence[tuple[str, int]], total: int, tone_: str = "held") -> list[Line]:
    """A bar for each count, all on the scale of the greatest."""
    top = max((n for _, n in counts), default=0) or 1
    lines = []
    for label, n in counts:
        width = f"{n / top * 100:.2f}%"
        bar = svg.tag("rect", x=0, y=0, width=width, height=14, class_=f"bar {tone_}")
        text = f"{n:,}" + (f" ({percent(n / total, 0)})" if total else "")
        lines.append(Line(label, "", svg.canvas(14, bar, label=f"{label}: {text}"), text))
    return lines


def difference(row: Row) -> str:
    """To the best single model, with its interval; empty where there is none."""
    vs = row.vs_best_single
    return "" if vs is None else f"{signed(vs.delta)} [{signed(vs.ci95[0])}, {signed(vs.ci95[1])}]"
