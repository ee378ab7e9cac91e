"""How long grading takes: polyswe against `swebench eval` on the same predictions with the same workers, in turn.

    python tests/bench/grading.py                  # gold and wrong patches of the sample: 30 predictions, 2 workers
    python tests/bench/grading.py --workers 4 --rounds 1

Verdicts must be equal, or nothing is reported. The bound is what the tests themselves take: the sum of the official
harness's own test run times (by its log, of polyswe's gradings of the same round), divided by the workers. Tests that
run beside others' set-up are slower than on a machine with nothing else to do, so the bound by the official run's own
log, whose workers mostly wait, stands beside it. Start-up of the grading processes counts. Before each round a few
predictions are graded unmeasured: the first to come would read libraries and images from the disk for both sides.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from measure import keep, options, table

from harness.config import DatasetConfig
from harness.data.instances import Instance, load_dataset
from harness.docker.engine import connect, server_version
from harness.grading.grader import Grader
from harness.sample.images import build_images

WRONG = (
    "diff --git a/NOTES.txt b/NOTES.txt\nnew file mode 100644\n--- /dev/null\n+++ b/NOTES.txt\n@@ -0,0 +1 @@\n+no fix\n"
)


@dataclass(frozen=True)
class Timing:
    seconds: float
    resolved: frozenset[str]
    test_seconds: float


def twice(instances: Sequence[Instance]) -> tuple[list[Instance], dict[str, str]]:
    """Every instance under two names, once with its gold patch and once with one that fixes nothing."""
    rows, patches = [], {}
    for instance in instances:
        for kind, patch in (("gold", str(instance.row["patch"])), ("wrong", WRONG)):
            name = f"{instance.instance_id}-{kind}"
            rows.append(replace(instance, instance_id=name, row={**instance.row, "instance_id": name}))
            patches[name] = patch
    return rows, patches


def polyswe(rows: Sequence[Instance], patches: Mapping[str, str], workers: int, folder: Path) -> Timing:
    """Grading as a run does it, the start of its worker processes and the removal of all containers included."""
    os.sync()  # what the other side still has to write is not this one's
    started = time.monotonic()
    with (
        Grader("bench", folder / "scratch", workers=workers, timeout=120) as grader,
        ThreadPoolExecutor(grader.gradings_in_flight) as pool,
    ):
        grades = list(
            pool.map(lambda i: grader.grade(i, "m", patches[i.instance_id], folder / "cells" / i.instance_id), rows)
        )
    seconds = time.monotonic() - started
    resolved = {row.instance_id for row, grade in zip(rows, grades, strict=True) if grade.resolved}
    return Timing(seconds, frozenset(resolved), sum(grade.test_seconds or 0 for grade in grades))


def official(rows: Sequence[Instance], patches: Mapping[str, str], workers: int, folder: Path) -> Timing:
    """The official command line, as a user types it."""
    (folder / "data.json").write_text(json.dumps([dict(row.row) for row in rows], default=str))
    predictions = [
        {"instance_id": name, "model_name_or_path": "m", "model_patch": patch} for name, patch in patches.items()
    ]
    (folder / "preds.json").write_text(json.dumps(predictions))
    command = [
        str(Path(sys.executable).parent / "swebench"),
        "eval",
        "data.json",
        "-p",
        "preds.json",
        "--run-id",
        "bench",
        "-j",
        str(workers),
        "-t",
        "120",
    ]
    os.sync()
    started = time.monotonic()
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    seconds = time.monotonic() - started
    reports = [json.loads(path.read_text()) for path in folder.glob("logs/run_evaluation/bench/m/*/report.json")]
    resolved = {name for report in reports for name, verdict in report.items() if verdict["resolved"]}
    logs = [path.read_text() for path in folder.glob("logs/run_evaluation/bench/m/*/run_instance.log")]
    times = [float(match[1].replace("_", "")) for log in logs if (match := re.search(r"Test runtime: ([\d_.]+)", log))]
    return Timing(seconds, frozenset(resolved), sum(times))


def main() -> None:
    chosen = options("grading", __doc__, workers=2, rounds=2)
    client = connect()
    dataset = load_dataset(DatasetConfig(name="sample"))
    build_images(client, dataset.instances)
    rows, patches = twice(dataset.instances)
    rounds = []
    for number in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
            polyswe(rows[: 2 * chosen.workers], patches, chosen.workers, Path(ours) / "unmeasured")
            mine = polyswe(rows, patches, chosen.workers, Path(ours))
            reference = official(rows, patches, chosen.workers, Path(theirs))
        if mine.resolved != reference.resolved or len(mine.resolved) != len(dataset.instances):
            sys.exit(f"verdicts differ on {sorted(mine.resolved ^ reference.resolved)}: nothing is measured")
        bound, alone = mine.test_seconds / chosen.workers, reference.test_seconds / chosen.workers
        rounds.append(
            {
                "round": number + 1,
                "polyswe_seconds": round(mine.seconds, 2),
                "swebench_eval_seconds": round(reference.seconds, 2),
                "ratio": round(reference.seconds / mine.seconds, 2),
                "bound_seconds": round(bound, 2),
                "times_bound": round(mine.seconds / bound, 2),
                "bound_of_official_run": round(alone, 2),
                "times_that": round(mine.seconds / alone, 2),
            }
        )
    table(rounds)
    ratio = statistics.median(row["ratio"] for row in rounds)
    print(f"polyswe is {ratio:.1f} times as fast as swebench eval (median of {len(rounds)} rounds)")
    keep(
        chosen.out,
        f"{len(rows)} predictions of the sample (gold and wrong), {chosen.workers} workers, "
        f"Docker Engine {server_version(client)}",
        {"goal": "ratio at least 10, times_bound at most 1.3", "rounds": rounds},
        ["swebench", "docker"],
    )


if __name__ == "__main__":
    main()
