"""The verifier of finished attempts: its reliability curve, and what a better one would bring."""

from __future__ import annotations

from harness.evaluation.schema import Results
from harness.evaluation.stats import wilson_interval
from harness.report.figures.drawing import COLOURS, Drawing, as_percent, blank, series
from harness.report.text import count, percent

WIDTH = 4.4
"""Inches: two side by side on a wide page, one on a phone."""
HEIGHT = 3.6


def draw_reliability(results: Results) -> Drawing | None:
    """Observed share over predicted probability of held-out attempts, with Wilson's intervals."""
    quality = results.verifier
    if quality is None:
        return None
    drawing = blank("reliability", "Share resolved over predicted probability", width=WIDTH, height=HEIGHT)
    axes = drawing.axes
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linestyle=(0, (4, 3)), linewidth=0.9)
    predicted = [part.predicted for part in quality.reliability]
    axes.plot(predicted, [part.observed for part in quality.reliability], color=COLOURS["accent"], linewidth=1.4)
    for part in quality.reliability:
        interval = wilson_interval(min(part.observed * part.n, part.n), part.n)
        axes.plot([part.predicted] * 2, interval, color=COLOURS["accent"], linewidth=2, alpha=0.4)
        (dot,) = axes.plot(part.predicted, part.observed, "o", color=COLOURS["accent"], markersize=4.5)
        drawing.tip(dot, f"predicted {percent(part.predicted)}, resolved {percent(part.observed)} of {part.n}")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="P(resolved | signals), held out", ylabel="share resolved, 95 % interval")
    axes.xaxis.set_major_formatter(as_percent)
    axes.yaxis.set_major_formatter(as_percent)
    axes.grid()
    low, high = quality.auc_ci95
    axes.set_title(f"AUC {quality.auc:.2f} [{low:.2f}, {high:.2f}], Brier {quality.brier:.3f}", loc="left")
    return drawing


def draw_what_it_takes(results: Results) -> Drawing | None:
    """Resolved over the AUC of a simulated verifier, a line for each budget; the measured AUC is marked."""
    points = results.what_it_takes
    if not points:
        return None
    drawing = blank("what-it-takes", "Instances resolved over a simulated verifier’s AUC", width=WIDTH, height=HEIGHT)
    axes = drawing.axes
    for k, budget in enumerate(sorted({point.budget for point in points})):
        curve = sorted((point.auc, point.resolved) for point in points if point.budget == budget)
        text = f"at most {budget:g} × the best single’s cost"
        axes.plot(*zip(*curve, strict=True), color=series(k), linewidth=1.6, label=text)
        for auc, resolved in curve:
            (dot,) = axes.plot(auc, resolved, "o", color=series(k), markersize=4)
            drawing.tip(dot, f"AUC {auc:.2f}, {text}: {count(resolved)} resolved")
    if singles := [row.resolved for row in results.rows if row.kind == "single"]:
        dashed = (0, (4, 3))
        axes.axhline(max(singles), color=COLOURS["muted"], linestyle=dashed, linewidth=0.9, label="best single model")
    if results.verifier is not None:
        axes.axvline(results.verifier.auc, color=COLOURS["ink"], linestyle=":", linewidth=1.2, label="measured AUC")
    axes.set(xlabel="AUC of a simulated verifier of finished attempts", ylabel="instances resolved")
    axes.grid()
    axes.set_title("simulated, cascade chosen in hindsight", loc="left")
    drawing.figure.legend(loc="outside lower left", ncols=2, fontsize=8)
    return drawing
