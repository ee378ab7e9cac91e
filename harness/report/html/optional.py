"""Parts of a results document that only some runs have: bounds, and the verifier of finished attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from harness.evaluation.schema import Results, Row, VerifierQuality
from harness.evaluation.stats import wilson_interval
from harness.report.html import svg
from harness.report.html.text import count, percent

PLOT_HEIGHT = 260
Point = tuple[float, float]


@dataclass(frozen=True)
class Verifier:
    """How well finished attempts are told right from wrong."""

    text: str
    signals: tuple[str, ...]
    reliability: Markup


@dataclass(frozen=True)
class WhatItTakes:
    """Resolved over a simulated verifier's AUC, one line for each budget."""

    drawing: Markup
    budgets: tuple[str, ...]


def bounds_of(row: Row) -> str:
    """Between what the count lies where verdicts are missing; empty where none is."""
    if row.bounds is None:
        return ""
    return f"{count(row.bounds[0])} to {count(row.bounds[1])} with the {row.missing} without verdict"


def verifier(quality: VerifierQuality) -> Verifier:
    low, high = quality.auc_ci95
    text = (
        f"Held out over {quality.attempts:,} attempts: AUC within a model {quality.auc:.3f} "
        f"[{low:.3f}, {high:.3f}], across models {quality.auc_across_models:.3f}; Brier {quality.brier:.3f} "
        f"against {quality.brier_of_rates:.3f} for predicting each model’s own rate."
    )
    across, up = svg.Axis(0, 1), svg.Axis(0, 1, span=float(PLOT_HEIGHT))
    parts = [*_frame(across, up, "P(resolved | signals)", as_percent=True)]
    parts.append(svg.line("0%", PLOT_HEIGHT, "100%", 0, "reference"))
    line: list[Point] = []
    for part in quality.reliability:
        least, most = wilson_interval(min(part.observed * part.n, part.n), part.n)
        at = across.x(part.predicted)
        parts.append(svg.line(at, _y(up, least), at, _y(up, most), "whisker held"))
        line.append((part.predicted, part.observed))
    parts += _path(across, up, line, "curve k0")
    for part in quality.reliability:
        title = f"predicted {percent(part.predicted)}, resolved {percent(part.observed)} of {part.n}"
        parts.append(svg.marker("dot", across.x(part.predicted), _y(up, part.observed), "mark held", title))
    drawing = svg.canvas(PLOT_HEIGHT, *parts, label="Reliability: share resolved over predicted probability")
    return Verifier(text, tuple(quality.signals), drawing)


def what_it_takes(results: Results) -> WhatItTakes | None:
    """None where nothing was simulated."""
    points, quality = results.what_it_takes, results.verifier
    if not points:
        return None
    best = max((row.resolved for row in results.rows if row.kind == "single"), default=0.0)
    heights = [point.resolved for point in points] + ([best] if best else [])
    room = max(1.0, (max(heights) - min(heights)) * 0.08)
    aucs = [point.auc for point in points] + ([quality.auc] if quality else [])
    across = svg.Axis(min(aucs), max(aucs) if max(aucs) > min(aucs) else min(aucs) + 0.1)
    up = svg.Axis(min(heights) - room, max(heights) + room, span=float(PLOT_HEIGHT))
    parts = [*_frame(across, up, "AUC of a simulated verifier", as_percent=False)]
    if best:
        parts.append(svg.line("0%", _y(up, best), "100%", _y(up, best), "reference"))
    if quality is not None:
        at = across.x(quality.auc)
        parts.append(svg.line(at, 0, at, PLOT_HEIGHT, "repeatable"))
        parts.append(svg.tag("text", "measured", x=at, y=-4, text_anchor="middle", class_="tick"))
    budgets = sorted({point.budget for point in points})
    for k, budget in enumerate(budgets):
        of_budget = sorted((point.auc, point.resolved) for point in points if point.budget == budget)
        parts += _path(across, up, of_budget, f"curve k{k}")
        for auc, resolved in of_budget:
            title = f"AUC {auc:.2f}, at most {budget:g} × the best single’s cost: {count(resolved)} resolved"
            parts.append(svg.marker("dot", across.x(auc), _y(up, resolved), f"mark k{k}", title))
    drawing = svg.canvas(PLOT_HEIGHT, *parts, label="Resolved instances over the AUC of a simulated verifier")
    return WhatItTakes(drawing, tuple(f"at most {budget:g} × the best single’s cost" for budget in budgets))


def _y(up: svg.Axis, value: float) -> float:
    return PLOT_HEIGHT - up.at(value)


def _path(across: svg.Axis, up: svg.Axis, points: Sequence[Point], class_: str) -> list[Markup]:
    return [svg.line(across.x(a[0]), _y(up, a[1]), across.x(b[0]), _y(up, b[1]), class_) for a, b in pairwise(points)]


def _frame(across: svg.Axis, up: svg.Axis, name: str, *, as_percent: bool) -> list[Markup]:
    parts = []
    for mark in svg.ticks(up.low, up.high, 5):
        text = percent(mark, 0) if as_percent else f"{mark:g}"
        parts.append(svg.line("0%", _y(up, mark), "100%", _y(up, mark), "grid"))
        parts.append(svg.tag("text", text, x=-6, y=_y(up, mark) + 4, text_anchor="end", class_="tick"))
    for mark in svg.ticks(across.low, across.high, 5):
        text = percent(mark, 0) if as_percent else f"{mark:g}"
        at = across.x(mark)
        parts.append(svg.tag("text", text, x=at, y=PLOT_HEIGHT + 16, text_anchor="middle", class_="tick"))
    parts.append(svg.tag("text", name, x="50%", y=PLOT_HEIGHT + 33, text_anchor="middle", class_="tick"))
    return parts
