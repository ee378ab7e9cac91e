"""Nearest neighbours: a model is worth what it was worth on the training issues most like this one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features
from router.clustering import distances
from router.outcomes import OutcomeMatrix
from router.policies.base import (
    Explanation,
    FittedArrays,
    OneShotPolicy,
    PolicyNotFittedError,
    PolicyParameterError,
    check_numbers,
)
from router.policies.partition import Auto, best_candidate, check_rows

AUTO_NEIGHBORS = (160, 80, 40, 20, 10, 5)
"""Numbers of neighbours that "auto" tries after "all of them", which is no routing."""
_BLOCK = 1024
"""Rows whose neighbours are searched at a time."""


@dataclass(eq=False)
class NearestPolicy(OneShotPolicy):
    """score(x, h) = (Σ y(i, h) + a·ȳ(h)) / (count + a) over the k training issues i nearest to x in Euclidean distance,
    ȳ the training rate and a the pseudo-count `prior` (RouterBench's kNN router, arXiv 2403.12031, shrunken).

    Missing outcomes are left out of sum and count. Fitted: `train_` (r, d) embeddings and `resolved_` (r, m) verdicts,
    NaN unknown, so its checkpoint grows with the training set; `chosen_` (1,) k.
    """

    name: ClassVar[str] = "knn"
    fitted: ClassVar[dict[str, str]] = {
        "train_": "rd",
        "resolved_": "rm",
        "chosen_": "s",
        "overall_": "m",
        "cost_": "m",
        "seconds_": "m",
    }

    may_be_unknown: ClassVar[frozenset[str]] = OneShotPolicy.may_be_unknown | {"resolved_"}

    n_neighbors: int | Auto = "auto"
    """k; ValueError at fit when there are fewer rows. "auto": all of them, or the one of 160, 80, 40, 20, 10, 5
    that routes better by a standard error in 5 folds of the training rows"""
    prior: float = 5.0
    """a, outcomes at the training rate that every estimate starts from"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""
    seed: int = 0
    """seed of the inner folds"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Remember X (n, d); there is nothing to learn from a corpus."""
        self.train_: FloatArray = as_features(X)
        self._inner: dict[bytes, IntArray] = {}
        n = len(self.train_)
        if isinstance(self.n_neighbors, str):
            if self.n_neighbors != "auto":
                raise PolicyParameterError(f"n_neighbors must be a number or 'auto', got {self.n_neighbors!r}")
            self._candidates = [n, *(k for k in AUTO_NEIGHBORS if k <= n // 2)]
            return self
        if not 1 <= self.n_neighbors <= n:
            raise ValueError(f"n_neighbors={self.n_neighbors} must be between 1 and the {n} training rows")
        self._candidates = [self.n_neighbors]
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        if not hasattr(self, "_candidates"):
            raise PolicyNotFittedError("policy 'knn': fit_features(X) comes before fit_outcomes(outcomes)")
        check_rows(outcomes, len(self.train_))
        self.learn_means(outcomes)
        self.resolved_: FloatArray = outcomes.resolved
        self._scored: dict[bytes, dict[int, FloatArray]] = {}
        scorers = [partial(self._held_out, k) for k in self._candidates]
        chosen = self._candidates[best_candidate(scorers, outcomes, self.cost_weight, self.seed)]
        self.chosen_ = np.array([chosen], dtype=np.int64)
        return self

    def restore(self, models: tuple[str, ...], arrays: FittedArrays) -> Self:
        super().restore(models, arrays)
        check_numbers(self.name, "chosen_", self.chosen_, 1, len(self.train_))
        return self

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        return self._estimate(neighbors(X, self.train_, int(self.chosen_[0])), np.arange(len(self.train_)))

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        scores = self.scores(X)
        return [
            Explanation(None, f"{scores[row, choice]:.1%} expected from the {self.chosen_[0]} most similar instances")
            for row, choice in enumerate(choices)
        ]

    def _held_out(self, k: int, train: IntArray, test: IntArray) -> FloatArray:
        """Estimates for the training rows `test` from the rows `train`; who is near whom is found once, and the
        neighbourhoods of all candidates grow in one pass.
        """
        key = test.tobytes()
        if key not in self._inner:
            self._inner[key] = neighbors(self.train_[test], self.train_[train], max(self._candidates)).astype(np.int32)
        if key not in self._scored:
            nearest, sizes = self._inner[key], sorted(self._candidates)
            member, known, hits = np.zeros(nearest.shape[:1] + train.shape), *self._verdicts(train)
            grown: dict[int, FloatArray] = {}
            for smaller, size in zip([0, *sizes], sizes, strict=False):
                np.put_along_axis(member, nearest[:, smaller:size], 1.0, axis=1)
                # where everything is known, everybody near counts
                count = member @ known if not known.all() else float(min(size, len(train)))
                grown[size] = self._shrunken(member @ hits, count, known, hits)
            self._scored[key] = grown
        return self._scored[key][k]

    def _estimate(self, nearest: IntArray, train: IntArray) -> FloatArray:
        """(n, m) from the neighbours (n, k) among the training rows `train`."""
        known, hits = self._verdicts(train)
        return self._shrunken(hits[nearest].sum(axis=1), known[nearest].sum(axis=1), known, hits)

    def _verdicts(self, train: IntArray) -> tuple[FloatArray, FloatArray]:
        """(r, m) which verdicts are known, and the verdicts, 0 where not."""
        verdicts = self.resolved_[train]
        return (~np.isnan(verdicts)).astype(np.float64), np.nan_to_num(verdicts)

    def _shrunken(
        self, total: FloatArray, count: FloatArray | float, known: FloatArray, hits: FloatArray
    ) -> FloatArray:
        overall = hits.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        prior = max(self.prior, 1e-9)  # where nobody near is known: the training rate
        return np.asarray((total + prior * overall) / (count + prior))


def neighbors(X: Features, train: FloatArray, k: int) -> IntArray:
    """(n, min(k, r)) rows of `train` (r, d) nearest to each row of X (n, d), nearest first; ties to the lower row."""
    return np.concatenate(
        [
            np.argsort(distances(X[first : first + _BLOCK], train), axis=1, kind="stable")[:, :k]
            for first in range(0, max(len(X), 1), _BLOCK)
        ]
    )
