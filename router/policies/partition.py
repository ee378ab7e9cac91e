"""What the policies with clusters share: partitions of the training rows, and the choice among several of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features
from router.clustering import CentroidClusters
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies.base import PolicyParameterError, choose, fill_costs

Auto = Literal["auto"]

AUTO_CLUSTERS = (1, 2, 4, 8, 16, 32)
"""Numbers of clusters that "auto" tries. One cluster is no routing, so that the choice can be not to route."""
INNER_FOLDS = 5
"""Of the training rows, to judge candidates by."""


@dataclass(frozen=True, eq=False)
class Partition:
    """Clusters and where the training rows lie in them."""

    centroids: FloatArray
    """(k, d)"""
    labels: IntArray
    """(n,) cluster of each training row"""

    def one_hot(self) -> FloatArray:
        """(k, n) membership: turns per-cluster sums into one matrix product."""
        return np.eye(len(self.centroids))[:, self.labels]


def learn_partitions(
    X: Features, corpus: Features | None, method: str, n_clusters: int | Auto, seed: int
) -> list[Partition]:
    """A partition of X (n, d) learned on `corpus` (c, d) if given, else on X; for "auto" one per AUTO_CLUSTERS that
    the rows allow. ValueError for more clusters than rows, PolicyParameterError for what is neither number nor "auto".
    """
    X = as_features(X)
    source = X if corpus is None else as_features(corpus)
    if isinstance(n_clusters, str | bool) and n_clusters != "auto":
        raise PolicyParameterError(f"n_clusters must be a number or 'auto', got {n_clusters!r}")
    sizes = [k for k in AUTO_CLUSTERS if k <= len(source)] if n_clusters == "auto" else [n_clusters]
    fitted = [CentroidClusters(k, seed, method=method).fit(source) for k in sizes]
    return [Partition(clusters.centroids_, clusters.assign(X)) for clusters in fitted]


def best_candidate(
    score: Sequence[Callable[[IntArray, IntArray], FloatArray]], outcomes: OutcomeMatrix, cost_weight: float, seed: int
) -> int:
    """Which of several ways to score routes best held out *within* the training rows.

    `score[c](train, test)` are candidate c's estimates (t, m) for rows `test` from the outcomes of rows `train`. Judged
    is the routing itself, mean resolved − λ·cost over INNER_FOLDS folds, not how well anything is clustered. The first
    candidate is the steadiest: another one must beat it by a standard error of their difference over instances
    (Breiman's one-standard-error rule, Classification and Regression Trees, 1984, §3.4.3).
    """
    n = len(outcomes)
    if len(score) == 1 or n < INNER_FOLDS:
        return 0
    if np.isinf(cost_weight):  # the cheapest model wins whatever the estimates are
        return 0
    parts = np.array_split(np.random.default_rng(seed).permutation(n), INNER_FOLDS)
    mean_cost = fill_costs(outcomes.mean_cost())
    # an unknown verdict is no evidence for any candidate: it counts as the model's rate
    resolved = np.where(np.isnan(outcomes.resolved), np.nan_to_num(outcomes.rates()), outcomes.resolved)
    value = resolved - cost_weight * np.where(np.isnan(outcomes.cost), mean_cost, outcomes.cost)
    achieved = np.zeros((len(score), n))
    everything = np.arange(n)
    for test in parts:
        train = np.setdiff1d(everything, test)
        costs = np.broadcast_to(mean_cost, (len(test), len(mean_cost)))
        for candidate, scores in enumerate(score):
            achieved[candidate, test] = value[test, choose(scores(train, test), costs, cost_weight)]
    totals = achieved.sum(axis=1)
    best = int(np.argmax(totals >= totals.max() - 1e-9))
    error = float((achieved[best] - achieved[0]).std()) * np.sqrt(n)
    return best if totals[best] - totals[0] > error else 0


def check_rows(outcomes: OutcomeMatrix, rows: int) -> None:
    """OutcomeError unless there is an outcome for each of the `rows` rows of X."""
    if len(outcomes) != rows:
        raise OutcomeError(f"{len(outcomes)} instances for {rows} rows of X")
