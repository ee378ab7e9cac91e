"""Hypernova's router: the model that resolved most of the training instances in the nearest cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray
from router.clustering import nearest
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyNotFittedError
from router.policies.partition import Auto, Partition, best_candidate, check_rows, learn_partitions


@dataclass(eq=False)
class ClusterPolicy(OneShotPolicy):
    """Clusters of issue texts, a success profile per cluster, argmax (Hypernova; UniRoute's one-hot Φ).

    score(x, h) = s_k(h) = mean of y(i, h) over the training instances i of the cluster k nearest to x; a cell of fewer
    than `min_count` known outcomes takes the mean over all training instances.

    Fitted: `centroids_` (k, d); `profile_` (k, m) estimated P(resolved), thin cells filled; `counts_` (k, m) known
    training outcomes behind each cell; `overall_` (m,) training rates; `cost_`, `seconds_` (m,) means, NaN if unknown.
    """

    name: ClassVar[str] = "cluster"
    fitted: ClassVar[dict[str, str]] = {
        "centroids_": "kd",
        "profile_": "km",
        "counts_": "km",
        "overall_": "m",
        "cost_": "m",
        "seconds_": "m",
    }

    n_clusters: int | Auto = 20
    """k; ValueError at fit when there are fewer rows to cluster. "auto": 1, or the one of 2, 4, 8, 16, 32 that routes
    better by a standard error in 5 folds of the training rows"""
    clustering: str = "kmeans"
    """kmeans or mini-batch; see `router.clustering`"""
    min_count: int = 3
    """a cell with fewer known outcomes falls back to the model's overall rate; an empty cell always does"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""
    seed: int = 0
    """seed of the clustering and of the inner folds"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Learn clusters from `corpus` (c, d) if given, else from X (n, d), and assign X to them."""
        self._partitions = learn_partitions(X, corpus, self.clustering, self.n_clusters, self.seed)
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        """Learn the profile from the outcomes of the rows `fit_features` saw, in the same order."""
        if not hasattr(self, "_partitions"):
            raise PolicyNotFittedError(f"policy {self.name!r}: fit_features(X) comes before fit_outcomes(outcomes)")
        check_rows(outcomes, len(self._partitions[0].labels))
        self.learn_means(outcomes)
        known = (~np.isnan(outcomes.resolved)).astype(np.float64)
        resolved = np.nan_to_num(outcomes.resolved)

        def profile(partition: Partition, rows: IntArray) -> tuple[FloatArray, FloatArray]:
            member = partition.one_hot()[:, rows]
            sums, counts = member @ resolved[rows], member @ known[rows]
            overall = np.where(known[rows].any(axis=0), sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1), 0.0)
            return np.where(counts < max(self.min_count, 1), overall, sums / np.maximum(counts, 1)), counts

        def held_out(partition: Partition, train: IntArray, test: IntArray) -> FloatArray:
            return profile(partition, train)[0][partition.labels[test]]

        scorers = [partial(held_out, partition) for partition in self._partitions]
        chosen = self._partitions[best_candidate(scorers, outcomes, self.cost_weight, self.seed)]
        self.centroids_: FloatArray = chosen.centroids
        self.profile_: FloatArray
        self.counts_: FloatArray
        self.profile_, self.counts_ = profile(chosen, np.arange(len(outcomes)))
        return self

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        return self.profile_[nearest(X, self.centroids_)]

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        clusters = nearest(X, self.centroids_)
        return [
            Explanation(int(cluster), self._reason(int(cluster), int(choice)))
            for cluster, choice in zip(clusters, choices, strict=True)
        ]

    def _reason(self, cluster: int, choice: int) -> str:
        count, rate = int(self.counts_[cluster, choice]), self.profile_[cluster, choice]
        if count < max(self.min_count, 1):
            return f"only {count} outcomes in cluster {cluster}: overall rate {rate:.1%}"
        return f"resolved {round(rate * count)} of {count} training instances in cluster {cluster}"
