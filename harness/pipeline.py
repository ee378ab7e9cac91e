"""A run from its configuration to its results: plan the cells, run what is missing, compute the table."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.errors import MissingKeyError, PoolError
from agents.pool import ModelConfig, check_pool
from harness.cells import CellWork
from harness.config import Config
from harness.docker_engine import Images, connect, disk_free_gb, sweep
from harness.engines.base import Stop
from harness.engines.local import run_cells
from harness.errors import ConfigError, EnvironmentFault
from harness.files import write_atomic
from harness.grading import Grader
from harness.instances import Dataset, load_dataset
from harness.progress import Progress
from harness.run_folder import RunFolder
from harness.store import Cell, CellRow, State, Store

if TYPE_CHECKING:
    from docker import DockerClient

    from harness.report.results import Results

LEAST_DISK_GB = 2
"""Below this a run would soon fail while writing what was paid for."""
SCRIPTED = "scripted"
"""`api_base` of a stand-in model: the loopback server that the run starts itself."""


@dataclass(frozen=True)
class RunEnd:
    """How a run ended."""

    rows: Sequence[CellRow]
    results: Results | None
    """None when no cell has a verdict yet."""
    stopped: str
    """Why it stopped early; empty when everything was tried."""

    @property
    def missing(self) -> list[CellRow]:
        """Cells without a verdict."""
        return [row for row in self.rows if row.state is not State.GRADED]

    def reasons(self) -> list[str]:
        """Why cells have no verdict, a line a reason, the most frequent first."""
        counts = Counter(row.failure or f"not finished ({row.state})" for row in self.missing)
        examples = {
            row.failure: f"{row.instance_id} / {row.model}: {row.detail}" for row in self.missing if row.failure
        }
        return [
            f"{count} × {reason}" + (f", e.g. {examples[reason]}" if reason in examples else "")
            for reason, count in counts.most_common()
        ]


def evaluate(config: Config, folder: RunFolder, *, stop: Stop) -> RunEnd:
    """Run every cell of a configuration that has no verdict yet, then compute the results.

    Raises:
        InputError, EnvironmentFault: before anything is spent, when the run cannot work.
    """
    dataset = load_dataset(config.dataset)
    check_ahead(config, dataset)
    with folder.locked(), Store(folder.store_path) as store:
        cells = plan(config, dataset)
        store.plan(cells)
        rows = [row for row in store.rows() if row.cell in cells]
        if any(row.state is not State.GRADED for row in rows):
            client = connect()
            with _agents_ready(config, dataset) as models:
                folder.freeze(config, dataset)
                _run(config, dataset, models, folder, store, client, list(cells), stop)
            rows = [row for row in store.rows() if row.cell in cells]
        results = _results(config, dataset, folder, rows)
    return RunEnd(rows, results, stop.reason)


def check_ahead(config: Config, dataset: Dataset) -> None:
    """Find out before anything is spent what would only show when the results are computed.

    Raises:
        InputError: the router's policy or its parameters do not exist.
        EnvironmentFault: no embedder; API keys that are not set; too little disk.
    """
    from harness.embeddings import embed_texts
    from router.policies import PolicyParameterError, UnknownPolicyError, make_policy

    try:
        make_policy(config.router.policy, **config.router.params)
    except (UnknownPolicyError, PolicyParameterError) as error:
        raise ConfigError(f"router: {error}") from error
    try:
        check_pool(config.pool)
    except MissingKeyError as error:
        raise EnvironmentFault(str(error)) from error
    except PoolError as error:
        raise ConfigError(f"pool: {error}") from error
    free = disk_free_gb(config.out.root if config.out.root.exists() else ".")
    if free < LEAST_DISK_GB:
        raise EnvironmentFault(
            f"{free:.1f} GB free at {config.out.root.resolve()}: free at least {LEAST_DISK_GB} GB first"
        )
    embed_texts([instance.problem_statement for instance in dataset.instances], config.router.embedder)


def plan(config: Config, dataset: Dataset) -> dict[Cell, str]:
    """The cells to run, each with the key of everything its outcome depends on; an instance's models stay together."""
    keys = {model.name: _settings_key(config, model) for model in config.pool}
    if config.run.mode == "routed":
        chosen = _routed_models(config, dataset)
        pairs = [(instance, chosen[instance.instance_id]) for instance in dataset.instances]
    else:
        pairs = [(instance, model.name) for instance in dataset.instances for model in config.pool]
    return {Cell(instance.instance_id, name): f"{instance.fingerprint}.{keys[name]}" for instance, name in pairs}


