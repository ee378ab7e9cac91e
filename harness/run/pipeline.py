"""A run from its configuration to its results: plan the cells, run what is missing, compute the table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from agents.pool import ModelConfig
from harness.config import Config
from harness.data.instances import Dataset, load_dataset
from harness.errors import ConfigError, InputError
from harness.evaluation.schema import Results
from harness.files import slug
from harness.run.display import known_cost
from harness.run.engines import open_backend
from harness.run.evidence import EvidenceStage, repeats_note
from harness.run.interrupt import Stop
from harness.run.journal import Event, Journal
from harness.run.open_run import OpenRun
from harness.run.plan import plan, repeat_notes, rollouts_of, routing_notes
from harness.run.predictions import Predictions, check_kind
from harness.run.preflight import is_stand_in, preflight, preflight_grading, scripted_models_ready
from harness.run.progress import Progress
from harness.run.redo import RedoRequest, choose, move_folders
from harness.run.rollout import carried_diffs
from harness.run.scheduler import run_cells
from harness.run.spending import limit_note, spent_on_tests
from harness.run.test_writing import check_tests
from harness.run.tracing import traced
from harness.store.rows import ATTEMPTED, Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from harness.text import counted


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
    missing_evidence: Sequence[str] = ()
    """What is missing of the evidence on finished attempts and why, one line a cause."""

    @property
    def missing(self) -> list[CellRow]:
        """Cells without a verdict."""
        return [row for row in self.rows if row.state is not State.GRADED]

    def reasons(self) -> list[str]:
        """Why cells have no verdict, a line a reason, the most frequent first."""
        counts = Counter(row.failure or f"not finished ({row.state})" for row in self.missing)
        examples = {row.failure: f"{row.cell}: {row.detail}" for row in self.missing if row.failure}
        return [
            f"{count} × {reason}" + (f", e.g. {examples[reason]}" if reason in examples else "")
            for reason, count in counts.most_common()
        ]


def evaluate(
    config: Config,
    folder: RunFolder,
    *,
    stop: Stop,
    fresh: bool = False,
    redo: RedoRequest | None = None,
    order: Sequence[str] = (),
    say: Callable[[str], None] = lambda message: None,
    predictions: Predictions | None = None,
    command: Sequence[str] = (),
) -> RunEnd:
    """Run every cell of a configuration that has no verdict yet, then compute the results.

    Args:
        config: what to run.
        folder: where the run is kept.
        stop: asked before every cell.
        fresh: put an earlier run in the folder aside first, once it is certain that this one can start.
        redo: finished cells to attempt again; their earlier attempts are kept beside.
        order: ids of instances that are run first and in this order; the others follow in the dataset's.
        say: takes a line for the user.
        predictions: attempts that were made elsewhere; no agent runs then.
        command: the words after `polyswe` that were typed, for the journal.

    Raises:
        InputError, EnvironmentUnavailableError: before anything is spent, when the run cannot work.
    """
    if config.predictions and predictions is None:
        raise ConfigError("predictions: the attempts were made elsewhere; continue with `polyswe grade PREDICTIONS…`")
    dataset = _ordered(load_dataset(config.dataset), order)
    if predictions is None:
        preflight(config, dataset)
        plan(config, dataset)  # a checkpoint that does not fit is refused before anything is put aside
    else:
        preflight_grading(config)
    for note in filter(None, [*routing_notes(config), limit_note(config), repeats_note(config)]):
        say(note)
    with folder.locked(), ExitStack() as closing:
        if fresh and (kept := folder.archive()):
            say(f"the earlier run is kept in {kept}")
        folder.check_store()
        journal = closing.enter_context(Journal(folder.path, config.pool))
        say = journal.beside(say)
        with Store(folder.store_path) as store:
            run = OpenRun(config, dataset, folder, store, stop, journal, whole=folder)
            check_kind(folder, store, config)
            move_folders(folder, store)  # what a killed redo has left
            if predictions is None:
                if redo:
                    _put_aside(run, redo, say)
                cells = plan(config, dataset, store.rows(), folder)
            else:
                cells = predictions.plan(config, dataset)
                if changed := predictions.put_changed_aside(folder, store, cells):
                    say(f"{counted(changed, 'prediction')} changed since and graded anew; earlier verdicts are kept")
            out = _results_folder(folder, store.rows(), cells)
            if predictions is not None:
                out.write_manifest(config, dataset)  # before any attempt: it tells this run from one with agents
            if again := store.plan(cells):
                say(f"{again} finished attempts are graded again: their grading is another now")
            for note in repeat_notes(config, store.rows(), cells) if predictions is None else []:
                say(note)
            if predictions is not None:
                predictions.record(folder, store, cells, stop)
            # what a redo of a part changes are the results of the whole run
            whole = redo is not None and folder.has_manifest and any(row.cell not in cells for row in store.rows())
            check_tests(config, dataset, folder)
            _record_start(run, [row for row in store.rows() if row.cell in cells], command)
            stage = EvidenceStage(run, config.evidence, say) if config.evidence and predictions is None else None
            cells = _run_planned(run, cells, None if whole else out, stage)
            if not out.is_part and not out.has_manifest:  # of a finished run, lost or damaged
                out.write_manifest(config, dataset)
            rows = [row for row in store.rows() if row.cell in cells]
            lacking = stage.missing(cells) if stage else []
            for line in lacking:
                journal.say(line)
        if whole:
            end = RunEnd(rows, _whole_results(folder, say), stop.reason, folder.path, lacking)
        else:
            end = RunEnd(rows, _results(run, rows, out.path, say), stop.reason, out.path, lacking)
        if not end.missing:
            with Store(folder.store_path) as store:
                store.close_redos()
        _record_end(journal, end, spent_on_tests(folder))
        return end


def _put_aside(run: OpenRun, redo: RedoRequest, say: Callable[[str], None]) -> None:
    """Put the finished attempts aside that are to be made again.

    Raises:
        InputError: no cell ended so, or the run's settings are others than those of the attempts on record.
    """
    rows = run.store.rows() if run.config.run.mode == "routed" else []  # else nothing beyond what is asked for now
    cells = plan(run.config, run.dataset, rows, run.folder)
    run.store.plan(cells)
    chosen = choose(redo, run.store, cells, run.config.run.mode)
    say(chosen.render())
    run.store.replace(chosen.cells)
    move_folders(run.folder, run.store)


def _record_start(run: OpenRun, rows: Sequence[CellRow], command: Sequence[str]) -> None:
    states = Counter(row.state for row in rows)
    graded, to_grade = states[State.GRADED], states[State.AGENT_DONE]
    to_attempt = len(rows) - graded - to_grade
    run.journal.record(
        Event.RUN_STARTED,
        line=f"polyswe {version('polyswe')} starts: {len(rows)} cells, {graded} of them have a verdict, "
        f"{to_attempt} to attempt, {to_grade} to grade",
        cells=len(rows),
        graded=graded,
        to_attempt=to_attempt,
        to_grade=to_grade,
        models=[model.name for model in run.config.pool],
        pid=os.getpid(),
        version=version("polyswe"),
        command=list(command),
    )


def _record_end(journal: Journal, end: RunEnd, tests_cost: float) -> None:
    graded = len(end.rows) - len(end.missing)
    spent = sum((row.cost_usd or 0.0) + row.lost_cost_usd for row in end.rows) + tests_cost
    unpriced = sum(row.state in ATTEMPTED and row.cost_usd is None for row in end.rows)
    stopped = f" ({end.stopped})" if end.stopped else ""
    journal.record(
        Event.RUN_ENDED,
        line=f"the run ended{stopped}: {graded} of {len(end.rows)} cells have a verdict, "
        f"{known_cost(spent, unpriced)} spent",
        cells=len(end.rows),
        graded=graded,
        resolved=sum(row.verdict == "resolved" for row in end.rows),
        cost_usd=spent,
        tests_cost_usd=tests_cost,
        stopped=end.stopped,
    )


def _ordered(dataset: Dataset, first: Sequence[str]) -> Dataset:
    if not first:
        return dataset
    place = {instance: k for k, instance in enumerate(first)}
    instances = sorted(dataset.instances, key=lambda instance: place.get(instance.instance_id, len(place)))
    return replace(dataset, instances=tuple(instances))


def run_folder(config: Config, config_path: Path) -> RunFolder:
    """Where a configuration's run lives: the same command comes back to the same folder."""
    name = config.out.run_id or slug(config_path.stem) + ("-routed" if config.run.mode == "routed" else "")
    return RunFolder(config.out.root / name)


