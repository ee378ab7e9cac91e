"""What a fitted router remembers of its training instances, so that its decisions can be explained without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from router.arrays import Features, FloatArray, IntArray, as_features
from router.clustering import CentroidClusters, nearest
from router.outcomes import OutcomeMatrix
from router.policy import FittedArrays, Policy
from router.words import representative_words

WORDS = 8
"""Representative words of a cluster."""
SHOWN = 5
"""Instances of a cluster that are named."""
NEIGHBOURS = 3
"""Training instances that are named beside a text."""
TEXTS_PER_CLUSTER = 40
"""About, for the clusters to look at of a policy that has none."""
_PREFIX = "memory."
"""Of the memory's arrays in a checkpoint."""


class ClusterNote(BaseModel):
    """A cluster of training instances, for a reader."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: int
    size: int
    words: tuple[str, ...] = Field(max_length=100)
    """representative words, the most telling first"""
    instances: tuple[str, ...] = Field(max_length=100)
    """ids of the instances nearest to its centre"""
    rates: dict[str, float | None]
    """share of its instances that each model resolved, None where no verdict is known; in-sample, to look at"""
    counts: dict[str, int]
    """verdicts behind each rate"""


@dataclass(frozen=True)
class Neighbour:
    """A training instance close to a text."""

    instance: str
    similarity: float
    """cosine"""


@dataclass(frozen=True, eq=False)
class Memory:
    """Training instances by id and embedding, and their clusters."""

    instances: tuple[str, ...]
    embeddings: FloatArray
    """(n, d)"""
    centroids: FloatArray
    """(k, d)"""
    clusters: tuple[ClusterNote, ...]
    """(k,) in the centroids' order"""
    own: bool
    """whether the policy decides by these clusters; otherwise they are only to look at"""

    def assign(self, X: Features) -> IntArray:
        """(t,) cluster of each row of X (t, d)."""
        return nearest(X, self.centroids)

    def neighbours(self, X: Features, count: int = NEIGHBOURS) -> list[tuple[Neighbour, ...]]:
        """The most similar training instances of each row of X (t, d), nearest first."""
        similarity = as_features(X) @ self.embeddings.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
        return [
            tuple(Neighbour(self.instances[i], float(line[i])) for i in nearest_ones)
            for line, nearest_ones in zip(similarity, order.tolist(), strict=True)
        ]

    def renamed(self, names: Mapping[str, str]) -> Memory:
        """The same with other names for the models."""

        def rename(by_model: Mapping[str, Any]) -> dict[str, Any]:
            return {names.get(model, model): value for model, value in by_model.items()}

        notes = [
            note.model_copy(update={"rates": rename(note.rates), "counts": rename(note.counts)})
            for note in self.clusters
        ]
        return dataclasses.replace(self, clusters=tuple(notes))

    def arrays(self) -> FittedArrays:
        """For the checkpoint; half precision is plenty for a look at neighbours."""
        return {
            f"{_PREFIX}embeddings": self.embeddings.astype(np.float16),
            f"{_PREFIX}centroids": self.centroids,
        }


def remember(policy: Policy, X: Features, texts: Sequence[str], outcomes: OutcomeMatrix, seed: int = 0) -> Memory:
    """The memory of a policy fitted on `outcomes` (n, m) with embeddings X (n, d) of `texts`.

    Its own clusters where it decides by clusters, else K-means to look at.
    """
    X = as_features(X, rows=len(outcomes))
    clusters = [why.cluster for why in policy.explain(X, policy.predict(X))]
    centroids = policy.fitted_arrays().get("centroids_", policy.fitted_arrays().get("taken.centroids_"))
    own = centroids is not None and all(cluster is not None for cluster in clusters)
    if not own or centroids is None:
        k = max(1, min(round(len(X) / TEXTS_PER_CLUSTER), len(X)))
        centroids = CentroidClusters(k, seed).fit(X).centroids_
    labels = nearest(X, centroids)
    notes = describe(X, texts, labels, np.asarray(centroids), outcomes)
    return Memory(outcomes.instances, X, np.asarray(centroids), notes, own)


def describe(
    X: FloatArray, texts: Sequence[str], labels: IntArray, centroids: FloatArray, outcomes: OutcomeMatrix
) -> tuple[ClusterNote, ...]:
    """A note per cluster; an empty one has size 0 and no words."""
    words = representative_words(texts, labels, len(centroids), WORDS)
    notes = []
    for k in range(len(centroids)):
        rows = np.flatnonzero(labels == k)
        away = ((X[rows] - centroids[k]) ** 2).sum(axis=1)
        known = ~np.isnan(outcomes.resolved[rows])
        counts = known.sum(axis=0)
        sums = np.nan_to_num(outcomes.resolved[rows]).sum(axis=0)
        notes.append(
            ClusterNote(
                cluster=k,
                size=len(rows),
                words=words[k],
                instances=tuple(outcomes.instances[i] for i in rows[np.argsort(away, kind="stable")[:SHOWN]]),
                rates={
                    model: round(float(total / count), 6) if count else None
                    for model, total, count in zip(outcomes.models, sums, counts, strict=True)
                },
                counts=dict(zip(outcomes.models, map(int, counts), strict=True)),
            )
        )
    return tuple(notes)


def restore_memory(
    instances: tuple[str, ...], clusters: tuple[ClusterNote, ...], own: bool, arrays: FittedArrays
) -> Memory | None:
    """From a checkpoint's header and arrays; None where it remembers nothing. ValueError for arrays of other sizes."""
    if not instances:
        return None
    embeddings, centroids = arrays.get(f"{_PREFIX}embeddings"), arrays.get(f"{_PREFIX}centroids")
    if embeddings is None or centroids is None:
        raise ValueError("the memory's arrays are missing")
    if embeddings.ndim != 2 or centroids.ndim != 2 or embeddings.shape[1] != centroids.shape[1]:
        raise ValueError(f"embeddings {embeddings.shape} and centroids {centroids.shape} of the memory do not fit")
    if not np.isfinite(embeddings).all() or not np.isfinite(centroids).all():
        raise ValueError("the memory's arrays have values that are no numbers")
    if len(embeddings) != len(instances) or len(centroids) != len(clusters):
        raise ValueError(f"{len(embeddings)} embeddings and {len(centroids)} centroids do not fit the memory's names")
    return Memory(instances, embeddings.astype(np.float64), centroids, clusters, own)
