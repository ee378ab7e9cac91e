"""A run from its configuration to its results: plan the cells, run what is missing, compute the table."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.attempt import paid_in
from agents.errors import MissingKeyError, PoolError
from agents.pool import ModelConfig, check_pool, prices
from harness.cells import CellWork
from harness.config import Config
from harness.data.instances import Dataset, load_dataset
from harness.docker.engine import check_disk
from harness.engines import open_shop
from harness.engines.base import Stop
from harness.engines.job import Job
from harness.engines.local import run_cells
from harness.errors import ConfigError, EnvironmentFault
from harness.files import slug
from harness.progress import Progress
from harness.store.run_folder import RunFolder
from harness.store.store import Cell, CellRow, FailureRow, State, Store

if TYPE_CHECKING:
    from harness.evaluation.results import Results

SELECTION = "selection"
"""Where results go when a command asks for a part of what the run folder holds."""
NO_OUTCOME = {"retry", "pull", "start_timeout", "neighbour_tests", "reviewer"}
"""Settings of the agent that change no outcome: an earlier outcome stands when they change."""
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
    written_to: Path
    """Folder of the results: the run's, or one inside it when only a part of the run was asked for."""

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


def evaluate(config: Config, folder: RunFolder, *, stop: Stop, fresh: bool = False) -> RunEnd:
    """Run every cell of a configuration that has no verdict yet, then compute the results.

    `fresh` puts an earlier run in the folder aside first, once it is certain that this one can start.

    Raises:
        InputError, EnvironmentFault: before anything is spent, when the run cannot work.
    """
    dataset = load_dataset(config.dataset)
    check_ahead(config, dataset)
    plan(config, dataset)  # a checkpoint that does not fit is refused before anything is put aside
    with folder.locked():
        if fresh and (aside := folder.put_aside()):
            print(f"polyswe: the earlier run is kept in {aside}", file=sys.stderr)
        with Store(folder.store_path) as store:
            cells = plan(config, dataset, store.rows(), folder)
            rows = _planned(store, cells)
            out = _place(folder, rows, cells)
            while any(row.state is not State.GRADED for row in rows if row.cell in cells):
                with _agents_ready(config, dataset) as models:
                    out.freeze(config, dataset)
                    if dataset.scripted:
                        # the sample has no public copy: this one is what `swebench eval` takes
                        out.write_dataset(dataset)
                    _run(config, dataset, models, folder, store, list(cells), stop)
                rows = store.rows()
                # a cascade asks for more once it has seen the attempts
                asked = plan(config, dataset, rows, folder)
                if stop.requested or asked.keys() <= cells.keys():
                    break
                cells |= asked
                rows = _planned(store, cells)
            struck = store.failures()
        planned = [row for row in rows if row.cell in cells]
        results = _results(config, dataset, folder, planned, out.path, struck)
    return RunEnd(planned, results, stop.reason, out.path)


def _place(folder: RunFolder, rows: Sequence[CellRow], cells: Collection[Cell]) -> RunFolder:
    """Where a command's configuration and results go: a part of a run must not replace those of the whole.

    Cells that only failed are no run to protect: a model or an instance may have been mended by leaving it out.
    """
    more = any(row.state is not State.FAILED for row in rows if row.cell not in cells)
    frozen = (folder.path / "run.yaml").is_file()
    return RunFolder(folder.path / SELECTION) if more and frozen else folder


def check_ahead(config: Config, dataset: Dataset) -> None:
    """Find out before anything is spent what would only show when the results are computed.

    Raises:
        InputError: the router's policy or its parameters do not exist.
        EnvironmentFault: no embedder; API keys that are not set; too little disk.
    """
    from harness.data.embeddings import embed_texts

    check_settings(config)
    try:
        check_pool(config.pool)
    except MissingKeyError as error:
        raise EnvironmentFault(str(error)) from error
    except PoolError as error:
        raise ConfigError(f"pool: {error}") from error
    check_disk(config.out.root if config.out.root.exists() else Path(), config.run.least_disk_gb)
    embed_texts([instance.problem_statement for instance in dataset.instances], config.router.embedder)


def check_settings(config: Config) -> None:
    """What the configuration alone can tell, without keys, disk or embedder.

    Raises:
        ConfigError: the router's policy or its parameters do not exist, or a model's price is unknown.
    """
    from router.policies import PolicyParameterError, UnknownPolicyError, make_policy

    try:
        make_policy(config.router.policy, **config.router.params)
    except (UnknownPolicyError, PolicyParameterError) as error:
        raise ConfigError(f"router: {error}") from error
    try:
        for model in config.pool:
            prices(model)
    except PoolError as error:
        raise ConfigError(f"pool: {error}") from error


