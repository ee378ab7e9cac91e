"""A run from its configuration to its results: plan the cells, run what is missing, compute the table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.attempt import paid_in
from agents.pool import ModelConfig
from harness.config import Config
from harness.data.instances import Dataset, load_dataset
from harness.files import slug
from harness.run.cells import CellRunner
from harness.run.engines import open_backend
from harness.run.engines.base import RunContext
from harness.run.interrupt import Stop
from harness.run.plan import plan
from harness.run.preflight import preflight, scripted_models_ready
from harness.run.progress import Progress
from harness.run.scheduler import run_cells
from harness.store.run_folder import RunFolder
from harness.store.store import Cell, CellRow, FailureRow, State, Store

if TYPE_CHECKING:
    from harness.evaluation.schema import Results

SELECTION = "selection"
"""Where results go when a command asks for a part of what the run folder holds."""


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
        InputError, EnvironmentUnavailableError: before anything is spent, when the run cannot work.
    """
    dataset = load_dataset(config.dataset)
    preflight(config, dataset)
    plan(config, dataset)  # a checkpoint that does not fit is refused before anything is put aside
    with folder.locked():
        if fresh and (aside := folder.archive()):
            print(f"polyswe: the earlier run is kept in {aside}", file=sys.stderr)
        with Store(folder.store_path) as store:
            cells = plan(config, dataset, store.rows(), folder)
            rows = _planned(store, cells)
            out = _results_folder(folder, rows, cells)
            while any(row.state is not State.GRADED for row in rows if row.cell in cells):
                with scripted_models_ready(config, dataset) as models:
                    out.write_manifest(config, dataset)
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
            failure_events = store.failures()
        planned = [row for row in rows if row.cell in cells]
        results = _results(config, dataset, folder, planned, out.path, failure_events)
    return RunEnd(planned, results, stop.reason, out.path)


def _results_folder(folder: RunFolder, rows: Sequence[CellRow], cells: Collection[Cell]) -> RunFolder:
    """Where a command's configuration and results go: a part of a run must not replace those of the whole.

    Cells that only failed are no run to protect: a model or an instance may have been mended by leaving it out.
    """
    more = any(row.state is not State.FAILED for row in rows if row.cell not in cells)
    frozen = (folder.path / "run.yaml").is_file()
    return RunFolder(folder.path / SELECTION) if more and frozen else folder


def _planned(store: Store, cells: dict[Cell, str]) -> list[CellRow]:
    store.plan(cells)
    return store.rows()


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
    job = RunContext(config, dataset, models, folder, store, order, stop, progress.say)
    try:
        with open_backend(job) as backend:
            work = CellRunner(
                instances=instances,
                models={model.name: model for model in models},
                agent=config.agent,
                folder=folder,
                store=store,
                backend=backend,
                progress=progress,
                stop=stop,
                limits=config.run,
            )
            run_cells(
                to_attempt,
                to_grade,
                work,
                agent_workers=config.run.agent_workers,
                grading_workers=backend.gradings_in_flight,
                stop=stop,
                meanwhile=_load_for_results,
            )
    finally:
        progress.close()


def _load_for_results() -> None:
    """Import what the results will need: two seconds that would otherwise be spent after the last grading."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg  # noqa: F401
    import sklearn.cluster  # noqa: F401

    import harness.run.results  # noqa: F401


def _results(
    config: Config,
    dataset: Dataset,
    folder: RunFolder,
    rows: Sequence[CellRow],
    out: Path,
    failure_events: Sequence[FailureRow],
) -> Results | None:
    from harness.run.results import UndecidedError, results_of_run

    if not any(row.state is State.GRADED for row in rows):
        return None
    try:
        return results_of_run(config, dataset, folder, rows, out, failure_events)
    except UndecidedError:
        return None


def run_folder(config: Config, config_path: Path) -> RunFolder:
    """Where a configuration's run lives: the same command comes back to the same folder."""
    name = config.out.run_id or slug(config_path.stem) + ("-routed" if config.run.mode == "routed" else "")
    return RunFolder(config.out.root / name)
