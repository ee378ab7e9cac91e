"""General clusters: centroids of a corpus of coding texts, as a file of numbers for the policy `hypernova`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from harness.data.corpus import find_leaks, load_corpus, refuse_leaks
from harness.data.embeddings import embed_texts
from harness.data.instances import read_problem_statements
from harness.errors import InputError
from harness.files import write_atomic
from router.clustering import CentroidClusters
from router.embedding import DEFAULT_EMBEDDER, Embedder


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How general clusters are learned."""

    clusters: int = 20
    """k"""
    seed: int = 0
    """Of the clustering."""
    embedder: str = DEFAULT_EMBEDDER
    """Name of a sentence-transformers model; issues are to be embedded by the same."""
    tasks: str | None = None
    """Instances that the texts must not know, see `harness.data.corpus`; None compares with none."""
    split: str = "test"
    """Of a dataset on the hub."""
    drop_leaks: bool = False
    """Drop texts that know them, instead of refusing."""
    licence: str = ""
    """What the texts' licences say of numbers computed from them, for the description."""


def learn_clusters(corpus: str, out: Path, settings: ClusterSettings | None = None) -> str:
    """Cluster a corpus and write the centroids to `out` (npz), their description to the .json beside it.

    Args:
        corpus: see `harness.data.corpus.load_corpus`.
        out: the file, numbers only.
        settings: see there.

    Returns:
        What was written, in a sentence.

    Raises:
        InputError: no texts, fewer than clusters, or texts that know the instances.
        EnvironmentUnavailableError: no embedder.
    """
    settings = settings or ClusterSettings()
    if out.suffix != ".npz":
        raise InputError(f"--out {out}: the name of a file of centroids ends in .npz")
    embedder = Embedder(settings.embedder)
    texts = load_corpus(corpus)
    vectors = embed_texts([text.text for text in texts], embedder, show_bar=True)
    dropped: set[str] = set()
    if settings.tasks is not None:
        statements = read_problem_statements(settings.tasks, split=settings.split)
        issues = embed_texts(list(statements.values()), embedder, show_bar=True)
        leaks = find_leaks(texts, statements, vectors, issues)
        if not settings.drop_leaks:
            refuse_leaks(leaks)
        dropped = {leak.id for leak in leaks}
    kept = [number for number, text in enumerate(texts) if text.id not in dropped]
    try:
        learned = CentroidClusters(settings.clusters, settings.seed).fit(vectors[kept])
    except ValueError as error:
        raise InputError(f"corpus {corpus}: {error}") from error
    buffer = BytesIO()
    np.savez(buffer, centroids=learned.centroids_.astype(np.float32))
    write_atomic(out, buffer.getvalue())
    description = {
        "clusters": settings.clusters,
        "dimensions": int(learned.centroids_.shape[1]),
        "clustering": f"{learned.method}, {learned.n_init} starts, seed {settings.seed}",
        "embedder": settings.embedder,
        "embedder_fingerprint": embedder.fingerprint,
        "texts": len(kept),
        "texts_by_source": dict(sorted(Counter(texts[number].source for number in kept).items())),
        "dropped_for_leaks": len(texts) - len(kept),
        "compared_with": None if settings.tasks is None else Path(settings.tasks).stem,
        "cluster_sizes": np.bincount(learned.assign(vectors[kept]), minlength=settings.clusters).tolist(),
        "licence": settings.licence,
    }
    write_atomic(out.with_suffix(".json"), json.dumps(description, indent=1, ensure_ascii=False) + "\n")
    left_out = f", {description['dropped_for_leaks']} dropped as leaks" if dropped else ""
    return f"{out}: {settings.clusters} clusters of {len(kept)} texts of {Path(corpus).name}{left_out}"
