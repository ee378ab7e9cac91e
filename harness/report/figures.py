"""Figures of a results document, drawn from its numbers alone: the cost–quality plane and the clusters' heatmap.

matplotlib is optional: without it a run has every table and no figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import EnvironmentUnavailableError
from harness.evaluation.schema import ClusterProfile, Results, Row
from harness.report.html.text import shortened
from harness.report.plain_figures import as_it_is, draw_pairs, draw_rates, draw_shares
from harness.report.signal_figures import draw_reliability, draw_what_it_takes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
NAME_LENGTH = 34
WORDS = 3
"""Of a cluster, in its label."""


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Write what the report draws, each as PNG and SVG: `rates`, `cost-quality`, `clusters`, `shares`, `pairs`,
    `reliability` and `what-it-takes`.

    Returns what was written into `folder`. A figure whose numbers are unknown (no costs, no clusters, no signals) is
    left out.

    Raises:
        EnvironmentUnavailableError: matplotlib is not installed.
    """
    try:
        import matplotlib as _  # noqa: F401
    except ImportError:
        raise EnvironmentUnavailableError(
            "figures need matplotlib; install it with: pip install 'polyswe[figures]'"
        ) from None
    written: list[Path] = []
    with _style():
        drawn = {
            "rates": draw_rates(results, _canvas),
            "cost-quality": _cost_quality(results),
            "clusters": _heatmap(results),
            "shares": draw_shares(results, _canvas),
            "pairs": draw_pairs(results, _canvas),
            "reliability": draw_reliability(results, *_canvas(4.5, 4.5)),
            "what-it-takes": draw_what_it_takes(results, *_canvas(6.5, 4)),
        }
        for name, figure in drawn.items():
            if figure is None:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            for ending in FORMATS:
                path = folder / f"{name}.{ending}"
                # without a date the same numbers give the same file
                figure.savefig(path, dpi=150, metadata={"Date": None} if ending == "svg" else {"Software": None})
                written.append(path)
    return written


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    plain = {"svg.hashsalt": "polyswe", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(plain):
        yield


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with the headless renderer: no display is looked for and no global state is left behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _cost_quality(results: Results) -> Figure | None:
    """Single models, their hull, each policy's held-out sweep over λ, and the oracle; cost on a logarithmic axis."""
    from router.lab.curves import hull, pareto

    priced = [row for row in results.rows if row.cost_per_instance is not None and row.cost_per_instance > 0]
    singles = [row for row in priced if row.kind == "single"]
    if not singles:
        return None
    figure, axes = _canvas(8, 5)
    costs, rates = _arrays([(row.cost_per_instance or 0.0, row.rate) for row in singles])
    axes.plot(*hull(costs, rates), color="0.6", linestyle="--", linewidth=1, label="hull of the single models")
    axes.scatter(costs, rates, color="0.25", s=22, zorder=3)
    for row in singles:
        place = (row.cost_per_instance or 0.0, row.rate)
        axes.annotate(_short(row.name), place, (4, -10), textcoords="offset points", fontsize=7)
    for number, row in enumerate(row for row in results.rows if row.evaluation == "cross-fitted" and row.curve):
        points = [(point.cost, point.rate) for point in row.curve or [] if point.cost > 0]
        colour = f"C{number}"
        axes.step(
            *pareto(*_arrays(points)), where="post", color=colour, linewidth=1.5, label=f"{_short(row.name)}, held out"
        )
        axes.plot(row.cost_per_instance or 0.0, row.rate, color=colour, marker="D", markersize=5, linestyle="")
    for row in priced:
        if row.kind in ("oracle", "random"):
            marker = "*" if row.kind == "oracle" else "x"
            place = (row.cost_per_instance or 0.0, row.rate)
            axes.plot(*place, marker=marker, color="black", markersize=8, linestyle="", label=_bound(row))
    repeatable = results.complementarity.repeatable_oracle
    n = max(row.n for row in results.rows)
    if repeatable is not None:
        label = f"repeatable oracle {repeatable.resolved:.0f}"
        axes.axhline(repeatable.resolved / n, color="0.4", linestyle=":", linewidth=1, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("${x:.2g}")
    axes.xaxis.set_minor_formatter("${x:.2g}")
    axes.margins(x=0.12)
    axes.set_xlabel("USD per instance")
    axes.set_ylabel(f"share resolved of {n} instances")
    axes.set_title(as_it_is(results.dataset), fontsize=9)
    axes.legend(fontsize=7, frameon=False, loc="upper right")
    return figure


def _heatmap(results: Results) -> Figure | None:
    """What each model resolves in each cluster. Fitted and read on the same instances, as the title says."""
    if not results.clusters or results.null is None:
        return None
    models = list(results.clusters[0].rates)
    room = 2.0 if any(cluster.words for cluster in results.clusters) else 0.0
    figure, axes = _canvas(2.5 + room + 0.8 * len(models), 1.8 + 0.28 * len(results.clusters))
    table = [[cluster.rates[model] for model in models] for cluster in results.clusters]
    image = axes.imshow(table, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for i, line in enumerate(table):
        for j, rate in enumerate(line):
            colour, weight = "white" if rate < 0.6 else "black", "bold" if rate == max(line) else "normal"
            axes.text(j, i, f"{rate:.0%}", ha="center", va="center", color=colour, fontsize=7, weight=weight)
    axes.set_xticks(range(len(models)), [_short(model) for model in models], rotation=35, ha="right", fontsize=7)
    axes.set_yticks(range(len(table)), [_cluster(cluster) for cluster in results.clusters], fontsize=7)
    axes.set_ylabel("cluster")
    title = f"{as_it_is(results.null.policy)}: share resolved by cluster,\nin-sample (not what routing would bring)"
    axes.set_title(title, fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def _arrays(points: list[tuple[float, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    costs, rates = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return costs, rates


def _bound(row: Row) -> str:
    return "oracle, any model resolves" if row.kind == "oracle" else "random choice"


def _cluster(cluster: ClusterProfile) -> str:
    """Number and size, and what it is about where its words are known."""
    words = f": {', '.join(cluster.words[:WORDS])}" if cluster.words else ""
    return f"{cluster.cluster} (n = {cluster.size}){as_it_is(words)}"


def _short(name: str) -> str:
    return as_it_is(shortened(name, NAME_LENGTH))
