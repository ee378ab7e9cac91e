"""What runs on a node of the cluster: its fitness, one attempt, one grading. Knows no run folder and no store."""

from __future__ import annotations

import atexit
import platform
import queue
import shutil
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from agents.attempt import AgentTask, Attempt
from agents.budget import Budget, Call
from agents.container.limits import ContainerLimits
from agents.errors import PoolError
from agents.pool import ModelConfig, check_pool
from agents.runner import AgentConfig, run_agent
from harness.data.instances import Instance
from harness.docker.engine import NO_SPACE, STARVED_GB, check_disk, connect, disk_free_gb, sweep
from harness.docker.images import Images, Patience
from harness.errors import DiskFullError, EnvironmentUnavailableError, ImageUnavailableError
from harness.grading.grader import Grader
from harness.grading.verdict import Grade
from harness.run.engines.local import docker_root
from harness.run.failures import disk_is_full

if TYPE_CHECKING:
    from docker import DockerClient

TRAJECTORY = "trajectory.json"


@dataclass(frozen=True)
class Needs:
    """What a run asks of every node."""

    label: str
    """Marks the run's containers; empty where nothing is to be swept."""
    models: tuple[ModelConfig, ...]
    """The pool, whose keys must be in the node's own environment."""
    least_disk_gb: float
    pull_attempts: int
    pull_wait: float
    sample: tuple[Instance, ...] = ()
    """The embedded sample's instances, whose images are built where they are missing."""


@dataclass(frozen=True)
class AttemptJob:
    task: AgentTask
    model: ModelConfig
    agent: AgentConfig
    labels: Mapping[str, str]
    needs: Needs
    budget: Budget | None
    """The cluster's; None without a cost limit."""


@dataclass(frozen=True)
class GradingJob:
    instance: Instance
    model: str
    patch: str
    timeout: int
    attempts: int
    limits: ContainerLimits
    needs: Needs


@dataclass(frozen=True)
class AttemptFinished:
    """An attempt came to its end; its container may still be there."""

    attempt: Attempt
    trajectory: bytes


@dataclass(frozen=True)
class TaskDone:
    """Nothing more comes: the container is gone."""

    attempt: Attempt


@dataclass(frozen=True)
class TaskFailed:
    """An attempt, or a grading, that broke off."""

    error: Exception
    trajectory: bytes = b""
    nodes_own: bool = False
    """The node's fault, not the cell's: another node may do better."""


@dataclass(frozen=True)
class Graded:
    grade: Grade
    files: Mapping[str, bytes]


Event = Call | AttemptFinished | TaskDone | TaskFailed


def versions() -> dict[str, str]:
    """What must be the same on all nodes for outcomes to be of one kind."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in ("polyswe", "swebench", "mini-swe-agent", "litellm")},
    }


def examine(needs: Needs, expected: Mapping[str, str]) -> str:
    """Prepare this node: sweep what a killed run left, build the sample's images. Why it is unfit, or nothing."""
    here = versions()
    if wrong := [f"{name} {here.get(name)} instead of {want}" for name, want in expected.items() if here[name] != want]:
        return f"other versions: {', '.join(wrong)}"
    try:
        check_pool(needs.models)
        client = connect()
        _check_disk(client, needs.least_disk_gb)
        if needs.label:
            sweep(client, needs.label)
        if needs.sample:
            from harness.sample.images import build_images

            build_images(client, needs.sample)
    except (EnvironmentUnavailableError, PoolError) as fault:
        return str(fault)
    return ""


def sweep_node(label: str) -> None:
    """Remove the run's containers from this node."""
    sweep(connect(), label)


def attempt(job: AttemptJob) -> Iterator[Event]:
    """One attempt, told as it goes: every call, the finished attempt before its container is removed, the end."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    folder = Path(tempfile.mkdtemp(prefix="polyswe-cell-"))

    def finished(found: Attempt) -> None:
        _check_starved(folder / TRAJECTORY)
        events.put(AttemptFinished(found, _bytes(folder / TRAJECTORY)))

    def work() -> None:
        try:
            _check_disk(_client(), job.needs.least_disk_gb)
            _images(job.needs.pull_attempts, job.needs.pull_wait).ensure(job.task.image)
            done = run_agent(
                job.task,
                job.model,
                job.agent,
                out_dir=folder,
                labels=job.labels,
                on_attempt=finished,
                budget=job.budget or Budget(),
                on_call=events.put,
            )
        except Exception as error:  # noqa: BLE001 - told to the driver, which knows what to do with each kind
            events.put(_broken(error, _bytes(folder / TRAJECTORY)))
        else:
            events.put(TaskDone(done))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            event = events.get()
            yield event
            if isinstance(event, TaskDone | TaskFailed):
                return
    finally:
        thread.join()
        shutil.rmtree(folder, ignore_errors=True)


def grade(job: GradingJob) -> Graded | TaskFailed:
    """The official verdict on one patch, with the files that are kept."""
    folder = Path(tempfile.mkdtemp(prefix="polyswe-cell-"))
    try:
        _check_disk(_client(), job.needs.least_disk_gb)
        _images(job.needs.pull_attempts, job.needs.pull_wait).ensure(job.instance.image)
        found = _grader(job.needs.label, job.timeout, job.attempts, job.limits.model_dump_json()).grade(
            job.instance, job.model, job.patch, folder
        )
        _check_starved(folder / "test_output.txt")
        return Graded(found, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    except Exception as error:  # noqa: BLE001 - as above
        return _broken(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _broken(error: Exception, trajectory: bytes = b"") -> TaskFailed:
    if disk_is_full(error) and not isinstance(error, EnvironmentUnavailableError):
        error = DiskFullError(f"the node's disk is full ({error})")
    error.add_note("".join(traceback.format_exception(error)))  # a traceback does not travel, a note does
    error.__cause__ = error.__context__ = None
    own = isinstance(error, EnvironmentUnavailableError) and not isinstance(error, ImageUnavailableError)
    return TaskFailed(error, trajectory, own)


def _check_disk(client: DockerClient, least_gb: float) -> None:
    for place in _places(client):
        check_disk(place, least_gb)


def _check_starved(record: Path) -> None:
    """As the driver does for its own disk: commands that met a full one say nothing of the model."""
    full = [place for place in _places(_client()) if disk_free_gb(place) < STARVED_GB]
    if full and NO_SPACE in _bytes(record).decode("utf-8", "replace"):
        raise DiskFullError(
            f"the node's disk at {full[0]} is full, and {record.name} shows that commands failed for it"
        )


def _places(client: DockerClient) -> tuple[Path, Path]:
    return Path(tempfile.gettempdir()), docker_root(client)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@cache
def _client() -> DockerClient:
    return connect()


@cache
def _images(pull_attempts: int, pull_wait: float) -> Images:
    return Images(_client(), patience=Patience(pull_attempts, pull_wait))


@cache
def _grader(label: str, timeout: int, attempts: int, limits: str) -> Grader:
    """Of this process, which Ray keeps for further gradings: the official harness takes seconds to import."""
    scratch = Path(tempfile.mkdtemp(prefix="polyswe-grading-"))
    found = ContainerLimits.model_validate_json(limits)
    grader = Grader(label, scratch, workers=1, timeout=timeout, attempts=attempts, limits=found)
    grader.warm_up()
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    atexit.register(grader.close)
    return grader