def _results_folder(folder: RunFolder, rows: Sequence[CellRow], cells: Collection[Cell]) -> RunFolder:
    """Where a command's configuration and results go: a part of a run must not replace those of the whole.

    Cells that only failed are no run to protect: a model or an instance may have been mended by leaving it out.
    """
    planned = {(cell.instance_id, cell.model) for cell in cells}
    others = any(row.state is not State.FAILED for row in rows if (row.instance_id, row.model) not in planned)
    has_manifest = folder.manifest_path.is_file()
    return folder.part if others and has_manifest else folder


def _run_planned(
    run: OpenRun, cells: dict[Cell, str], out: RunFolder | None, stage: EvidenceStage | None
) -> dict[Cell, str]:
    """Run the planned cells, and those that a policy asks for once it has seen their attempts; returns all of them.

    Evidence on finished attempts is gathered in between. The configuration is written to `out`.
    """
    while stage is not None or _any_missing(run.store.rows(), cells):
        if out is not None:
            out.write_manifest(run.config, run.dataset)
        if _any_missing(run.store.rows(), cells):
            with scripted_models_ready(run.config.pool) as models:
                if out is not None and run.dataset.scripted:
                    # the sample has no public copy: this one is what `swebench eval` takes
                    out.write_dataset(run.dataset)
                _run_missing(run, models, list(cells))
        if run.config.predictions:
            break
        if stage is not None and not run.stop.requested:
            stage.gather(cells)
        requested = plan(run.config, run.dataset, run.store.rows(), run.folder)
        if run.stop.requested or requested.keys() <= cells.keys():
            break
        cells = cells | requested
        run.store.plan(cells)
    return cells


