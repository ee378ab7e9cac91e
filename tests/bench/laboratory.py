"""Measure the laboratory: every policy, 10 × 10 nested folds, 500 instances × 12 models, nulls and all, embedded.

    python tests/bench/laboratory.py ../shared/data [--embeddings FILE.npz] [--out results/bench/laboratory.json]

Prints seconds and peak memory (this process and its workers together), and the same for K-means on 20,000 × 768.
Goals: 90 s on 2 cores, 1 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter

import numpy as np

from harness.data.embeddings import embed_texts
from harness.data.instances import read_problem_statements
from harness.evaluation.policy_rows import PERMUTATIONS
from harness.evaluation.results import build_results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.importers import auxiliary_matrix, load_outcomes, outcome_matrix
from router.outcomes import OutcomeMatrix
from router.policies import POLICIES

GOAL_SECONDS, GOAL_MIB = 90.0, 1024.0


class PeakMemory:
    """Largest resident memory of this process and its children together, in MiB, read every 50 ms from /proc.

    Pages that processes share count once in each of them, so it is an upper bound.
    """

    def __enter__(self) -> PeakMemory:
        self.mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.mib = max(self.mib, sum(map(resident_mib, family(os.getpid()))))


def family(root: int) -> list[int]:
    """`root` and its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # ended in the meantime
                continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def resident_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def recorded(data: Path, instances: list[str]) -> tuple[OutcomeMatrix, OutcomeMatrix]:
    """The twelve runs of mini-swe-agent 2, and every other sound run of the boards and of SWE-bench/experiments."""
    boards = [data / "outcomes" / f"leaderboards-{date}.json" for date in ("2026-02-26", "2025-12-10")]
    runs = load_outcomes(boards).runs
    pool = [run.name for run in runs if (run.agent or "").endswith("2.0.0") and set(instances) <= run.cells.keys()]
    outcomes, _ = outcome_matrix(runs, pool, instances)
    everything = load_outcomes([*boards, data / "outcomes" / "experiments"]).runs
    auxiliary, _ = auxiliary_matrix(everything, outcomes, benchmark=instances)
    assert auxiliary is not None
    return outcomes, auxiliary


def measure_laboratory(data: Path, embeddings: Path | None, policies: list[str]) -> dict[str, object]:
    statements = read_problem_statements(data / "tasks" / "swebench_verified.jsonl")
    X = np.load(embeddings)["X"] if embeddings is not None else embed_texts(list(statements.values()))
    outcomes, auxiliary = recorded(data, list(statements))
    inputs = EvaluationInputs(
        outcomes=outcomes,
        embeddings=X.astype(np.float64),
        dataset="M12",
        auxiliary=auxiliary,
        repositories=[name.rpartition("-")[0] for name in statements],
    )
    stages: list[str] = []
    with PeakMemory() as peak:
        started = perf_counter()
        results = build_results(inputs, EvaluationSettings(policies=policies), progress=stages.append)
        seconds = perf_counter() - started
    rows = {row.name: row for row in results.rows if row.kind == "policy" and row.evaluation == "cross-fitted"}
    print(f"laboratory: {seconds:.1f} s (goal {GOAL_SECONDS:.0f}), peak {peak.mib:.0f} MiB (goal {GOAL_MIB:.0f})")
    for name, row in rows.items():
        test = "" if row.vs_best_single is None else f"p (text) {row.vs_best_single.p_text}"
        print(f"  {name:18} {row.resolved:6.1f} at ${row.cost_per_instance:.3f} {test}")
    return {
        "policies": policies,
        "instances": len(outcomes),
        "models": len(outcomes.models),
        "auxiliary_runs": len(auxiliary.models),
        "folds": 10,
        "repeats": 10,
        "permutations_at_most": PERMUTATIONS,
        "seconds": round(seconds, 1),
        "peak_mib": round(peak.mib),
        "goal_seconds": GOAL_SECONDS,
        "goal_mib": GOAL_MIB,
    }


def measure_kmeans() -> dict[str, object]:
    """K-means on 20,000 × 768 in a process of its own: an n × k × d array alone would be 2.3 GiB."""
    code = (
        "import numpy as np, resource, time; from router.clustering import CentroidClusters\n"
        "X = np.random.default_rng(0).normal(size=(20000, 768)).astype(np.float32)\n"
        "X /= np.linalg.norm(X, axis=1, keepdims=True)\n"
        "t = time.perf_counter(); found = CentroidClusters(20, 0, n_init=1).fit(X); found.assign(X)\n"
        "print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    seconds, mib = float(printed[0]), float(printed[1])
    print(f"K-means, 20,000 × 768, 20 clusters: {seconds:.1f} s, peak {mib:.0f} MiB")
    return {"rows": 20000, "dimensions": 768, "clusters": 20, "seconds": round(seconds, 1), "peak_mib": round(mib)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--embeddings", type=Path, help=".npz with X (500, d), in the order of the tasks")
    parser.add_argument("--policy", action="append", choices=sorted(POLICIES), help="default: every policy")
    parser.add_argument("--out", type=Path, default=Path("results/bench/laboratory.json"))
    args = parser.parse_args()
    measured = {
        "cores": len(os.sched_getaffinity(0)),
        "laboratory": measure_laboratory(args.data, args.embeddings, args.policy or sorted(POLICIES)),
        "kmeans": measure_kmeans(),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
