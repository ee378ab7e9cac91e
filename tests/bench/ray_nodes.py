"""The sample on this machine and on 1, 2 and 4 Ray nodes of it, one of them killed in the middle: the same table?

    python tests/bench/ray_nodes.py                       # every way, some minutes
    python tests/bench/ray_nodes.py --ways local,2,2-killed --instances 5
    python tests/bench/ray_nodes.py --folder ways         # keeps the runs there; called again, adds the ways that miss

Each way is `polyswe evaluate sample` in an empty folder. The nodes are Ray's own (a raylet, an object store and worker
processes each) on one host and one Docker Engine, so they show that results do not depend on where a cell runs, not
that more machines are faster: the host's processors are the same for all. In `2-killed` one of two nodes is killed
without notice when a third of the cells have verdicts. Compared with the local run: every cell's state, verdict, exit
status, calls and patch, and results.json but for seconds. A run that differs ends the measurement with an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import keep, options, table
from ray.cluster_utils import Cluster

from harness.store.rows import Cell, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

TABLE = {"rows", "null", "null_of_sizes", "complementarity", "verdict"}
Outcomes = dict[Cell, tuple[object, ...]]


def cells(folder: RunFolder) -> Outcomes:
    """What may not depend on where a cell ran."""
    found: Outcomes = {}
    with Store(folder.store_path) as store:
        for row in store.rows():
            patch = hashlib.sha256((folder.cell_dir(row.cell) / "patch.diff").read_bytes()).hexdigest()
            found[row.cell] = (row.state, row.verdict, row.exit_status, row.api_calls, row.cost_usd, patch)
    return found


def results(folder: RunFolder) -> dict[str, Any]:
    """results.json without seconds."""

    def untimed(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: untimed(value) for key, value in part.items() if "seconds" not in key}
        return [untimed(value) for value in part] if isinstance(part, list) else part

    found: dict[str, Any] = untimed(json.loads((folder.path / "results.json").read_text()))
    return found


def graded(folder: RunFolder) -> int:
    if not folder.store_path.exists():
        return 0
    with Store(folder.store_path) as store:
        return sum(row.state is State.GRADED for row in store.rows())


def run(way: str, root: Path, instances: int) -> float:
    """Evaluate the sample one way; seconds."""
    nodes, killed = (0, False) if way == "local" else (int(way.split("-")[0]), way.endswith("-killed"))
    command = [
        sys.executable,
        "-m",
        "harness",
        "evaluate",
        "sample",
        "--out",
        str(root),
        "--select",
        f"slice=0:{instances}",
    ]
    cluster = None
    try:
        if nodes:
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
            members = [cluster.add_node(num_cpus=2) for _ in range(nodes)]
            command += ["--engine", "ray", "--address", cluster.address]
        folder = RunFolder(root / "sample")
        said = root / "said.txt"
        root.mkdir(parents=True)
        with said.open("w") as out:
            started = time.monotonic()
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            if killed:
                while graded(folder) < instances:  # a third of the cells: three models
                    assert process.poll() is None, said.read_text()
                    time.sleep(0.2)
                assert cluster is not None
                cluster.remove_node(members[0], allow_graceful=False)
            code = process.wait()
            took = time.monotonic() - started
        if code:
            sys.exit(f"{way}: exit code {code}\n{said.read_text()[-3000:]}")
        told = [
            line for line in said.read_text().splitlines() if "node " in line and ("gone" in line or "lost" in line)
        ]
        assert bool(told) == killed, told
        return took
    finally:
        if cluster is not None:
            cluster.shutdown()


def main() -> None:
    given = options("ray_nodes", __doc__, ways="local,1,2,4,2-killed", instances=15, folder="")
    ways = given.ways.split(",")
    if ways[0] != "local":
        sys.exit("the first way must be 'local': the others are compared with it")
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        reference: tuple[Outcomes, dict[str, Any]] | None = None
        for way in ways:
            root = Path(given.folder or name) / way
            noted = root / "seconds.json"
            if not noted.exists():
                shutil.rmtree(root, ignore_errors=True)
                took = run(way, root, given.instances)
                noted.write_text(json.dumps({"seconds": took, "load": os.getloadavg()[0]}))
            folder = RunFolder(root / "sample")
            found = cells(folder), results(folder)
            with Store(folder.store_path) as store:
                struck = [failure for failure in store.failures() if failure.kind == "node"]
            reference = reference or found
            differ = [
                cell for cell in reference[0].keys() | found[0].keys() if reference[0].get(cell) != found[0].get(cell)
            ]
            parts = {key for key, value in reference[1].items() if found[1].get(key) != value}
            note = json.loads(noted.read_text())
            row = {
                "way": way,
                "cells": len(found[0]),
                "seconds": round(note["seconds"], 1),
                "load at the end": round(note["load"], 1),
                "attempts lost with a node": len(struck),
                "cells that differ": len(differ),
                "same table": not TABLE & parts,
                "other parts that differ": sorted(parts - TABLE),
            }
            rows.append(row)
            table([row])
            for cell in differ:
                print(cell, reference[0].get(cell), found[0].get(cell))
    table(rows)
    keep(
        given.out,
        "the sample locally and on Ray nodes of one host (scripted stand-ins); compared with the local run: every "
        "cell's state, verdict, exit status, calls, cost and patch, and the table, its nulls and verdict",
        {"rows": rows},
        ["ray", "swebench"],
    )
    if any(row["cells that differ"] or not row["same table"] for row in rows):
        sys.exit("the runs differ")


if __name__ == "__main__":
    main()
