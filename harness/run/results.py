"""A run's results: from its store to the table, the outcome file and the official predictions."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.config import Config
from harness.data.corpus import corpus_embeddings
from harness.data.embeddings import configured_embedder, embed_texts
from harness.evaluation.annotate import described
from harness.evaluation.results import build_results
from harness.evaluation.schema import Results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings, shared_params
from harness.files import write_atomic
from harness.importers import write_outcomes_csv
from harness.report.tables import write_results
from harness.run.flagged import flag_notes, flagged_attempts
from harness.run.routed_results import routed_results
from harness.run.run_record import RunRecord, read_record
from harness.store.matrix import matrix_of_run, repeats_of_run
from harness.store.rows import CellRow, State
from harness.store.run_folder import (
    PATCH_FILE,
    TEST_OUTPUT_FILE,
    TRAJECTORY_FILE,
    RunFolder,
    attempt_slug,
    read_patch,
)
from router.outcomes import OutcomeMatrix


def results_of_run(record: RunRecord, out: Path, say: Callable[[str], None] = lambda message: None) -> Results:
    """Compute and write results.{json,csv,md}, outcomes.csv and predictions/<model>.jsonl.

    Args:
        record: the run.
        out: folder to write to.
        say: takes a line on the progress of what takes long.

    Raises:
        EnvironmentUnavailableError: no embedder for the routed rows.
        UndecidedError: no instance of a routed run has an accepted attempt with a verdict yet.
    """
    config, dataset = record.config, record.dataset
    ids = [instance.instance_id for instance in dataset.instances]
    matrix = write_outcomes(record, out / "outcomes.csv")
    _write_predictions(record.folder, record.rows, matrix.models, out / "predictions")
    results = routed_results(record, matrix) if config.run.mode == "routed" else _compared(record, matrix, say)
    flagged = flagged_attempts(record.flags, [row.cell for row in record.rows if row.state is State.GRADED])
    results = results.model_copy(update={"flagged": flagged, "notes": [*results.notes, *flag_notes(flagged)]})
    results = described(
        results,
        matrix,
        dict(zip(ids, record.issues, strict=True)),
        {
            "repository": [instance.repo for instance in dataset.instances],
            "difficulty": [str(instance.row.get("difficulty") or "") for instance in dataset.instances],
        },
    )
    write_results(results, out)
    return results


def write_outcomes(record: RunRecord, path: Path) -> OutcomeMatrix:
    """Write the cells of a run as a CSV; returns the first attempts' outcomes."""
    ids = [instance.instance_id for instance in record.dataset.instances]
    models = [model.name for model in record.config.pool if any(row.model == model.name for row in record.rows)]
    matrix = matrix_of_run(record.rows, ids, models)
    attempts = range(2, max(row.attempt for row in record.rows) + 1)
    repeats = [matrix_of_run(record.rows, ids, models, attempt=attempt) for attempt in attempts]
    write_outcomes_csv(matrix, path, details(record.folder, record.rows), repeats)
    return matrix


def _compared(record: RunRecord, matrix: OutcomeMatrix, say: Callable[[str], None]) -> Results:
    """Every model on every instance: singles, policies held out, bounds."""
    router = record.config.router
    alone = bool(record.config.predictions) and len(matrix.models) == 1  # nothing to route, so no embedder is needed
    embedder = configured_embedder(router)
    # nothing is read of the texts of a single model
    embeddings = np.zeros((len(matrix), 1), dtype=np.float32) if alone else embed_texts(record.issues, embedder)
    general = None
    corpus_notes: list[str] = []
    if router.corpus is not None and not alone:
        statements = {one.instance_id: one.problem_statement for one in record.dataset.instances}
        general, corpus_notes = corpus_embeddings(
            router.corpus, statements, embeddings, embedder, drop_leaks=router.drop_leaks
        )
    inputs = EvaluationInputs(
        outcomes=matrix,
        embeddings=embeddings,
        corpus=general,
        dataset=record.dataset.title,
        evaluation="live",
        scripted=record.scripted,
        attempts=repeats_of_run(record.rows, matrix.models),
        failures=record.failures,
        notes=[*record.notes, *corpus_notes],
    )
    settings = EvaluationSettings(
        policies=[] if alone else router.policy,
        params=shared_params(router.policy, router.params),
        folds=router.folds,
        repeats=router.repeats,
        seed=router.seed,
    )
    return build_results(inputs, settings, progress=say)


def results_again(
    path: Path, say: Callable[[str], None] = lambda message: None, part: Callable[[Config], Config] | None = None
) -> Results:
    """A run's results from what its folder holds now.

    Args:
        path: the run's folder.
        say: as for `results_of_run`.
        part: narrows the run's configuration; the results of that part are written to `selection/`.

    Raises:
        InputError: no run there, or none of its cells has a verdict yet.
    """
    record = read_record(path, part)
    folder = record.folder
    if os.access(folder.path, os.W_OK):
        return results_of_run(record, (folder.part if part else folder).path, say)
    say(f"{folder.path} is not writable: the results are computed but not saved there")
    with tempfile.TemporaryDirectory(prefix="polyswe-results-") as scratch:
        return results_of_run(record, Path(scratch), say)


def details(folder: RunFolder, rows: Sequence[CellRow]) -> dict[tuple[str, str, int], dict[str, object]]:
    """What outcomes.csv says of a cell beyond its outcome; files by their place in the run folder."""
    return {
        (row.instance_id, row.model, row.attempt): {
            "verdict": row.verdict,
            "exit_status": row.exit_status,
            "failure": row.failure,
            "prompt_tokens": row.prompt_tokens,
            "completion_tokens": row.completion_tokens,
            "cached_tokens": row.cached_tokens,
            "lost_cost_usd": row.lost_cost_usd,
            "patch": _place(folder, row, PATCH_FILE),
            "trajectory": _place(folder, row, TRAJECTORY_FILE),
            "test_output": _place(folder, row, TEST_OUTPUT_FILE),
        }
        for row in rows
    }


def _place(folder: RunFolder, row: CellRow, name: str) -> str | None:
    path = folder.cell_dir(row.cell) / name
    return path.relative_to(folder.path).as_posix() if path.is_file() else None


def _write_predictions(folder: RunFolder, rows: Sequence[CellRow], models: Sequence[str], out: Path) -> None:
    """The official format, a file a model and attempt, as `swebench eval` and `sb-cli` take it."""
    for model in models:
        for attempt in sorted({row.attempt for row in rows if row.model == model}):
            lines = [
                json.dumps({"instance_id": row.instance_id, "model_name_or_path": model, "model_patch": patch})
                for row in rows
                if (row.model, row.attempt) == (model, attempt) and (patch := _patch_of(folder, row)) is not None
            ]
            write_atomic(out / f"{attempt_slug(model, attempt)}.jsonl", "".join(line + "\n" for line in lines))


def _patch_of(folder: RunFolder, row: CellRow) -> str | None:
    has_patch = row.state in (State.AGENT_DONE, State.GRADED) and (folder.cell_dir(row.cell) / PATCH_FILE).is_file()
    return read_patch(folder, row.cell) if has_patch else None
