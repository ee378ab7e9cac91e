"""Hypernova's router: the model that resolved most of the training instances in the nearest cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features
from router.clustering import KMeansClusters, nearest
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyNotFittedError, known_rates


@dataclass(eq=False)
class ClusterPolicy(OneShotPolicy):
    """K-means clusters of issue texts, a success profile per cluster, argmax (Hypernova; UniRoute's one-hot Φ).

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

    n_clusters: int = 20
    """k; ValueError at fit when there are fewer rows to cluster"""
    min_count: int = 3
    """a cell with fewer known outcomes falls back to the model's overall rate; an empty cell always does"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""
    seed: int = 0
    """seed of K-means"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Learn clusters from `corpus` (c, d) if given, else from X (n, d), and assign X to them."""
        X = as_features(X)
        clusters = KMeansClusters(self.n_clusters, self.seed).fit(X if corpus is None else corpus)
        self.centroids_: FloatArray = clusters.centroids_
        # (k, n) one-hot membership turns per-cluster sums into one matrix product
        self._membership: FloatArray = np.eye(self.n_clusters)[:, clusters.assign(X)]
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        """Learn the profile from the outcomes of the rows `fit_features` saw, in the same order."""
        if not hasattr(self, "_membership"):
            raise PolicyNotFittedError("policy 'cluster': fit_features(X) comes before fit_outcomes(outcomes)")
        if len(outcomes) != self._membership.shape[1]:
            raise OutcomeError(f"{len(outcomes)} instances for {self._membership.shape[1]} rows of X")
        known = ~np.isnan(outcomes.resolved)
        sums = self._membership @ np.where(known, outcomes.resolved, 0.0)
        self.models_ = outcomes.models
        self.counts_: FloatArray = self._membership @ known
        self.overall_: FloatArray = known_rates(outcomes)
        self.cost_ = outcomes.mean_cost()
        self.seconds_ = outcomes.mean_seconds()
        thin = self.counts_ < max(self.min_count, 1)
        self.profile_: FloatArray = np.where(thin, self.overall_, sums / np.maximum(self.counts_, 1))
        return self

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        return self.profile_[nearest(X, self.centroids_)]

    def explain(self, X: Features, choices: IntArray) -> list[Explanation]:
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
