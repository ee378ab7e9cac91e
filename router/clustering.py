"""Clusters of embeddings by short name. Whatever the method, a cluster is its centroid: new texts go to the nearest."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from threading import Lock

import numpy as np
from threadpoolctl import ThreadpoolController

from router.arrays import Features, FloatArray, IntArray, as_features

_LEARNED: OrderedDict[tuple[bytes, str, int, int, int], FloatArray] = OrderedDict()
"""Centroids by data and parameters: a corpus is the same in every fold, and a null test meets the folds of the
evaluation before it."""
_LEARNED_MAX_BYTES = 128 * 2**20
"""Older centroids are forgotten beyond this."""
_LEARNED_LOCK = Lock()


def nearest(X: Features, centroids: FloatArray) -> IntArray:
    """(n,) index of the centroid nearest to each row in Euclidean distance; ties go to the lower index."""
    return np.asarray(distances(X, centroids).argmin(axis=1), dtype=np.int64)


def distances(X: Features, centroids: FloatArray) -> FloatArray:
    """(n, k) squared Euclidean distances less ‖x‖², which is the same for every centroid."""
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != centroids.shape[1]:
        raise ValueError(f"embeddings of shape {X.shape} do not fit centroids of {centroids.shape[1]} dimensions")
    # ‖x−c‖² = ‖x‖² − 2x·c + ‖c‖²: never an n × k × d array
    return np.asarray((centroids**2).sum(axis=1) - 2.0 * X @ centroids.T)


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

    return ThreadpoolController()


@dataclass(eq=False)
class CentroidClusters:
    """Clusters learned by any of CLUSTERINGS and remembered as centroids, deterministic for a seed.

    Centroids of the same data and parameters are remembered within the process.
    """

    n_clusters: int = 20
    """number of clusters k"""
    seed: int = 0
    """seed of the starts"""
    n_init: int = 4
    """starts of K-means; the one with the least inertia is kept"""
    method: str = "kmeans"
    """short name in CLUSTERINGS"""

    def fit(self, X: Features) -> CentroidClusters:
        """Learn `centroids_` (k, d) from X (n, d); ValueError when there are fewer rows than clusters."""
        if self.method not in CLUSTERINGS:
            raise ValueError(f"unknown clustering {self.method!r}; valid clusterings: {', '.join(sorted(CLUSTERINGS))}")
        rows = np.ascontiguousarray(as_features(X))
        if not 1 <= self.n_clusters <= len(rows):
            raise ValueError(f"n_clusters={self.n_clusters} must be between 1 and the {len(rows)} rows to cluster")
        key = (sha256(rows.data).digest(), self.method, self.n_clusters, self.seed, self.n_init)
        with _LEARNED_LOCK:
            known = _LEARNED.get(key)
        self.centroids_: FloatArray = self._learned(rows) if known is None else known
        with _LEARNED_LOCK:
            _LEARNED[key] = self.centroids_
            _LEARNED.move_to_end(key)
            while sum(centroids.nbytes for centroids in _LEARNED.values()) > _LEARNED_MAX_BYTES:
                _LEARNED.popitem(last=False)
        return self

    def assign(self, X: Features) -> IntArray:
        """(n,) cluster of each row of X (n, d)."""
        return nearest(X, self.centroids_)

    def _learned(self, X: FloatArray) -> FloatArray:
        from sklearn.exceptions import ConvergenceWarning

        with one_thread(), warnings.catch_warnings():
            # equal texts make empty clusters, which is fine
            warnings.simplefilter("ignore", ConvergenceWarning)
            centroids = CLUSTERINGS[self.method](X, self)
        centroids.setflags(write=False)
        return centroids


def _kmeans(X: FloatArray, of: CentroidClusters) -> FloatArray:
    """Lloyd's K-means with k-means++ starts."""
    from sklearn.cluster import KMeans

    centroids: FloatArray = KMeans(of.n_clusters, n_init=of.n_init, random_state=of.seed).fit(X).cluster_centers_
    return centroids


def _mini_batch(X: FloatArray, of: CentroidClusters) -> FloatArray:
    """K-means on batches of 1024 rows (Sculley, WWW 2010), for large corpora."""
    from sklearn.cluster import MiniBatchKMeans

    fitted = MiniBatchKMeans(of.n_clusters, n_init=of.n_init, random_state=of.seed, batch_size=1024).fit(X)
    return np.asarray(fitted.cluster_centers_, dtype=np.float64)


CLUSTERINGS: dict[str, Callable[[FloatArray, CentroidClusters], FloatArray]] = {
    "kmeans": _kmeans,
    "mini-batch": _mini_batch,
}
"""Methods by short name."""


LEAST_INSTANCES = 20
"""Fewer are not clustered."""
PER_CLUSTER = 25
"""Instances a cluster should have."""
MOST_CLUSTERS = 20
"""More than a reader takes in."""


def number_of_clusters(n: int) -> int:
    """About 25 instances each; none for fewer than 20 instances."""
    return 0 if n < LEAST_INSTANCES else max(2, min(MOST_CLUSTERS, n // PER_CLUSTER))
