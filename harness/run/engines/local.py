"""This machine: its Docker Engine, agents in threads, gradings in worker processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agents.budget import Budget
from agents.container.host import DockerHost
from agents.rate_limit import RateLimit
from agents.runner import run_agent
from harness.docker.engine import check_disk, connect, endpoint, sweep
from harness.docker.images import Images, Patience
from harness.grading.grader import Grader
from harness.run.engines.base import RunAgent, RunContext, grading_container

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class LocalBackend:
    """Implements `harness.run.engines.base.Backend`."""

    run_agent: RunAgent
    images: Images
    grader: Grader
    budget: Budget
    rates: Mapping[str, RateLimit]
    gradings_in_flight: int
    places: Sequence[Path]


@contextmanager
def open_backend(context: RunContext) -> Iterator[LocalBackend]:
    """The local backend; containers that a killed run left are removed first, and none is left behind.

    Raises:
        EnvironmentUnavailableError: no engine answers, too little disk, the sample's images cannot be built.
    """
    run, folder, stop = context.config.run, context.folder, context.stop
    client = connect()
    root = docker_root(client)
    check_disk(root, run.least_disk_gb)
    sweep(client, folder.label)
    shutil.rmtree(folder.scratch, ignore_errors=True)  # half-written reports of a killed run
    if context.dataset.scripted:
        from harness.sample.images import build_images

        build_images(client, context.dataset.instances)
    host = DockerHost(address=endpoint().address)
    grader = Grader(
        folder.label,
        folder.scratch,
        workers=max(1, min(run.grading_workers, len(context.images))),
        timeout=run.grading_timeout,
        attempts=run.grading_attempts,
        container=grading_container(run),
        give_up=lambda: stop.now,
        host=host,
    )
    images = Images(
        client,
        limit_gb=run.images_gb,
        patience=Patience(run.pull_attempts, run.pull_wait),
        pulled_before=context.store.images_pulled(),
        on_pull=context.store.image_pulled,
        say=context.say,
        give_up=lambda: stop.now,
    )
    budget = Budget(run.max_cost_hard, context.spent, halted=lambda: stop.now)
    evidence = context.config.evidence
    keeps_new_files = context.grades and evidence is not None and evidence.own_tests
    with (
        grader if context.grades else nullcontext(),
        images.ahead(context.images, workers=run.pull_workers, depth=run.pull_workers),
    ):
        try:
            yield LocalBackend(
                run_agent=partial(run_agent, host=host, keep_new_files=keeps_new_files),
                images=images,
                grader=grader,
                budget=budget,
                rates=context.rates,
                gradings_in_flight=grader.gradings_in_flight,
                places=(folder.path, root),
            )
        finally:
            _sweep_if_it_answers(client, context)
    shutil.rmtree(folder.scratch, ignore_errors=True)


def _sweep_if_it_answers(client: DockerClient, context: RunContext) -> None:
    """An engine that has gone must not take the results with it."""
    import docker
    import requests

    try:
        sweep(client, context.folder.label)
    except (docker.errors.DockerException, requests.RequestException) as error:
        context.say(f"containers may be left behind ({type(error).__name__}); the next start removes them")


def docker_root(client: DockerClient) -> Path:
    """Where the engine keeps images and containers; this folder where it is on another machine."""
    root = Path(str(client.info().get("DockerRootDir", "")))
    return root if root.is_absolute() and root.exists() else Path()
