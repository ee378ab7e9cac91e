"""What runs on a node of the cluster: its fitness, one attempt, one grading. Knows no run folder and no store."""

from __future__ import annotations

import atexit
import os
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
from agents.limits import ContainerLimits
from agents.pool import ModelConfig
from agents.runner import AgentConfig, run_agent
from harness.docker_engine import check_disk, connect, sweep
from harness.errors import EnvironmentFault, ImageUnavailableError
from harness.grading import Grade, Grader
from harness.images import Images, Patience
from harness.instances import Instance

if TYPE_CHECKING:
    from docker import DockerClient

TRAJECTORY = "trajectory.json"


@dataclass(frozen=True)
class Needs:
    """What a run asks of every node."""

    label: str
    keys: tuple[str, ...]
    """Names of the environment variables that hold the models' keys."""
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
class Finished:
    """An attempt came to its end; its container may still be there."""

    attempt: Attempt
    trajectory: bytes


@dataclass(frozen=True)
class Over:
    """Nothing more comes: the container is gone."""

    attempt: Attempt


@dataclass(frozen=True)
class Broken:
    """An attempt, or a grading, that broke off."""

    error: Exception
    trajectory: bytes = b""
    nodes_own: bool = False
    """The node's fault, not the cell's: another node may do better."""


@dataclass(frozen=True)
class Graded:
    grade: Grade
    files: Mapping[str, bytes]


Event = Call | Finished | Over | Broken


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
    if missing := [name for name in needs.keys if not os.environ.get(name, "").strip()]:
        return f"no API key: set {', '.join(missing)} there"
    try:
        client = connect()
        check_disk(Path(tempfile.gettempdir()), needs.least_disk_gb)
        sweep(client, needs.label)
        if needs.sample:
            from harness.sample.images import build_images

            build_images(client, needs.sample)
    except EnvironmentFault as fault:
        return str(fault)
    return ""


def sweep_node(label: str) -> None:
    """Remove the run's containers from this node."""
    sweep(connect(), label)


def attempt(job: AttemptJob) -> Iterator[Event]:
    """One attempt, told as it goes: every call, the finished attempt before its container is removed, the end."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    folder = Path(tempfile.mkdtemp(prefix="polyswe-cell-"))

    def work() -> None:
        try:
            check_disk(folder, job.needs.least_disk_gb)
            _images(job.needs.pull_attempts, job.needs.pull_wait).ensure(job.task.image)
            done = run_agent(
                job.task,
                job.model,
                job.agent,
                out_dir=folder,
                labels=job.labels,
                on_attempt=lambda found: events.put(Finished(found, _bytes(folder / TRAJECTORY))),
                budget=job.budget or Budget(),
                on_call=events.put,
            )
        except Exception as error:  # noqa: BLE001 - told to the driver, which knows what to do with each kind
            events.put(_broken(error, _bytes(folder / TRAJECTORY)))
        else:
            events.put(Over(done))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            event = events.get()
            yield event
            if isinstance(event, Over | Broken):
                return
    finally:
        thread.join()
        shutil.rmtree(folder, ignore_errors=True)


def grade(job: GradingJob) -> Graded | Broken:
    """The official verdict on one patch, with the files that are kept."""
    folder = Path(tempfile.mkdtemp(prefix="polyswe-cell-"))
    try:
        check_disk(folder, job.needs.least_disk_gb)
        _images(job.needs.pull_attempts, job.needs.pull_wait).ensure(job.instance.image)
        found = _grader(job.needs.label, job.timeout, job.attempts, job.limits.model_dump_json()).grade(
            job.instance, job.model, job.patch, folder
        )
        return Graded(found, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    except Exception as error:  # noqa: BLE001 - as above
        return _broken(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _broken(error: Exception, trajectory: bytes = b"") -> Broken:
    error.add_note("".join(traceback.format_exception(error)))  # a traceback does not travel, a note does
    error.__cause__ = error.__context__ = None
    own = isinstance(error, EnvironmentFault) and not isinstance(error, ImageUnavailableError)
    return Broken(error, trajectory, own)


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