def _settings_key(config: Config, model: ModelConfig) -> str:
    """Changes with every setting that may change an outcome; where the key comes from is none of them."""
    settings = {
        "model": model.model_dump(mode="json", exclude={"api_key_env"}),
        "agent": config.agent.model_dump(mode="json"),
        "grading_timeout": config.run.grading_timeout,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _routed_models(config: Config, dataset: Dataset) -> dict[str, str]:
    """The model the checkpoint picks for each instance."""
    from harness.routing import load_router

    assert config.router.checkpoint is not None  # the configuration's validator sees to it
    router = load_router(config.router.checkpoint)
    routes = router.route([instance.problem_statement for instance in dataset.instances])
    pool = [model.name for model in config.pool]
    if strange := sorted({route.model for route in routes} - set(pool)):
        raise ConfigError(
            f"checkpoint {config.router.checkpoint} routes to {', '.join(strange)}, not in the pool: {', '.join(pool)}"
        )
    return {instance.instance_id: route.model for instance, route in zip(dataset.instances, routes, strict=True)}


@contextmanager
def _agents_ready(config: Config, dataset: Dataset) -> Iterator[list[ModelConfig]]:
    """The pool, checked before the first call, with the loopback server running where stand-ins are used."""
    if not any(model.api_base == SCRIPTED for model in config.pool):
        yield list(config.pool)
        return
    from agents.scripted.server import ScriptedServer
    from harness.sample import PLAYBOOK

    if not dataset.scripted:
        raise ConfigError(
            f"pool: api_base '{SCRIPTED}' names the stand-ins of the embedded sample; "
            f"they know nothing of {dataset.name}"
        )
    with ScriptedServer(PLAYBOOK) as server:
        yield [
            model.model_copy(update={"api_base": server.url}) if model.api_base == SCRIPTED else model
            for model in config.pool
        ]


def _run(
    config: Config,
    dataset: Dataset,
    models: Sequence[ModelConfig],
    folder: RunFolder,
    store: Store,
    client: DockerClient,
    cells: Sequence[Cell],
    stop: Stop,
) -> None:
    sweep(client, folder.label)
    if dataset.scripted:
        from harness.sample.images import build_images

        build_images(client, dataset.instances)
        # the sample has no public copy: this one is what `swebench eval` takes
        rows_as_json = "".join(json.dumps(dict(instance.row), default=str) + "\n" for instance in dataset.instances)
        write_atomic(folder.path / "dataset.jsonl", rows_as_json)
    rows = {row.cell: row for row in store.rows()}
    done = [rows[cell] for cell in cells if rows[cell].state is State.GRADED]
    to_grade = [cell for cell in cells if rows[cell].state is State.AGENT_DONE]
    to_attempt = [cell for cell in cells if rows[cell].state not in (State.GRADED, State.AGENT_DONE)]
    progress = Progress(
        len(cells), done=len(done), resolved=sum(row.verdict == "resolved" for row in done), cost=store.spent()
    )
    workers = min(config.run.grading_workers, len(to_attempt) + len(to_grade))
    grader = Grader(
        folder.label,
        folder.scratch,
        workers=workers,
        timeout=config.run.grading_timeout,
        attempts=config.run.grading_attempts,
    )
    with grader:
        work = CellWork(
            instances={instance.instance_id: instance for instance in dataset.instances},
            models={model.name: model for model in models},
            agent=config.agent,
            folder=folder,
            store=store,
            images=Images(client),
            grader=grader,
            progress=progress,
            stop=stop,
            max_cost=config.run.max_cost,
        )
        try:
            run_cells(
                to_attempt,
                to_grade,
                work,
                agent_workers=config.run.agent_workers,
                grading_workers=workers,
                stop=stop,
            )
        finally:
            progress.close()
            sweep(client, folder.label)


def _results(config: Config, dataset: Dataset, folder: RunFolder, rows: Sequence[CellRow]) -> Results | None:
    from harness.run_results import results_of_run

    if not any(row.state is State.GRADED for row in rows):
        return None
    return results_of_run(config, dataset, folder, rows)


def run_folder(config: Config, config_path: Path, run_id: str | None, out: Path | None) -> RunFolder:
    """Where a configuration's run lives: the same command comes back to the same folder."""
    name = run_id or config.out.run_id or config_path.stem
    return RunFolder((out or config.out.root) / name)
