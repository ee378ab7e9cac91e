"""UniRoute with a learned map: which error profile a text gets is learned from outcomes, not from geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.optimize import minimize

from router.arrays import Features, FloatArray, IntArray, as_features
from router.clustering import CentroidClusters
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyNotFittedError
from router.policies.partition import check_rows
from router.policies.uniroute_kmeans import error_rates, softmax

_EDGE = 1e-3
"""Keeps the logarithms of the loss finite."""


@dataclass(eq=False)
class UniRouteMapPolicy(OneShotPolicy):
    """argmin over models of γ(x, h) + λ·c(h) with γ = Φ(x)ᵀΨ(h) and Φ_k(x) ∝ exp(θ_kᵀφ(x)) (UniRoute, arXiv 2502.08773,
    §5.2).

    Ψ_k(h) are the error rates in the K-means clusters, started from `prior` outcomes at h's overall rate. θ minimises
    −Σ [(1−y) log γ + y log(1−γ)] + l2/2·‖θ‖² over the known outcomes by L-BFGS with its exact gradient, from the soft
    K-means assignment; at θ = 0 every text gets the same profile. φ are the leading principal components of the
    embedding and a constant: with some hundred labels there is nothing to learn in more directions. The paper learns Ψ
    and θ on different instances; here both come from the training rows.

    Fitted: `theta_` (k, p), `axes_` (d, q) with p = q + 1, `centre_` (d,), `errors_` Ψ (k, m).
    """

    name: ClassVar[str] = "uniroute-map"
    fitted: ClassVar[dict[str, str]] = {
        "theta_": "kp",
        "axes_": "dq",
        "centre_": "d",
        "errors_": "km",
        "overall_": "m",
        "cost_": "m",
        "seconds_": "m",
    }

    n_clusters: int = 8
    """k; ValueError at fit when there are fewer rows to cluster"""
    components: int = 32
    """q, at most; fewer where rows or dimensions are fewer"""
    prior: float = 5.0
    """outcomes at the overall rate that every cell of Ψ starts from"""
    l2: float = 30.0
    """pull of θ towards 0"""
    max_iter: int = 50
    """steps of L-BFGS"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""
    seed: int = 0
    """seed of K-means"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Learn clusters and principal components from `corpus` (c, d) if given, else from X (n, d)."""
        X = as_features(X)
        source = X if corpus is None else as_features(corpus)
        clusters = CentroidClusters(self.n_clusters, self.seed).fit(source)
        self.centre_: FloatArray = source.mean(axis=0)
        self.axes_: FloatArray = _axes(source - self.centre_, self.components)
        self._membership = np.eye(self.n_clusters)[clusters.assign(X)]
        self._phi = self._features(X)
        self._start = _soft_kmeans(self._features(clusters.centroids_), self._phi, self._membership)
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        if not hasattr(self, "_phi"):
            raise PolicyNotFittedError("policy 'uniroute-map': fit_features(X) comes before fit_outcomes(outcomes)")
        check_rows(outcomes, len(self._phi))
        self.learn_means(outcomes)
        known = ~np.isnan(outcomes.resolved)
        counts = self._membership.T @ known
        rates = error_rates(self._membership, outcomes.resolved)
        prior = max(self.prior, 1e-9)  # an empty cell still needs a rate
        self.errors_: FloatArray = (counts * rates + prior * (1.0 - self.overall_)) / (counts + prior)
        self.theta_: FloatArray = self._learned(np.nan_to_num(outcomes.resolved), known)
        return self

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        # the mixture's weights sum to 1 but for the last digit
        return np.clip(1.0 - softmax(self._features(X) @ self.theta_.T) @ self.errors_, 0.0, 1.0)

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        scores = self.scores(X)
        return [
            Explanation(None, f"error rate {1 - scores[row, choice]:.1%} by the learned mixture of profiles")
            for row, choice in enumerate(choices)
        ]

    def _features(self, X: Features) -> FloatArray:
        """φ (n, p): principal components and a constant."""
        projected = (np.asarray(X, dtype=np.float64) - self.centre_) @ self.axes_
        return np.column_stack([projected, np.ones(len(projected))])

    def _learned(self, resolved: FloatArray, known: FloatArray) -> FloatArray:
        shape = self._start.shape

        def loss(flat: FloatArray) -> tuple[float, FloatArray]:
            value, gradient = log_loss(flat.reshape(shape), self._phi, self.errors_, resolved, known)
            return value + self.l2 / 2 * float(flat @ flat), gradient.ravel() + self.l2 * flat

        solution = minimize(loss, self._start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": self.max_iter})
        return np.asarray(solution.x, dtype=np.float64).reshape(shape)


def log_loss(
    theta: FloatArray, phi: FloatArray, errors: FloatArray, resolved: FloatArray, known: FloatArray
) -> tuple[float, FloatArray]:
    """−Σ over known cells of (1−y) log γ + y log(1−γ), γ = softmax(φθᵀ)Ψ, and its gradient in θ (k, p)."""
    mixture = softmax(phi @ theta.T)
    gamma = np.clip(mixture @ errors, _EDGE, 1.0 - _EDGE)
    value = -np.where(known, np.where(resolved == 1, np.log(1.0 - gamma), np.log(gamma)), 0.0).sum()
    by_gamma = np.where(known, np.where(resolved == 1, 1.0 / (1.0 - gamma), -1.0 / gamma), 0.0)
    by_mixture = by_gamma @ errors.T
    by_logit = mixture * (by_mixture - (mixture * by_mixture).sum(axis=1, keepdims=True))
    return float(value), np.asarray(by_logit.T @ phi)


def _axes(centred: FloatArray, components: int) -> FloatArray:
    """(d, q) leading principal directions, scaled so that the projected rows have unit mean square per component."""
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = max(1, min(components, int((values > 1e-9).sum())))
    axes, variance = vectors[:, ::-1][:, :kept], values[::-1][:kept]
    return np.asarray(axes / np.sqrt(max(float(variance.mean()), 1e-9)))


def _soft_kmeans(centroids: FloatArray, phi: FloatArray, membership: FloatArray) -> FloatArray:
    """θ (k, p) whose softmax is exp(−‖φ − c_k‖² / 2τ), τ the rows' mean squared distance to their own centroid."""
    width = max(float(((phi - membership @ centroids) ** 2).sum(axis=1).mean()), 1e-3)
    theta = centroids / width
    # the constant's weight carries −‖c‖²/2τ; the constant itself is in every centroid alike
    theta[:, -1] = -(centroids[:, :-1] ** 2).sum(axis=1) / (2.0 * width)
    return np.asarray(theta)
