"""Test writing: a run inside the run, whose cells are each instance with each test writer; nothing of it is graded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from agents.evidence.config import EvidenceConfig
from agents.evidence.issue_tests import IssueTest, read_tests
from agents.evidence.writer import writer_config, writer_model
from agents.pool import ModelConfig
from harness.config import Config
from harness.data.instances import Dataset
from harness.errors import InputError, RunMismatchError
from harness.run.cells import CellRunner
from harness.run.engines.base import Backend
from harness.run.journal import Journal
from harness.run.open_run import OpenRun
from harness.run.plan import plan
from harness.run.progress import Progress
from harness.run.scheduler import run_cells
from harness.store.rows import ATTEMPTED, Cell, CellRow
from harness.store.run_folder import RunFolder, read_patch
from harness.store.store import Store
from harness.text import counted

WORK = "writing tests"
"""What the display calls this part of a run."""


def writing_config(config: Config, evidence: EvidenceConfig) -> Config:
    """The configuration of the run inside the run."""
    writers = [writer_model(model) for model in config.pool if model.name in evidence.writers]
    return config.model_copy(
        update={
            "pool": [model.model_copy(update={"repeats": None}) for model in writers],
            "agent": writer_config(config.agent, evidence),
            "run": config.run.model_copy(update={"mode": "matrix", "repeats": 1}),
            "evidence": None,
        }
    )


def check_tests(config: Config, dataset: Dataset, folder: RunFolder) -> None:
    """Refuse to continue a run whose tests were written with other settings than the configuration's.

    Raises:
        InputError: they were.
    """
    if config.evidence is None or not folder.tests.store_path.is_file():
        return
    with Store(folder.tests.store_path) as store:
        _plan(writing_config(config, config.evidence), dataset, folder.tests, store)


def _plan(config: Config, dataset: Dataset, folder: RunFolder, store: Store) -> list[Cell]:
    cells = plan(config, dataset) if config.pool else {}
    try:
        store.plan(cells)
    except RunMismatchError as error:
        raise InputError(
            f"{folder.path} holds tests that were written with other settings of the writers; put the settings back, "
            "or move that folder away to have the tests written and paid for again"
        ) from error
    return list(cells)


@contextmanager
def open_writing(run: OpenRun, evidence: EvidenceConfig) -> Iterator[OpenRun]:
    """The run inside the run, its cells planned and what a killed start left taken up."""
    config, folder = writing_config(run.config, evidence), run.folder.tests
    folder.path.mkdir(exist_ok=True)
    with Journal(folder.path, run.config.pool) as journal, Store(folder.store_path) as store:
        _plan(config, run.dataset, folder, store)
        inner = OpenRun(config, run.dataset, folder, store, run.stop, journal, whole=run.folder)
        inner.recover()
        yield inner


def to_write(run: OpenRun, instances: Collection[str]) -> list[Cell]:
    """The cells of these instances whose tests are not written yet, in the dataset's order."""
    place = {instance.instance_id: k for k, instance in enumerate(run.dataset.instances)}
    cells = [row.cell for row in writings(run, instances) if row.state not in ATTEMPTED]
    return sorted(cells, key=lambda cell: place[cell.instance_id])


def writings(run: OpenRun, instances: Collection[str]) -> list[CellRow]:
    """The cells of these instances, without those of writers that the configuration does not name any more."""
    writers = {model.name for model in run.config.pool}
    return [row for row in run.store.rows() if row.instance_id in instances and row.model in writers]


def write_tests(run: OpenRun, cells: Sequence[Cell], models: Sequence[ModelConfig], backend: Backend) -> None:
    """Let the writers work on these cells; their attempts are recorded like any other."""
    run.folder.write_manifest(run.config, run.dataset)
    wanted = set(cells)
    models = [writer_model(model) for model in models]
    progress = Progress([row for row in run.store.rows() if row.cell in wanted], run.journal, work=WORK)
    try:
        run_cells(
            cells,
            [],
            _Writing(run.runner(models, backend, progress)),
            agent_workers=run.config.run.agent_workers,
            grading_workers=1,
            stop=run.stop,
            limits=run.start_limits(backend),
        )
    finally:
        progress.close()


@dataclass(frozen=True)
class _Writing:
    """Implements `harness.run.engines.base.CellStages`: attempts alone."""

    runner: CellRunner

    def attempt(self, cell: Cell) -> bool:
        """Let the writer work; there is no patch to grade."""
        if self.runner.attempt(cell):
            self.runner.backend.images.release(self.runner.instances[cell.instance_id].image)
        return False

    def grade(self, cell: Cell) -> None:
        """Nothing is graded."""


def tests_of(
    run: OpenRun, evidence: EvidenceConfig, rows: Sequence[CellRow], say: Callable[[str], None]
) -> list[IssueTest]:
    """The tests that writers have submitted in these cells, in the order of the configuration.

    Args:
        run: The run inside the run.
        evidence: Its settings.
        rows: An instance's cells.
        say: Takes a line for each submission of which something is left out.
    """
    tests = []
    for row in sorted(rows, key=lambda row: evidence.writers.index(row.model)):
        if row.state in ATTEMPTED and (submission := read_patch(run.folder, row.cell)).strip():
            tests += read_tests(row.model, submission, evidence.tests_per_writer, say)
    return tests


def writing_note(config: Config, dataset: Dataset, folder: RunFolder) -> str:
    """What test writing costs at most beyond the attempts, before it starts; empty where no tests are written."""
    evidence = config.evidence
    if evidence is None or not evidence.writers:
        return ""
    writers = [model for model in config.pool if model.name in evidence.writers]
    written: set[Cell] = set()
    if folder.tests.store_path.is_file():
        with Store(folder.tests.store_path, read_only=True) as store:
            written = {row.cell for row in store.rows() if row.state in ATTEMPTED}
    left = [
        model
        for model in writers
        for instance in dataset.instances
        if Cell(instance.instance_id, model.name) not in written
    ]
    plan_of = f"{counted(len(dataset.instances), 'instance')} × {counted(len(writers), 'test writer')}"
    done = f", {len(written)} written already" if written else ""
    paid = sum(not model.free for model in left)
    if not evidence.cost_limit and paid:
        return f"writing tests ({plan_of}{done}) has no bound of its own, because evidence.cost_limit is 0"
    judge = "; the judge's calls come on top" if evidence.judge else ""
    return (
        f"writing tests ({plan_of}{done}) costs up to ${paid * evidence.cost_limit:,.2f} more than the figures above, "
        f"if every writer reaches evidence.cost_limit{judge}"
    )