def plan(
    config: Config, dataset: Dataset, rows: Sequence[CellRow] = (), folder: RunFolder | None = None
) -> dict[Cell, str]:
    """The cells to run, each with the key of everything its outcome depends on; an instance's models stay together.

    A routed run's are those that the policy asks for after the finished attempts among `rows`, whose patches are in
    `folder`.
    """
    keys = {model.name: _settings_key(config, model) for model in config.pool}
    if config.run.mode == "routed":
        asked = _routed_models(config, dataset, rows, folder)
        pairs = [(instance, name) for instance in dataset.instances for name in asked[instance.instance_id]]
    else:
        pairs = [(instance, model.name) for instance in dataset.instances for model in config.pool]
    return {Cell(instance.instance_id, name): f"{instance.fingerprint}.{keys[name]}" for instance, name in pairs}


def _settings_key(config: Config, model: ModelConfig) -> str:
    """Changes with every setting that may change an outcome; where the key comes from is none of them."""
    settings = {
        "model": model.model_dump(mode="json", exclude={"api_key_env"}),
        # patience with providers and engines changes no outcome, and neither does a look at what is finished
        "agent": config.agent.model_dump(mode="json", exclude=NO_OUTCOME),
        "grading_timeout": config.run.grading_timeout,
        "grading_limits": config.run.grading_limits.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _routed_models(
    config: Config, dataset: Dataset, rows: Sequence[CellRow], folder: RunFolder | None
) -> dict[str, tuple[str, ...]]:
    """The models the checkpoint has asked for on each instance so far."""
    from harness.acting import act, outside
    from harness.fitting import load_router

    assert config.router.checkpoint is not None  # the configuration's validator sees to it
    router = load_router(config.router.checkpoint)
    pool = [model.name for model in config.pool]
    asked = {instance: acted.models for instance, acted in act(router, dataset, rows, folder, pool).items()}
    if folder is None and (absent := outside(router, pool)):  # the look ahead; said once
        print(
            f"polyswe: checkpoint {config.router.checkpoint} knows {', '.join(absent)}, not in the pool: what it would "
            "give them goes to its next best",
            file=sys.stderr,
        )
    if strange := sorted({name for names in asked.values() for name in names} - set(pool)):
        raise ConfigError(
            f"checkpoint {config.router.checkpoint} routes to {', '.join(strange)}, not in the pool: {', '.join(pool)}"
        )
    return asked


def _planned(store: Store, cells: dict[Cell, str]) -> list[CellRow]:
    store.plan(cells)
    return store.rows()


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
    cells: Sequence[Cell],
    stop: Stop,
) -> None:
    for row in store.rows():
        if row.state is State.RUNNING:  # killed while its agent was at work: what it had paid must not be forgotten
            store.killed(row.cell, paid_in(folder.cell_dir(row.cell) / "trajectory.json"))
    rows = {row.cell: row for row in store.rows()}
    done = [rows[cell] for cell in cells if rows[cell].state is State.GRADED]
    to_grade = [cell for cell in cells if rows[cell].state is State.AGENT_DONE]
    to_attempt = [cell for cell in cells if rows[cell].state not in (State.GRADED, State.AGENT_DONE)]
    instances = {instance.instance_id: instance for instance in dataset.instances}
    order = [instances[cell.instance_id].image for cell in (*to_grade, *to_attempt)]
    progress = Progress(
        len(cells), done=len(done), resolved=sum(row.verdict == "resolved" for row in done), cost=store.spent()
    )
    job = Job(config, dataset, models, folder, store, order, stop, progress.say)
    try:
        with open_shop(job) as shop:
            work = CellWork(
                instances=instances,
                models={model.name: model for model in models},
                agent=config.agent,
                folder=folder,
                store=store,
                shop=shop,
                progress=progress,
                stop=stop,
                limits=config.run,
            )
            run_cells(
                to_attempt,
                to_grade,
                work,
                agent_workers=config.run.agent_workers,
                grading_workers=shop.lanes,
                stop=stop,
                meanwhile=_load_for_results,
            )
    finally:
        progress.close()


def _load_for_results() -> None:
    """Import what the results will need: two seconds that would otherwise be spent after the last grading."""
    import sklearn.cluster  # noqa: F401

    import harness.run_results  # noqa: F401

    with suppress(ImportError):  # the extra for figures
        import matplotlib.backends.backend_agg  # noqa: F401


def _results(
    config: Config,
    dataset: Dataset,
    folder: RunFolder,
    rows: Sequence[CellRow],
    out: Path,
    struck: Sequence[FailureRow],
) -> Results | None:
    from harness.run_results import UndecidedError, results_of_run

    if not any(row.state is State.GRADED for row in rows):
        return None
    try:
        return results_of_run(config, dataset, folder, rows, out, struck)
    except UndecidedError:
        return None


def run_folder(config: Config, config_path: Path) -> RunFolder:
    """Where a configuration's run lives: the same command comes back to the same folder."""
    name = config.out.run_id or slug(config_path.stem) + ("-routed" if config.run.mode == "routed" else "")
    return RunFolder(config.out.root / name)
