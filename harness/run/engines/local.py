"""This machine: its Docker Engine, agents in threads, gradings in worker processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.budget import Budget
from agents.runner import run_agent
from harness.docker.engine import check_disk, connect, sweep
from harness.docker.images import Images, Patience
from harness.grading.grader import Grader
from harness.run.engines.base import Job, RunAgent

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class Here:
    """Implements `harness.run.engines.base.Shop`."""

    run_agent: RunAgent
    images: Images
    grader: Grader
    budget: Budget
    lanes: int
    places: Sequence[Path]


@contextmanager
def open_shop(job: Job) -> Iterator[Here]:
    """The local shop; containers that a killed run left are removed first, and none is left behind.

    Raises:
        EnvironmentFault: no engine answers, too little disk, the sample's images cannot be built.
    """
    run, folder, stop = job.config.run, job.folder, job.stop
    client = connect()
    root = docker_root(client)
    check_disk(root, run.least_disk_gb)
    sweep(client, folder.label)
    shutil.rmtree(folder.scratch, ignore_errors=True)  # half-written reports of a killed run
    if job.dataset.scripted:
        from harness.sample.images import build_images

        build_images(client, job.dataset.instances)
    grader = Grader(
        folder.label,
        folder.scratch,
        workers=max(1, min(run.grading_workers, len(job.order))),
        timeout=run.grading_timeout,
        attempts=run.grading_attempts,
        limits=run.grading_limits,
        give_up=lambda: stop.now,
    )
    images = Images(
        client,
        limit_gb=run.images_gb,
        patience=Patience(run.pull_attempts, run.pull_wait),
        pulled_before=job.store.images_pulled(),
        on_pull=job.store.image_pulled,
        say=job.say,
        give_up=lambda: stop.now,
    )
    budget = Budget(run.max_cost, job.store.spent(), halted=lambda: stop.now)
    with grader, images.ahead(job.order, workers=run.pull_workers, depth=run.pull_workers):
        try:
            yield Here(run_agent, images, grader, budget, grader.lanes, (folder.path, root))
        finally:
            _sweep_if_it_answers(client, job)


def _sweep_if_it_answers(client: DockerClient, job: Job) -> None:
    """An engine that has gone must not take the results with it."""
    import docker
    import requests

    try:
        sweep(client, job.folder.label)
    except (docker.errors.DockerException, requests.RequestException) as error:
        job.say(f"containers may be left behind ({type(error).__name__}); the next start removes them")


def docker_root(client: DockerClient) -> Path:
    """Where the engine keeps images and containers; this folder where it is on another machine."""
    root = Path(str(client.info().get("DockerRootDir", "")))
    return root if root.is_absolute() and root.exists() else Path()
