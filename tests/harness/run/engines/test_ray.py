"""A cluster of several Ray nodes on this machine: the local outcomes, nodes that die, nodes that cannot work."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agents.pool import ModelConfig
from harness.config import RunConfig, find_config, load_config
from harness.errors import EXIT_ENVIRONMENT
from harness.run.engines.ray_budget import BudgetActor
from harness.run.engines.ray_rates import ClusterRateLimit, RatesActor
from harness.store.rows import Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

if TYPE_CHECKING:
    from docker import DockerClient

    from harness.data.instances import Dataset

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="the extra 'ray' is not installed")
pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head node that takes no cells; tests add the nodes that do."""
    found = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield found
    found.shutdown()


def command(root: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "harness", "evaluate", "sample", "--out", str(root), *options]


def first(sample: Dataset, count: int) -> list[str]:
    return ["--select", f"slice=0:{count}"]


def rows_of(folder: RunFolder) -> dict[Cell, CellRow]:
    with Store(folder.store_path) as store:
        return {row.cell: row for row in store.rows()}


def outcomes(folder: RunFolder) -> dict[Cell, tuple[object, ...]]:
    """What may not depend on where a cell ran."""
    return {cell: (row.state, row.verdict, row.exit_status, row.api_calls) for cell, row in rows_of(folder).items()}


def wait_for_verdicts(folder: RunFolder, count: int, run: subprocess.Popen[str]) -> None:
    while True:
        done = (
            [row for row in rows_of(folder).values() if row.state is State.GRADED] if folder.store_path.exists() else []
        )
        if len(done) >= count:
            return
        assert run.poll() is None, "the run ended before the moment came"
        time.sleep(0.2)


def test_a_cluster_gives_the_local_outcomes_though_nodes_die_and_others_cannot_work(
    cluster: Any, sample: Dataset, engine: DockerClient, tmp_path: Path
) -> None:
    cells = first(sample, 2)
    local = RunFolder(tmp_path / "local" / "sample")
    assert subprocess.run(command(tmp_path / "local", *cells), capture_output=True, check=False).returncode == 0

    mortal = cluster.add_node(num_cpus=2)
    cluster.add_node(num_cpus=1, env_vars={"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    folder = RunFolder(tmp_path / "cluster" / "sample")
    run = subprocess.Popen(
        command(
            tmp_path / "cluster", *cells, "--engine", "ray", "--address", cluster.address,
            "--max-cost", "40", "--set", "run.max_cost_hard=50",
        ),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for_verdicts(folder, 1, run)
    cluster.add_node(num_cpus=2)
    cluster.remove_node(mortal, allow_graceful=False)
    _, said = run.communicate(timeout=900)
    assert run.returncode == 0, said
    assert "is left out: no Docker Engine answers" in said
    assert "is gone" in said or "lost a cell's task" in said
    assert outcomes(folder) == outcomes(local)
    # what was finished when the node died was not paid for again: one attempt's calls, and those of attempts cut off
    with Store(folder.store_path) as store:
        failure_events = {failure.cell for failure in store.failures()}
        assert {failure.kind for failure in store.failures()} <= {"node"}
        for row in store.rows():
            assert (row.lost_cost_usd > 0) <= (row.cell in failure_events)
    for cell in rows_of(folder):
        written = {path.name for path in folder.cell_dir(cell).iterdir()}
        assert {"patch.diff", "trajectory.json"} <= written
        if rows_of(folder)[cell].verdict in ("resolved", "unresolved"):
            assert {"report.json", "test_output.txt"} <= written
    left = engine.containers.list(all=True, filters={"label": f"polyswe.run={folder.label}"}, ignore_removed=True)
    assert left == []


def test_a_dead_address_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "--engine", "ray", "--address", "127.0.0.1:9"),
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == EXIT_ENVIRONMENT
    lines = [line for line in done.stderr.splitlines() if line.startswith("polyswe:")]
    assert len(lines) == 1
    assert "127.0.0.1:9" in lines[0]
    assert "ray start --head" in lines[0]
    assert "Traceback" not in done.stderr


def test_a_cluster_without_a_fit_node_says_why(cluster: Any, sample: Dataset, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1, env_vars={"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    options = [*first(sample, 1), "--engine", "ray", "--address", cluster.address]
    done = subprocess.run(command(tmp_path, *options), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == EXIT_ENVIRONMENT
    assert "no Docker Engine answers" in done.stderr
    assert "no node of the cluster can work" in done.stderr


def test_the_till_is_one_for_all_and_forgets_dead_attempts() -> None:
    budget_actor = BudgetActor(limit=1.0, spent=0.0)
    assert budget_actor.reserve("a", 0.4) == ""
    assert budget_actor.reserve("b", 0.4) == ""
    budget_actor.settle("a", 0.5)
    budget_actor.settle("b", None)  # its node is gone: the call may have been billed
    assert budget_actor.spent() == pytest.approx(0.9)
    budget_actor.settle("b", None)  # twice changes nothing
    assert budget_actor.spent() == pytest.approx(0.9)
    assert budget_actor.reserve("c", 0.4) == ""  # nothing is in flight: one call may pass the limit
    budget_actor.settle("c", 0.4)
    assert "cost limit of $1" in budget_actor.reserve("d", 0.01)


def test_turns_are_handed_out_for_the_whole_cluster() -> None:
    """Two nodes' agents ask the same actor: six calls at one a second take turns, whoever makes them."""
    import ray

    model = ModelConfig(name="m", model="openai/m", api_base="http://127.0.0.1:9/v1", free=True, rpm=60)

    @ray.remote
    def agent(rate: ClusterRateLimit) -> list[float]:
        return [time.time() + rate.reserve(100).seconds for _ in range(3)]

    ray.init(num_cpus=2, include_dashboard=False, namespace="polyswe", log_to_driver=False)
    try:
        rate = ClusterRateLimit(ray.remote(RatesActor).options(num_cpus=0).remote([model]), "m")
        turns = sorted(turn for turns in ray.get([agent.remote(rate), agent.remote(rate)]) for turn in turns)
        assert turns[-1] - turns[0] > 4.5
        assert 0 < rate.start() <= 6, "no further attempt starts while calls wait for their turns"
    finally:
        ray.shutdown()


def test_the_configuration_knows_the_cluster() -> None:
    assert load_config(find_config("sample")).run.engine == "local"
    assert RunConfig.model_validate({"engine": "ray", "ray": {"address": "h:6379"}}).ray.address == "h:6379"
