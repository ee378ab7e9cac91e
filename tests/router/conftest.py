"""A small world with something to route on: two topics, a model that is good at each, and a cheap mediocre one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.policy import Policy

_FOLDER = TemporaryDirectory(prefix="polyswe-centroids-")


@cache
def _centroids(dimensions: int) -> Path:
    """A file of general centroids: one on each axis."""
    path = Path(_FOLDER.name) / f"{dimensions}.npz"
    np.savez(path, centroids=np.eye(dimensions))
    return path


def policy_for(X: NDArray[np.float64], name: str, **params: Any) -> Policy:
    """`make_policy` for embeddings as wide as X: the centroids that come with polyswe are as wide as its embedder's."""
    own = {"centroids": str(_centroids(X.shape[1]))} if name == "hypernova" else {}
    return make_policy(name, **own, **params)


@dataclass(frozen=True)
class World:
    X: NDArray[np.float64]
    outcomes: OutcomeMatrix


@pytest.fixture
def world() -> World:
    rng = np.random.default_rng(7)
    topic = np.arange(120) % 2
    X = np.eye(4)[topic] + rng.normal(scale=0.05, size=(120, 4))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    chance = np.where(topic[:, None] == 0, [0.9, 0.3, 0.5], [0.3, 0.9, 0.5])
    return World(
        X=X,
        outcomes=OutcomeMatrix.build(
            [f"repo__{i}" for i in range(120)],
            ["parser", "network", "cheap"],
            (rng.random((120, 3)) < chance).astype(float),
            cost=np.tile([1.0, 0.8, 0.1], (120, 1)),
            seconds=np.tile([30.0, 20.0, 10.0], (120, 1)),
        ),
    )


class WordEmbedder:
    """A real, tiny embedder: one dimension per topic word, one for everything else."""

    words = ("parser", "socket", "html")

    def __init__(self, name: str = "words", salt: str = "") -> None:
        self.name = name
        self.fingerprint = sha256((" ".join(self.words) + salt).encode()).hexdigest()

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        counts = np.array([[*(text.lower().count(word) for word in self.words), 0.1] for text in texts])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def word_embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def other_embedder() -> WordEmbedder:
    return WordEmbedder("other-words", salt="retrained")
