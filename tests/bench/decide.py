"""One side of `nordlys.py`, in a process and an environment of its own. Not for use by hand.

    python decide.py polyswe|nordlys CHECKPOINT TEXTS.json VECTORS.npy     → a line of JSON: seconds, memory, choices
    python decide.py folds FOLDS.npz OUTCOMES.json                         → nordlys fitted and asked on given folds

Imports nothing of polyswe for nordlys' sides, which run where it is not installed.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = action()
    return time.perf_counter() - started, result


def best_of(times: int, action: Callable[[], Any]) -> float:
    return min(timed(action)[0] for _ in range(times))


def measure(
    load: Callable[[], Any],
    single: Callable[[Any, str], str],
    batch: Callable[[Any, list[str]], list[str]],
    embedded: Callable[[Any, Any], Any],
    texts: list[str],
    vectors_file: str,
) -> dict[str, Any]:
    loading, router = timed(load)
    first, _ = timed(lambda: single(router, texts[0]))
    cold = time.perf_counter() - BEGAN
    warm = [timed(lambda text=text: single(router, text))[0] for text in texts[1:21]]  # type: ignore[misc]
    rest = texts[21:]  # a cache may know the first ones
    worked = time.process_time()
    batch_seconds, choices = timed(lambda: batch(router, rest))
    worked = time.process_time() - worked
    import numpy as np

    vectors = np.load(vectors_file)[21:]
    # what a caller pays after the embedding: many repetitions, the least disturbed of five rounds
    one = vectors[:1].copy()
    single_after = best_of(5, lambda: [embedded(router, one) for _ in range(200)]) / 200
    batch_after = best_of(20, lambda: embedded(router, vectors)) / len(rest)
    return {
        "cold_seconds": cold,
        "load_seconds": loading,
        "first_seconds": first,
        "warm_single_ms": statistics.median(warm) * 1e3,
        "batch": len(rest),
        "batch_seconds": batch_seconds,
        "batch_cpu_seconds": worked,
        "after_embedding_single_us": single_after * 1e6,
        "after_embedding_batch_us": batch_after * 1e6,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "choices": choices,
    }


def polyswe(checkpoint: str, texts: list[str], vectors_file: str) -> dict[str, Any]:
    from router import Router

    return measure(
        lambda: Router.load(checkpoint),
        lambda router, text: router.route(text).model,
        lambda router, many: [route.model for route in router.route(many)],
        lambda router, vectors: router.choose(vectors),
        texts,
        vectors_file,
    )


def nordlys(checkpoint: str, texts: list[str], vectors_file: str) -> dict[str, Any]:
    from nordlys import Router

    return measure(
        lambda: Router(checkpoint=checkpoint),
        lambda router, text: router.route(text).model_id,
        lambda router, many: [result.model_id for result in router.route_batch(many)],
        lambda router, vectors: router._core_engine.route_batch(vectors, None),
        texts,
        vectors_file,
    )


def nordlys_folds(arrays: str, outcomes: str) -> dict[str, Any]:
    """nordlys' own trainer (K-means, 20 clusters) on each training fold, its core's choices on the other."""
    import numpy as np
    from nordlys import Dataset, Trainer
    from nordlys.checkpoint import build_checkpoint
    from nordlys.embeddings import Embedder
    from nordlys_core import Nordlys

    stored = np.load(arrays)
    vectors, tests = stored["vectors"].astype(np.float32), stored["tests"]
    known = json.loads(Path(outcomes).read_text())
    models, resolved = known["models"], known["resolved"]

    class Ready(Embedder):  # type: ignore[misc]
        """The vectors both sides use."""

        def encode(self, texts: list[str]) -> Any:
            return vectors[[int(text) for text in texts]]

        def checkpoint_config(self) -> dict[str, Any]:
            return {"model": "ready", "trust_remote_code": False}

    def rows(which: Any) -> Any:
        return Dataset.from_list(
            [{"id": str(i), "input": str(i), "targets": dict(zip(models, resolved[i], strict=True))} for i in which]
        )

    started = time.perf_counter()
    choices = np.full((len(tests), len(vectors)), -1)
    for repeat, assignment in enumerate(tests):  # (repeats, n) fold of each instance
        for fold in np.unique(assignment):
            train, test = np.flatnonzero(assignment != fold), np.flatnonzero(assignment == fold)
            trainer = Trainer(models=models, embedder=Ready(), n_clusters=20)
            fitted = trainer.fit_structure(rows(train))
            policy = trainer.calibrate(fitted, rows(train))
            checkpoint = build_checkpoint(
                cluster_centers=fitted.cluster_centers,
                models=[{"model_id": model, "scores": policy.scores[model]} for model in models],
                embedding=fitted.embedding_config, clustering=fitted.clustering_config,
                reduction=None, metrics=fitted.metrics,
            )  # fmt: skip
            core = Nordlys.from_checkpoint(checkpoint, device="cpu")
            answers = core.route_batch(np.ascontiguousarray(vectors[test]), None)
            choices[repeat, test] = [models.index(answer.selected_model) for answer in answers]
    return {
        "seconds": time.perf_counter() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "choices": choices.tolist(),
    }


if __name__ == "__main__":
    side, *arguments = sys.argv[1:]
    if side == "folds":
        answer = nordlys_folds(*arguments)
    else:
        checkpoint, named, vectors = arguments
        answer = (nordlys if side == "nordlys" else polyswe)(checkpoint, json.loads(Path(named).read_text()), vectors)
    print(json.dumps(answer))