def _any_missing(rows: Sequence[CellRow], cells: Collection[Cell]) -> bool:
    return any(row.state is not State.GRADED for row in rows if row.cell in cells)


def _run_missing(run: OpenRun, models: Sequence[ModelConfig], cells: Sequence[Cell]) -> None:
    """Run what each cell lacks: its attempt and its grading, or only the grading."""
    run.recover()
    rows = {row.cell: row for row in run.store.rows()}
    to_grade = [cell for cell in cells if rows[cell].state is State.AGENT_DONE]
    to_attempt = [cell for cell in cells if rows[cell].state not in (State.GRADED, State.AGENT_DONE)]
    if run.config.predictions:
        to_attempt = []  # what was not taken in is not attempted in its place
    instances = run.instances
    carried: dict[Cell, str] = {}
    if run.config.run.mode == "routed" and to_attempt:
        carried = carried_diffs(rollouts_of(run.config, run.dataset, list(rows.values()), run.folder), run.folder)
    progress = Progress([rows[cell] for cell in cells], run.journal)
    images = [instances[cell.instance_id].image for cell in (*to_grade, *to_attempt)]
    try:
        callbacks = run.config.run.callbacks if to_attempt else []
        with traced(callbacks, progress.say), open_backend(run.context(models, images, progress.say)) as backend:
            if to_attempt and all(map(is_stand_in, run.config.pool)):
                progress.say("the models are scripted stand-ins: all costs are pretended")
            run_cells(
                to_attempt,
                to_grade,
                run.runner(models, backend, progress, carried),
                agent_workers=run.config.run.agent_workers,
                grading_workers=backend.gradings_in_flight,
                stop=run.stop,
                meanwhile=_load_for_results,
                limits=run.start_limits(backend),
            )
    finally:
        progress.close()


def _load_for_results() -> None:
    """Import what the results will need: two seconds that would otherwise be spent after the last grading."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg  # noqa: F401
    import sklearn.cluster  # noqa: F401

    import harness.run.results  # noqa: F401


def _whole_results(folder: RunFolder, say: Callable[[str], None]) -> Results | None:
    """The results of the whole run after a part of it was redone."""
    from harness.run.results import results_again

    try:
        return results_again(folder.path, say)
    except InputError as error:  # no verdict is left, or its configuration cannot be read
        say(str(error))
        return None


def _results(run: OpenRun, rows: Sequence[CellRow], out: Path, say: Callable[[str], None]) -> Results | None:
    from harness.run.results import results_of_run
    from harness.run.routed_results import UndecidedError
    from harness.run.run_record import RunRecord

    if not any(row.state is State.GRADED for row in rows):
        return None
    try:
        return results_of_run(RunRecord.read(run.config, run.dataset, run.folder, rows), out, say)
    except UndecidedError:
        return None
