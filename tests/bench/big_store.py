"""Report and resume of a large run: a synthetic store of 2,294 instances × 40 models, 92 thousand cells.

    python tests/bench/big_store.py
    python tests/bench/big_store.py --instances 500 --models 12

Measured are, each in a process of its own with its peak memory: the plan of a start that finds everything graded
(`Store.plan`, then `rows`), and from the store to the results of a run on disk. The outcomes are drawn from a model of
skill and difficulty; embeddings are drawn too, since a run has them in its cache. The router's rows are those of the
`best-fixed` policy by default; --policy cluster adds the permutation null of 200 refits in 10 × 10 folds, which takes
longer and is shown for what it is.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import keep, options, table

from harness.grading.verdict import Verdict
from harness.store.rows import Cell, State
from harness.store.store import Store


def cells_of(instances: int, models: int) -> dict[Cell, str]:
    return {Cell(f"org__project-{i:05d}", f"model-{j:02d}"): "key" for i in range(instances) for j in range(models)}


def fill(path: Path, instances: int, models: int) -> None:
    """A store in which every cell is graded, as runs leave it."""
    rng = np.random.default_rng(0)
    skill, hardness = rng.normal(0.5, 0.7, models), rng.normal(0, 1.8, instances)
    resolved = rng.random((instances, models)) < 1 / (1 + np.exp(hardness[:, None] - skill))
    cost = rng.lognormal(-1.5 + 0.5 * skill, 0.4, (instances, models))
    rows = [
        (
            Verdict.RESOLVED if resolved[i, j] else Verdict.UNRESOLVED, State.GRADED, float(cost[i, j]),
            int(rng.integers(5, 80)), float(60 + 300 * cost[i, j]), f"org__project-{i:05d}", f"model-{j:02d}",
        )
        for i in range(instances) for j in range(models)
    ]  # fmt: skip
    with Store(path) as store:
        store.plan(cells_of(instances, models))
        store._db.execute("BEGIN")
        store._db.executemany(
            "UPDATE cells SET verdict = ?, state = ?, cost_usd = ?, api_calls = ?, agent_seconds = ?, "
            "exit_status = 'Submitted' WHERE instance_id = ? AND model = ?",
            rows,
        )
        store._db.execute("COMMIT")


def resume(path: Path, instances: int, models: int) -> dict[str, Any]:
    started = time.monotonic()
    cells = cells_of(instances, models)
    with Store(path) as store:
        store.plan(cells)
        planned = time.monotonic()
        rows = store.rows()
        todo = [row for row in rows if row.state is not State.GRADED and row.cell in cells]
        spent = store.spent()
    assert not todo
    assert len(rows) == instances * models
    assert spent > 0
    return {"plan_seconds": planned - started, "seconds": time.monotonic() - started}


def report(path: Path, instances: int, models: int, policy: str) -> dict[str, Any]:
    started = time.monotonic()
    from harness.evaluation.results import build_results
    from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
    from harness.importers import write_outcomes_csv
    from harness.report.tables import write_results
    from harness.store.matrix import matrix_of_run

    with Store(path) as store:
        rows = store.rows()
    read = time.monotonic()
    names = sorted({row.instance_id for row in rows})
    matrix = matrix_of_run(rows, names, sorted({row.model for row in rows}))
    embeddings = np.random.default_rng(1).normal(size=(instances, 384)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    out = path.parent / "results"
    out.mkdir(exist_ok=True)
    write_outcomes_csv(matrix, out / "outcomes.csv")
    kept = time.monotonic()
    inputs = EvaluationInputs(outcomes=matrix, embeddings=embeddings, dataset="synthetic", evaluation="live")
    results = build_results(inputs, EvaluationSettings(policies=[policy]))
    built = time.monotonic()
    write_results(results, out)
    assert len(results.rows) >= models + 2
    return {
        "read_seconds": read - started,
        "matrix_seconds": kept - read,
        "build_seconds": built - kept,
        "write_seconds": time.monotonic() - built,
        "seconds": time.monotonic() - started,
    }


def alone(step: str, *arguments: object) -> dict[str, Any]:
    """A step in a process of its own."""
    command = [sys.executable, __file__, f"--{step}", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(step: str, arguments: list[str]) -> None:
    path, instances, models = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    figures = resume(path, instances, models) if step == "resume" else report(path, instances, models, arguments[3])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({name: round(value, 2) for name, value in figures.items()} | {"peak_mb": round(peak)}))


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in ("--resume", "--report"):
        child(sys.argv[1].removeprefix("--"), sys.argv[2:])
        return
    chosen = options("big_store", __doc__, instances=2294, models=40, policy="best-fixed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.sqlite"
        fill(path, chosen.instances, chosen.models)
        size = path.stat().st_size / 2**20
        started = alone("resume", path, chosen.instances, chosen.models)
        reported = alone("report", path, chosen.instances, chosen.models, chosen.policy)
    total = round(started["seconds"] + reported["seconds"], 2)
    table([{"step": "resume", **{k: started[k] for k in ("seconds", "peak_mb")}},
           {"step": "report", **{k: reported[k] for k in ("seconds", "peak_mb")}},
           {"step": "both", "seconds": total, "peak_mb": max(started["peak_mb"], reported["peak_mb"])}])  # fmt: skip
    print(f"report: {reported}")
    keep(
        chosen.out,
        f"{chosen.instances} instances × {chosen.models} models, policy {chosen.policy}",
        {
            "goal": "both below 10 s and 1024 MB",
            "store_mb": round(size, 1), "resume": started, "report": reported, "both_seconds": total,
        },
        ["numpy", "scikit-learn", "pydantic"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
