"""How long grading takes: polyswe against `swebench eval` on the same predictions with the same workers, side by side.

    make bench                      # the sample's gold patches, 2 workers
    make bench ARGS="--workers 4"

Verdicts must be equal, or nothing is reported. The bound is what the tests themselves take: the sum of the official
harness's own test run times, divided by the workers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from harness.config import DatasetConfig
from harness.docker_engine import connect, server_version
from harness.files import write_atomic
from harness.grading import Grader
from harness.instances import Dataset, load_dataset
from harness.sample.images import build_images


@dataclass(frozen=True)
class Timing:
    seconds: float
    resolved: frozenset[str]
    test_seconds: float = 0.0


def polyswe(dataset: Dataset, workers: int, folder: Path) -> Timing:
    """Grading as a run does it, the start of its worker processes included."""
    started = time.monotonic()
    with (
        Grader("bench", folder / "scratch", workers=workers, timeout=60) as grader,
        ThreadPoolExecutor(workers) as pool,
    ):
        grades = list(
            pool.map(
                lambda i: grader.grade(i, "gold", str(i.row["patch"]), folder / "cells" / i.instance_id),
                dataset.instances,
            )
        )
        seconds = time.monotonic() - started
    resolved = {i.instance_id for i, grade in zip(dataset.instances, grades, strict=True) if grade.resolved}
    return Timing(seconds, frozenset(resolved), sum(grade.test_seconds or 0 for grade in grades))


def official(dataset: Dataset, workers: int, folder: Path) -> Timing:
    """The official command line, as a user types it."""
    (folder / "data.json").write_text(json.dumps([dict(i.row) for i in dataset.instances], default=str))
    command = [
        str(Path(sys.executable).parent / "swebench"), "eval", "data.json", "--gold",
        "--run-id", "bench", "-j", str(workers), "-t", "60",
    ]  # fmt: skip
    started = time.monotonic()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    seconds = time.monotonic() - started
    return Timing(seconds, frozenset(json.loads((folder / "gold.bench.json").read_text())["resolved_ids"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of both, in turn")
    parser.add_argument("--out", type=Path, default=Path("results/bench/grading.json"))
    options = parser.parse_args()
    client = connect()
    dataset = load_dataset(DatasetConfig(name="sample"))
    build_images(client, dataset.instances)
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
            mine = polyswe(dataset, options.workers, Path(ours))
            reference = official(dataset, options.workers, Path(theirs))
        if mine.resolved != reference.resolved:
            sys.exit(f"verdicts differ on {sorted(mine.resolved ^ reference.resolved)}: nothing is measured")
        bound = mine.test_seconds / options.workers
        rounds.append(
            {
                "polyswe_seconds": round(mine.seconds, 2),
                "swebench_eval_seconds": round(reference.seconds, 2),
                "ratio": round(reference.seconds / mine.seconds, 2),
                "bound_seconds": round(bound, 2),
                "times_bound": round(mine.seconds / bound, 2),
            }
        )
        print(f"round {number + 1}: {rounds[-1]}")
    ratio = statistics.median(r["ratio"] for r in rounds)
    print(f"polyswe is {ratio:.1f} times as fast as swebench eval (median of {len(rounds)} rounds)")
    document = {
        "what": f"{len(dataset.instances)} gold patches of the sample, {options.workers} workers",
        "command": f"make bench ARGS='--workers {options.workers} --rounds {options.rounds}'",
        "machine": f"{os.cpu_count()} CPUs, {platform.platform()}, Docker Engine {server_version(client)}",
        "versions": {name: version(name) for name in ("polyswe", "swebench", "docker")},
        "rounds": rounds,
    }
    write_atomic(options.out, json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
