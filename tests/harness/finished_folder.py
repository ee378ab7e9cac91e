"""A made-up folder of finished attempts, in the files of `harness.importers.finished`."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WRITERS = ("writer-1", "writer-2")


def write_finished(
    folder: Path,
    resolved: NDArray[np.float64],
    fixed: NDArray[np.float64],
    *,
    models: Sequence[str] = ("alpha", "beta", "gamma"),
    missing: Sequence[tuple[int, int]] = (),
    similar: NDArray[np.float64] | None = None,
    broken: Mapping[int, Mapping[str, Sequence[str]]] | None = None,
) -> Path:
    """Write a folder.

    Args:
        folder: where; it is made.
        resolved: (n, m) verdicts.
        fixed: (writers, n, m) 1 where the writer's one test of the instance passes with the patch.
        models: their m names.
        missing: attempts (instance, model) without a patch.
        similar: (n, m, m) similarities; by default 1 of attempts with the same verdict, and 0.
        broken: by instance, the existing tests that each model's patch (and "gold") breaks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    instances = [f"repo{i % 3}__{i}" for i in range(len(resolved))]
    attempts = [
        {
            "model": model,
            "instance_id": instance,
            "patch": None if (i, h) in missing else f"diff --git a/{i}.py b/{i}.py\n",
            "resolved": str(int(resolved[i, h])),
        }
        for h, model in enumerate(models)
        for i, instance in enumerate(instances)
    ]
    write_packed(folder / "sbv_patches.jsonl.gz", "".join(json.dumps(attempt) + "\n" for attempt in attempts))
    tests = [
        {"generator": WRITERS[w], "instance_id": instance, "test": "test_it", "unpatched": 0}
        | {model: int(fixed[w, i, h]) for h, model in enumerate(models)}
        for w in range(len(fixed))
        for i, instance in enumerate(instances)
    ]
    write_packed(folder / "sbv_generated_tests.csv.gz", as_csv(tests))
    write_packed(folder / "sbv_features.csv.gz", as_csv([{"model": model, "kind": "single"} for model in models]))
    alike = (resolved[:, :, None] == resolved[:, None, :]).astype(np.float64) if similar is None else similar
    np.savez(
        folder / "sbv_pairs.npz",
        sim=np.stack([alike, alike], axis=-1).astype(np.float16),
        models=np.array(models),
        instances=np.array(instances),
        features=np.array(["seq", "eq"]),
    )
    lines = [
        {"instance_id": instances[i], "res": {model: {"new": list(tests)} for model, tests in by_model.items()}}
        for i, by_model in (broken or {}).items()
    ]
    (folder / "django_existing_tests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def write_packed(path: Path, text: str) -> None:
    """A gzip file of a text."""
    path.write_bytes(gzip.compress(text.encode()))


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
