"""Hypernova's recipe as it was published: clusters of general coding texts, not of the benchmark's issues."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, as_features
from router.clustering import nearest
from router.policies.cluster import ClusterPolicy
from router.policies.partition import Partition
from router.policy import PolicyParameterError

GENERAL = Path(__file__).with_name("general_clusters.npz")
"""20 centroids of general coding texts, embedded by all-MiniLM-L6-v2; general_clusters.json says of which."""


@dataclass(eq=False)
class HypernovaPolicy(ClusterPolicy):
    """`cluster` with clusters that are learned from general coding texts and stay the same whatever is routed.

    The clusters come from a file of centroids, which holds numbers and no texts; what each model resolves in each
    cluster comes from the training outcomes. A corpus given at the fit takes the file's place: its texts are clustered
    into `n_clusters`.
    """

    name: ClassVar[str] = "hypernova"

    centroids: str = ""
    """file of centroids that `polyswe lab clusters` wrote; empty for those that come with polyswe"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Assign X (n, d) to the nearest of the general centroids (k, d)."""
        if corpus is not None:
            return super().fit_features(X, corpus)
        X, centroids = as_features(X), read_centroids(Path(self.centroids) if self.centroids else GENERAL)
        if X.shape[1] != centroids.shape[1]:
            raise PolicyParameterError(
                f"policy 'hypernova': centroids of {centroids.shape[1]} dimensions do not fit embeddings of "
                f"{X.shape[1]}; learn some with this embedder ('polyswe lab clusters') and "
                "give hypernova:centroids=FILE"
            )
        self._partitions = [Partition(centroids, nearest(X, centroids))]
        return self


def read_centroids(path: Path) -> FloatArray:
    """(k, d) centroids of a file. Raises PolicyParameterError where it holds none."""
    try:
        with np.load(path.expanduser(), allow_pickle=False) as stored:
            centroids = as_features(stored["centroids"])
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise PolicyParameterError(
            f"policy 'hypernova': {path} is not a file of centroids{why}; 'polyswe lab clusters' writes one"
        ) from error
    if not len(centroids):
        raise PolicyParameterError(f"policy 'hypernova': {path} has no centroids; 'polyswe lab clusters' writes some")
    return centroids
