"""How far one driver carries: cells whose agents and gradings only wait, on 8 to 64 workers of a local Ray cluster.

    python tests/bench/ray_scaling.py                      # 8, 16, 32, 64 workers; 64 of them run all 500 × 12 cells
    python tests/bench/ray_scaling.py --workers 8,16 --seconds 1
    python tests/bench/ray_scaling.py --workers 64 --add 1 # one more row for the document that is there

SIMULATED: an attempt is a Ray task that waits and then hands over a patch and a trajectory, a grading one that waits
and hands over a report; no model, no container. What is real is everything the driver does for a cell (placement, Ray's
scheduling, streaming results, patch and report to disk with fsync, signals, scan of the trajectory, SQLite) and Ray's
own processes. Efficiency is cells × seconds ÷ workers ÷ what it took, once every worker process is up. The host's limit
is named beside it: the cells per second at which driver and Ray would take all of the machine's processors.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ray
from measure import keep, options, table

from agents.attempt import Attempt
from agents.budget import Budget, Call
from agents.runner import AgentConfig
from harness.config import RayConfig, RunConfig, find_config, load_config
from harness.data.instances import Instance
from harness.grading.verdict import Grade, Verdict
from harness.run.cells import CellRunner
from harness.run.engines.ray import RayBackend
from harness.run.engines.ray_node import (
    AttemptFinished,
    AttemptJob,
    Event,
    Graded,
    GradingJob,
    NodeRequirements,
    TaskDone,
)
from harness.run.engines.ray_nodes import Nodes
from harness.run.interrupt import Stop
from harness.run.progress import Progress
from harness.run.scheduler import run_cells
from harness.run.spending import Spending
from harness.store.rows import Cell, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

INSTANCES, MODELS = 500, 12
CALLS = 5
TRAJECTORY = b'{"info": {}, "messages": [' + b", ".join([b'{"role": "user", "content": "looking"}'] * 200) + b"]}"
PATCH = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n"


def waiting_attempt(job: AttemptJob) -> Iterator[Event]:
    seconds = float(job.labels["seconds"]) * 0.8 / CALLS
    for _ in range(CALLS):
        time.sleep(seconds)
        yield Call(time.time(), seconds, 1000, 0, 100, 0.001, False, "")
    attempt = Attempt(
        instance_id=job.task.instance_id, model=job.model.name, patch=PATCH, exit_status="Submitted",
        cost_usd=0.001 * CALLS, api_calls=CALLS, prompt_tokens=1000, completion_tokens=100, cached_tokens=0,
        failed_calls=0, seconds=seconds * CALLS, trajectory=Path("t.json"), unsubmitted_patch="", scripted=True,
    )  # fmt: skip
    yield AttemptFinished(attempt, TRAJECTORY)
    yield TaskDone(attempt)


def waiting_grade(job: GradingJob) -> Graded:
    time.sleep(float(job.requirements.label) * 0.2)
    return Graded(Grade(Verdict.RESOLVED), {"report.json": b"{}" * 500, "test_output.txt": b"ok\n" * 2000})


class Waiting(RayBackend):
    """A backend whose attempts take the time that their label says."""

    def run_agent(self, *args, labels, **more):  # type: ignore[no-untyped-def]
        return super().run_agent(*args, labels={"seconds": self.requirements.label}, **more)


def measure(workers: int, cells: int, seconds: float, folder: Path) -> dict[str, object]:
    config = load_config(find_config("sample"))
    models = {f"m{i}": config.pool[0].model_copy(update={"name": f"m{i}"}) for i in range(MODELS)}
    rows = {"FAIL_TO_PASS": "[]", "PASS_TO_PASS": "[]", "test_patch": ""}
    instances = {f"i{i}": Instance(f"i{i}", "text", "r", f"image{i}", rows) for i in range(INSTANCES)}
    requirements = NodeRequirements(
        label=str(seconds), models=tuple(models.values()), least_disk_gb=0, pull_attempts=1, pull_wait=0
    )
    run = RunConfig(agent_workers=workers, ray=RayConfig(agent_cpus=1, grading_cpus=1))
    nodes = Nodes(requirements, 1, print)
    if not nodes.refresh():
        raise SystemExit("the node is not fit, see above")
    backend = Waiting(
        nodes=nodes,
        requirements=requirements,
        run=run,
        budget=Budget(None),
        rates={},
        places=(),
        attempt_task=ray.remote(num_returns="streaming", max_retries=0)(waiting_attempt),
        grading_task=ray.remote(max_retries=0)(waiting_grade),
    )
    todo = [Cell(instance, model) for instance in instances for model in models][:cells]
    with Store(folder / "outcomes.sqlite") as store:
        store.plan({cell: "key" for cell in todo})
        work = CellRunner(
            instances=instances, models=models, agent=AgentConfig(), folder=RunFolder(folder), store=store,
            backend=backend,
            progress=Progress(store.rows()), stop=Stop(), limits=run,
            spending=Spending(config, store),
        )  # fmt: skip
        graders = max(2, workers // 4)
        agents = workers - graders  # an attempt takes four times as long as a grading: 4 : 1 keeps all busy
        ahead, rest = todo[: workers * 2], todo[workers * 2 :]
        run_cells(ahead, [], work, agent_workers=agents, grading_workers=graders, stop=Stop())  # starts the processes
        before, rays, machine, started = own_seconds(), ray_seconds(), busy(), time.monotonic()
        run_cells(rest, [], work, agent_workers=agents, grading_workers=graders, stop=Stop())
        took = time.monotonic() - started
        driver, others = own_seconds() - before, ray_seconds() - rays
        working, whole = (now - then for now, then in zip(busy(), machine, strict=True))
        graded = sum(row.state is State.GRADED for row in store.rows())
    assert graded == len(todo), f"{graded} of {len(todo)} cells have a verdict"
    # the stage that bounds: attempts on `agents` workers, or gradings on `graders`
    ideal = max(len(rest) * seconds * 0.8 / agents, len(rest) * seconds * 0.2 / graders)
    per_cell = (driver + others) / len(rest)
    return {
        "workers": workers,
        "cells": len(rest),
        "ideal s": round(ideal, 1),
        "took s": round(took, 1),
        "efficiency": round(ideal / took, 3),
        "cells/s": round(len(rest) / took, 1),
        "driver CPU ms/cell": round(1000 * driver / len(rest), 1),
        "Ray CPU ms/cell": round(1000 * others / len(rest), 1),
        "machine busy %": round(100 * working / whole),
        "host's limit cells/s": round((os.cpu_count() or 1) / per_cell, 1),
    }


def own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ray_seconds() -> float:
    """Processor seconds of Ray's processes so far: raylet, GCS, monitors and workers (Linux)."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray" in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
                total += sum(map(int, (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        except OSError:  # it ended meanwhile
            continue
    return total / os.sysconf("SC_CLK_TCK")


def busy() -> tuple[float, float]:
    """Jiffies that the machine's processors have worked, and all of them (Linux)."""
    fields = [float(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def main() -> None:
    given = options("ray_scaling", __doc__, workers="8,16,32,64", seconds=3.0, rounds=20, add=0)
    found = json.loads(given.out.read_text())["rows"] if given.add and given.out.exists() else []
    for workers in map(int, given.workers.split(",")):
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        cells = INSTANCES * MODELS if workers == 64 else min(INSTANCES * MODELS, workers * given.rounds)
        with tempfile.TemporaryDirectory() as folder:
            row = measure(workers, cells, given.seconds, Path(folder))
        found.append(row)
        table([row])
        ray.shutdown()
    table(found)
    figures = {"goal": "efficiency of 90 % up to the host's limit", "seconds per cell": given.seconds, "rows": found}
    keep(given.out, "SIMULATED: one Ray driver, attempts and gradings that only wait", figures, ["ray"])


if __name__ == "__main__":
    main()
