"""UniRoute with K-means: a model is its vector of error rates per cluster, a text is the cluster it lies in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray
from router.clustering import distances
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyNotFittedError, PolicyParameterError
from router.policies.partition import Auto, Partition, best_candidate, check_rows, learn_partitions


@dataclass(eq=False)
class UniRouteKMeansPolicy(OneShotPolicy):
    """argmin over models of γ(x, h) + λ·c(h) with γ(x, h) = Φ(x)ᵀΨ(h) (UniRoute, arXiv 2502.08773, §5.1).

    Ψ_k(h) is h's error rate over the labelled instances in cluster k (its overall rate where it has none there): a new
    model needs only labels on them. Φ is "one-hot", the nearest centroid, as in the paper; or "soft",
    Φ_k ∝ exp(−‖x − c_k‖² / 2τ), τ the training rows' mean squared distance to their own centroid, in Ψ's average and in
    γ alike. Unlike `cluster`, cells are averaged however thin they are, and the number of clusters is validated.

    Fitted: `centroids_` (k, d), `errors_` Ψ (k, m), `width_` τ (1,).
    """

    name: ClassVar[str] = "uniroute-kmeans"
    fitted: ClassVar[dict[str, str]] = {
        "centroids_": "kd",
        "errors_": "km",
        "width_": "s",
        "overall_": "m",
        "cost_": "m",
        "seconds_": "m",
    }

    n_clusters: int | Auto = "auto"
    """k; ValueError at fit when there are fewer rows to cluster. "auto": 1, or the one of 2, 4, 8, 16, 32 that routes
    better by a standard error in 5 folds of the training rows"""
    assignment: Literal["one-hot", "soft"] = "one-hot"
    """Φ"""
    clustering: str = "kmeans"
    """kmeans or mini-batch; see `router.clustering`"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""
    seed: int = 0
    """seed of the clustering and of the inner folds"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Learn clusters from `corpus` (c, d) if given, else from X (n, d), and Φ of X."""
        if self.assignment not in ("one-hot", "soft"):
            raise PolicyParameterError(f"assignment must be 'one-hot' or 'soft', got {self.assignment!r}")
        self._partitions = learn_partitions(X, corpus, self.clustering, self.n_clusters, self.seed)
        self._widths = [_width(X, partition) for partition in self._partitions]
        self._phis = [
            self._phi(X, partition.centroids, width)
            for partition, width in zip(self._partitions, self._widths, strict=True)
        ]
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        if not hasattr(self, "_phis"):
            raise PolicyNotFittedError("policy 'uniroute-kmeans': fit_features(X) comes before fit_outcomes(outcomes)")
        check_rows(outcomes, len(self._phis[0]))
        self.learn_means(outcomes)

        def held_out(phi: FloatArray, train: IntArray, test: IntArray) -> FloatArray:
            return np.asarray(1.0 - phi[test] @ error_rates(phi[train], outcomes.resolved[train]))

        scorers = [partial(held_out, phi) for phi in self._phis]
        chosen = best_candidate(scorers, outcomes, self.cost_weight, self.seed)
        self.centroids_: FloatArray = self._partitions[chosen].centroids
        self.width_: FloatArray = np.array([self._widths[chosen]])
        self.errors_: FloatArray = error_rates(self._phis[chosen], outcomes.resolved)
        return self

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        # the weights of a soft Φ sum to 1 but for the last digit
        return np.clip(1.0 - self._phi(X, self.centroids_, float(self.width_[0])) @ self.errors_, 0.0, 1.0)

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        clusters = self._phi(X, self.centroids_, float(self.width_[0])).argmax(axis=1)
        return [
            Explanation(int(k), f"error rate {self.errors_[k, choice]:.1%} in cluster {k}")
            for k, choice in zip(clusters, choices, strict=True)
        ]

    def _phi(self, X: Features, centroids: FloatArray, width: float) -> FloatArray:
        """Φ (n, k), rows sum to 1."""
        away = distances(X, centroids)
        if self.assignment == "one-hot":
            return np.asarray(np.eye(len(centroids))[away.argmin(axis=1)])
        return softmax(-away / (2.0 * max(width, 1e-9)))


def error_rates(phi: FloatArray, resolved: FloatArray) -> FloatArray:
    """Ψ (k, m): error rate of each model in each cluster, instances weighted by Φ (n, k); unknown verdicts left out.

    Where a cluster holds nothing of a model it is the model's overall rate; a model without verdicts always errs.
    """
    known = ~np.isnan(resolved)
    failed = np.where(known, 1.0 - np.nan_to_num(resolved), 0.0)
    weight = phi.T @ known
    overall = np.where(known.any(axis=0), failed.sum(axis=0) / np.maximum(known.sum(axis=0), 1), 1.0)
    return np.where(weight > 1e-9, phi.T @ failed / np.maximum(weight, 1e-9), overall)


def softmax(logits: FloatArray) -> FloatArray:
    """Rows of (n, k) as probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _width(X: Features, partition: Partition) -> float:
    """Mean squared distance of the rows to their centroids."""
    X = np.asarray(X, dtype=np.float64)
    return float(((X - partition.centroids[partition.labels]) ** 2).sum(axis=1).mean())
