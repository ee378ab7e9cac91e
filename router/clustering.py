"""K-means clusters of unit embeddings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

# a corpus is the same in every fold, and a null test meets the folds of the evaluation before it
_LEARNED: OrderedDict[tuple[bytes, int, int, int], FloatArray] = OrderedDict()
_LEARNED_MAX = 256
_LEARNED_LOCK = Lock()


def nearest(X: Features, centroids: FloatArray) -> IntArray:
    """(n,) index of the centroid nearest to each row in Euclidean distance; ties go to the lower index."""
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != centroids.shape[1]:
        raise ValueError(f"embeddings of shape {X.shape} do not fit centroids of {centroids.shape[1]} dimensions")
    # ‖x−c‖² = ‖x‖² − 2x·c + ‖c‖², and ‖x‖² is the same for every centroid
    return np.asarray(((centroids**2).sum(axis=1) - 2.0 * X @ centroids.T).argmin(axis=1), dtype=np.int64)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for linear algebra: matrices of some hundred rows gain nothing from more and, on a busy machine, lose
    a factor of ten and more to threads that wait for each other.
    """
    with _controller().limit(limits=1):
        yield


@cache
def _controller() -> ThreadpoolController:
    import sklearn.cluster  # noqa: F401 (the controller sees only libraries that are loaded)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@dataclass(eq=False)
class KMeansClusters:
    """Lloyd's K-means with k-means++ starts (scikit-learn), deterministic for a seed.

    Centroids of the same data and parameters are remembered within the process.
    """

    n_clusters: int = 20
    """number of clusters k"""
    seed: int = 0
    """seed of the starts"""
    n_init: int = 4
    """starts; the one with the least inertia is kept"""

    def fit(self, X: Features) -> KMeansClusters:
        """Learn `centroids_` (k, d) from X (n, d); ValueError when there are fewer rows than clusters."""
        X = as_features(X)
        if not 1 <= self.n_clusters <= len(X):
            raise ValueError(f"n_clusters={self.n_clusters} must be between 1 and the {len(X)} rows to cluster")
        key = (sha256(X.tobytes()).digest(), self.n_clusters, self.seed, self.n_init)
        with _LEARNED_LOCK:
            known = _LEARNED.get(key)
        self.centroids_: FloatArray = self._learned(X) if known is None else known
        with _LEARNED_LOCK:
            _LEARNED[key] = self.centroids_
            _LEARNED.move_to_end(key)
            while len(_LEARNED) > _LEARNED_MAX:
                _LEARNED.popitem(last=False)
        return self

    def assign(self, X: Features) -> IntArray:
        """(n,) cluster of each row of X (n, d)."""
        return nearest(X, self.centroids_)

    def _learned(self, X: FloatArray) -> FloatArray:
        from sklearn.cluster import KMeans

        with one_thread():
            kmeans = KMeans(n_clusters=self.n_clusters, n_init=self.n_init, random_state=self.seed).fit(X)
        centroids: FloatArray = kmeans.cluster_centers_
        centroids.setflags(write=False)
        return centroids
