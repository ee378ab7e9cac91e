"""Figures of a results document's verifier: its reliability curve, and what a better one would bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.evaluation.schema import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_reliability(results: Results, figure: Figure, axes: Axes) -> Figure | None:
    """Observed share over predicted probability of held-out attempts, with Wilson's intervals."""
    from harness.evaluation.stats import wilson_interval

    quality = results.verifier
    if quality is None:
        return None
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1)
    for part in quality.reliability:
        low, high = wilson_interval(part.observed * part.n, part.n)
        axes.plot([part.predicted] * 2, [low, high], color="C0", linewidth=1)
    predicted = [part.predicted for part in quality.reliability]
    axes.plot(predicted, [part.observed for part in quality.reliability], color="C0", marker="o", markersize=4)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("P(resolved | signals), held out")
    axes.set_ylabel("share resolved, 95 % interval")
    low, high = quality.auc_ci95
    axes.set_title(f"AUC {quality.auc:.2f} [{low:.2f}, {high:.2f}], Brier {quality.brier:.3f}", fontsize=9)
    return figure


def draw_what_it_takes(results: Results, figure: Figure, axes: Axes) -> Figure | None:
    """Resolved over the AUC of a simulated verifier, a line per budget; the measured AUC is marked."""
    if not results.what_it_takes:
        return None
    for number, budget in enumerate(sorted({point.budget for point in results.what_it_takes})):
        points = [point for point in results.what_it_takes if point.budget == budget]
        label = f"at most {budget:g} × the best single's cost"
        axes.plot([p.auc for p in points], [p.resolved for p in points], f"C{number}", marker="o", ms=3, label=label)
    singles = [row.resolved for row in results.rows if row.kind == "single"]
    if singles:
        axes.axhline(max(singles), color="0.5", linestyle="--", linewidth=1, label="best single model")
    if results.verifier is not None:
        axes.axvline(results.verifier.auc, color="black", linestyle=":", linewidth=1, label="measured AUC")
    axes.set_xlabel("AUC of a simulated verifier of finished attempts")
    axes.set_ylabel("instances resolved")
    axes.set_title("what it would take: simulated, cascade chosen in hindsight", fontsize=9)
    axes.legend(fontsize=7, frameon=False)
    return figure
