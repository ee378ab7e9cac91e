"""What runs on a node of the cluster: its preparation, one attempt, one grading. Knows no run folder and no store."""

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
from agents.container.host import DockerHost
from agents.errors import PoolError
from agents.pool import ModelConfig, check_pool
from agents.rate_limit import RateLimit
from agents.runner import AgentConfig, run_agent
from harness.data.instances import Instance
from harness.docker.engine import check_disk, check_starved, connect, endpoint, sweep
from harness.docker.images import Images, Patience
from harness.errors import DiskFullError, EnvironmentUnavailableError, ImageUnavailableError
from harness.grading.grader import Grader
from harness.grading.settings import GradingContainer
from harness.grading.verdict import Grade
from harness.run.engines.local import docker_root
from harness.run.failures import disk_is_full

if TYPE_CHECKING:
    from docker import DockerClient

TRAJECTORY = "trajectory.json"
"""Name of the file in which an agent keeps its messages."""


@dataclass(frozen=True)
class NodeRequirements:
    """What every node must have, and how it works for the run."""

    label: str
    """Marks the run's containers; empty where none of an earlier start can be left."""
    models: tuple[ModelConfig, ...]
    """The pool, whose keys must be in the node's own environment."""
    least_disk_gb: float
    pull_attempts: int
    pull_wait: float
    sample: tuple[Instance, ...] = ()
    """The embedded sample's instances, whose images are built where they are missing."""


@dataclass(frozen=True)
class AttemptJob:
    """One attempt, as the driver sends it to a node."""

    task: AgentTask
    model: ModelConfig
    agent: AgentConfig
    labels: Mapping[str, str]
    requirements: NodeRequirements
    budget: Budget | None
    """The cluster's; None without a cost limit."""
    rate: RateLimit | None = None
    """The cluster's, of the model; None without limits."""


@dataclass(frozen=True)
class GradingJob:
    """One grading, as the driver sends it to a node."""

    instance: Instance
    model: str
    attempt: int
    patch: str
    timeout: int
    attempts: int
    container: GradingContainer
    requirements: NodeRequirements


@dataclass(frozen=True)
class TurnAwaited:
    """The agent waits so many seconds for its model's next turn."""

    seconds: float


@dataclass(frozen=True)
class AttemptFinished:
    """An attempt came to its end; its container may still be there."""

    attempt: Attempt
    trajectory: bytes


@dataclass(frozen=True)
class TaskDone:
    """The attempt's container is gone: the last event."""

    attempt: Attempt


@dataclass(frozen=True)
class TaskFailed:
    """An attempt or a grading that ended with an error: the last event."""

    error: Exception
    trajectory: bytes = b""
    nodes_fault: bool = False
    """Another node may succeed."""


@dataclass(frozen=True)
class Graded:
    """What a grading ended with."""

    grade: Grade
    files: Mapping[str, bytes]
    """Report, test output and logs by name."""


Event = Call | TurnAwaited | AttemptFinished | TaskDone | TaskFailed
"""What an attempt sends to the driver."""


def versions() -> dict[str, str]:
    """What must be the same on all nodes for outcomes to be of one kind."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in ("polyswe", "swebench", "mini-swe-agent", "litellm")},
    }


def examine(requirements: NodeRequirements, expected: Mapping[str, str]) -> str:
    """Prepare this node: remove what a killed run left, build the sample's images.

    Returns:
        Why the node is unfit; empty when it is fit.
    """
    own = versions()
    if wrong := [f"{name} {own[name]} instead of {want}" for name, want in expected.items() if own[name] != want]:
        return f"other versions: {', '.join(wrong)}"
    try:
        check_pool(requirements.models)
        client = connect()
        _check_disk(client, requirements.least_disk_gb)
        if requirements.label:
            sweep(client, requirements.label)
        if requirements.sample:
            from harness.sample.images import build_images

            build_images(client, requirements.sample)
    except (EnvironmentUnavailableError, PoolError) as fault:
        return str(fault)
    return ""


def sweep_node(label: str) -> None:
    """Remove the run's containers from this node."""
    sweep(connect(), label)


def attempt(job: AttemptJob) -> Iterator[Event]:
    """One attempt as a stream of events: every call, the attempt before its container is removed, the end."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    folder = Path(tempfile.mkdtemp(prefix="polyswe-cell-"))

    def keep(finished: Attempt) -> None:
        check_starved(_places(_client()), folder / TRAJECTORY)
        events.put(AttemptFinished(attempt=finished, trajectory=_read_bytes(folder / TRAJECTORY)))

    def work() -> None:
        try:
            _check_disk(_client(), job.requirements.least_disk_gb)
            _images(job.requirements.pull_attempts, job.requirements.pull_wait).ensure(job.task.image)
            finished = run_agent(
                job.task,
                job.model,
                job.agent,
                out_dir=folder,
                labels=job.labels,
                on_attempt=keep,
                budget=job.budget or Budget(),
                on_call=events.put,
                rate=job.rate,
                on_wait=lambda seconds: events.put(TurnAwaited(seconds)),
                host=_host(),
            )
        except Exception as error:  # noqa: BLE001 - sent to the driver, which knows what to do with each kind
            events.put(_task_failed(error, _read_bytes(folder / TRAJECTORY)))
        else:
            events.put(TaskDone(finished))

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
        _check_disk(_client(), job.requirements.least_disk_gb)
        _images(job.requirements.pull_attempts, job.requirements.pull_wait).ensure(job.instance.image)
        grader = _grader(job.requirements.label, job.timeout, job.attempts, job.container.model_dump_json())
        verdict = grader.grade(job.instance, job.model, job.patch, folder, attempt=job.attempt)
        check_starved(_places(_client()), folder / "test_output.txt")
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        return Graded(grade=verdict, files=files)
    except Exception as error:  # noqa: BLE001 - as above
        return _task_failed(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _task_failed(error: Exception, trajectory: bytes = b"") -> TaskFailed:
    if disk_is_full(error) and not isinstance(error, EnvironmentUnavailableError):
        error = DiskFullError(f"the node's disk is full ({error})")
    error.add_note("".join(traceback.format_exception(error)))  # a traceback does not travel, a note does
    error.__cause__ = error.__context__ = None
    nodes_fault = isinstance(error, EnvironmentUnavailableError) and not isinstance(error, ImageUnavailableError)
    return TaskFailed(error=error, trajectory=trajectory, nodes_fault=nodes_fault)


def _check_disk(client: DockerClient, least_gb: float) -> None:
    for place in _places(client):
        check_disk(place, least_gb)


def _places(client: DockerClient) -> tuple[Path, Path]:
    return Path(tempfile.gettempdir()), docker_root(client)


def _read_bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@cache
def _client() -> DockerClient:
    return connect()


@cache
def _host() -> DockerHost:
    return DockerHost(address=endpoint().address)


@cache
def _images(pull_attempts: int, pull_wait: float) -> Images:
    return Images(_client(), patience=Patience(pull_attempts, pull_wait))


@cache
def _grader(label: str, timeout: int, attempts: int, container: str) -> Grader:
    """Of this process, which Ray keeps for further gradings: the official harness takes seconds to import."""
    scratch = Path(tempfile.mkdtemp(prefix="polyswe-grading-"))
    grader = Grader(
        label,
        scratch,
        workers=1,
        timeout=timeout,
        attempts=attempts,
        container=GradingContainer.model_validate_json(container),
        host=_host(),
    )
    grader.warm_up()
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    atexit.register(grader.close)
    return grader
