"""Shaded tables as pictures: success by cluster and model, and pairs of models. The page has them as HTML."""

from __future__ import annotations

import numpy as np

from harness.evaluation.schema import ClusterProfile, Results
from harness.report.figures.drawing import Drawing, blank, label

WORDS = 3
"""Of a cluster, in its label."""
MOST_NUMBERED = 30
"""Larger pools' pairs are shades alone: thousands of numbers take seconds to draw, and the page has them."""


def draw_clusters(results: Results) -> Drawing | None:
    """What each model resolves in each cluster. Fitted and read on the same instances, as the title says."""
    if not results.clusters or results.null is None:
        return None
    models = list(results.clusters[0].rates)
    room = 2.0 if any(cluster.words for cluster in results.clusters) else 0.0
    height = 1.8 + 0.28 * len(results.clusters)
    drawing = blank("clusters", "Success by cluster and model", width=2.5 + room + 0.8 * len(models), height=height)
    axes = drawing.axes
    table = [[cluster.rates[model] for model in models] for cluster in results.clusters]
    image = axes.imshow(table, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for i, line in enumerate(table):
        for j, rate in enumerate(line):
            colour, weight = "white" if rate < 0.6 else "black", "bold" if rate == max(line) else "normal"
            axes.text(j, i, f"{rate:.0%}", ha="center", va="center", color=colour, fontsize=7, weight=weight)
    _name(drawing, columns=models, rows=[_cluster(cluster) for cluster in results.clusters])
    axes.set_ylabel("cluster")
    axes.set_title(f"{label(results.null.policy)}: share resolved by cluster,\nin-sample, not what routing would bring")
    drawing.figure.colorbar(image, ax=axes, shrink=0.8)
    return drawing


def draw_pairs(results: Results) -> Drawing | None:
    """How many instances the row's model resolves and the column's does not."""
    pairs, models = results.complementarity.pairs, results.pool
    if not pairs:
        return None
    table = np.full((len(models), len(models)), np.nan)
    for pair in pairs:
        if pair.a in models and pair.b in models:
            a, b = models.index(pair.a), models.index(pair.b)
            table[a, b], table[b, a] = pair.a_only, pair.b_only
    size = {"width": 3 + 0.5 * len(models), "height": 2 + 0.34 * len(models)}
    drawing = blank("pairs", "Instances that one model resolves and another does not", **size)
    axes = drawing.axes
    axes.imshow(table, cmap="Blues", vmin=0, vmax=max(1.0, float(np.nanmax(table)) * 1.5), aspect="auto")
    for (i, j), n in np.ndenumerate(table):
        if len(models) <= MOST_NUMBERED and not np.isnan(n):
            axes.text(j, i, f"{n:.0f}", ha="center", va="center", fontsize=7)
    _name(drawing, columns=models, rows=[label(model) for model in models])
    axes.set_ylabel("resolved by")
    axes.set_xlabel("and not by")
    return drawing


def _name(drawing: Drawing, *, columns: list[str], rows: list[str]) -> None:
    names = [label(model) for model in columns]
    drawing.axes.set_xticks(
        range(len(columns)), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=7
    )  # fmt: skip
    drawing.axes.set_yticks(range(len(rows)), rows, fontsize=7)


def _cluster(cluster: ClusterProfile) -> str:
    """Number and size, and what it is about where its words are known."""
    words = f": {label(', '.join(cluster.words[:WORDS]), 40)}" if cluster.words else ""
    return f"{cluster.cluster} (n = {cluster.size}){words}"
