"""A run's results: from its store to the table, the outcome file and the official predictions."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.cells import PATCH_FILE, read_patch
from harness.config import Config
from harness.embeddings import embed_texts
from harness.errors import InputError
from harness.files import write_atomic
from harness.importers import write_outcomes_csv
from harness.instances import Dataset, load_dataset
from harness.report.described import described
from harness.report.results import Results, build_results
from harness.report.rows import make_row
from harness.report.schema import Complementarity
from harness.report.tables import write_results
from harness.report.verdict import SCRIPTED
from harness.run_folder import RunFolder
from harness.store import CellRow, State, Store, outcome_matrix

if TYPE_CHECKING:
    from router.outcomes import OutcomeMatrix


def results_of_run(config: Config, dataset: Dataset, folder: RunFolder, rows: Sequence[CellRow], out: Path) -> Results:
    """Compute and write results.{json,csv,md}, outcomes.csv and predictions/<model>.jsonl to `out`.

    Raises:
        EnvironmentFault: no embedder for the routed rows.
    """
    models = [model.name for model in config.pool if any(row.model == model.name for row in rows)]
    matrix = outcome_matrix(rows, [instance.instance_id for instance in dataset.instances], models)
    write_outcomes_csv(matrix, out / "outcomes.csv")
    _write_predictions(folder, rows, models, out / "predictions")
    routed = config.run.mode == "routed"
    results = described(
        (_routed if routed else _compared)(config, dataset, matrix, _notes(rows)),
        matrix,
        {instance.instance_id: instance.problem_statement for instance in dataset.instances},
        {
            "repository": [instance.repo for instance in dataset.instances],
            "difficulty": [str(instance.row.get("difficulty") or "") for instance in dataset.instances],
        },
    )
    write_results(results, out)
    return results


def _compared(config: Config, dataset: Dataset, matrix: OutcomeMatrix, notes: list[str]) -> Results:
    """Every model on every instance: singles, policies held out, bounds."""
    return build_results(
        matrix,
        embed_texts([instance.problem_statement for instance in dataset.instances], config.router.embedder),
        dataset=dataset.name,
        evaluation="live",
        policies=[config.router.policy],
        policy_params={config.router.policy: config.router.params},
        folds=config.router.folds,
        repeats=config.router.repeats,
        seed=config.router.seed,
        scripted=dataset.scripted,
        notes=notes,
        progress=lambda stage: print(f"polyswe: {stage}", file=sys.stderr),
    )


def _routed(config: Config, dataset: Dataset, matrix: OutcomeMatrix, notes: list[str]) -> Results:
    """Only the routed cells were run: one row, and nothing to compare it with."""
    from router.outcomes import replay_choices

    known = matrix.take(np.flatnonzero(~np.isnan(matrix.resolved).all(axis=1)))
    chosen = np.argmin(np.isnan(known.resolved), axis=1)
    replayed = replay_choices(known, chosen)
    row = make_row("routed", "policy", "live", replayed, best=None, models=known.models, seed=config.router.seed)
    low, high = row.rate_ci95
    cost = "" if row.cost_per_instance is None else f" at ${row.cost_per_instance:.3g} an instance"
    verdict = (
        f"Live, routing by {config.router.checkpoint} resolves {row.resolved:g} of {row.n} "
        f"({row.rate:.1%}, 95 % interval {low:.1%} to {high:.1%}){cost}; only the routed cells were run, "
        "so this does not say whether routing beats a single model."
    )
    return Results(
        dataset=dataset.name,
        instances=len(dataset.instances),
        pool=list(matrix.models),
        seed=config.router.seed,
        folds=0,
        repeats=0,
        scripted=dataset.scripted,
        rows=[row],
        complementarity=Complementarity(oracle=int(row.resolved)),
        verdict=SCRIPTED + verdict[0].lower() + verdict[1:] if dataset.scripted else verdict,
        notes=notes,
    )


def results_again(path: Path) -> Results:
    """A run's results from what its folder holds now.

    Raises:
        InputError: no run there, or none of its cells has a verdict yet.
    """
    from harness.pipeline import plan

    folder = RunFolder(path)
    config = Config.model_validate(folder.frozen()["config"])
    dataset = load_dataset(config.dataset)
    with Store(folder.store_path) as store:
        cells = plan(config, dataset)
        rows = [row for row in store.rows() if row.cell in cells]
    if not any(row.state is State.GRADED for row in rows):
        raise InputError(f"{path}: no cell has a verdict yet")
    return results_of_run(config, dataset, folder, rows, folder.path)


def _write_predictions(folder: RunFolder, rows: Sequence[CellRow], models: Sequence[str], out: Path) -> None:
    """The official format, a file a model, as `swebench eval` and `sb-cli` take it."""
    for model in models:
        lines = [
            json.dumps({"instance_id": row.instance_id, "model_name_or_path": model, "model_patch": patch})
            for row in rows
            if row.model == model and (patch := _patch_of(folder, row)) is not None
        ]
        write_atomic(out / f"{model}.jsonl", "".join(line + "\n" for line in lines))


def _patch_of(folder: RunFolder, row: CellRow) -> str | None:
    has_patch = row.state in (State.AGENT_DONE, State.GRADED) and (folder.cell_dir(row.cell) / PATCH_FILE).is_file()
    return read_patch(folder, row.cell) if has_patch else None


def _notes(rows: Sequence[CellRow]) -> list[str]:
    """What a reader has to know about how the cells ended, beyond the counts."""
    verdicts: dict[str, int] = {}
    for row in rows:
        if row.verdict is not None:
            verdicts[row.verdict] = verdicts.get(row.verdict, 0) + 1
    notes = ["verdicts: " + ", ".join(f"{count} {name}" for name, count in sorted(verdicts.items()))]
    unsubmitted = sum(row.unsubmitted for row in rows)
    if unsubmitted:
        notes.append(f"{unsubmitted} attempts left work that was never submitted; it is kept and not counted")
    missing = sum(row.state is not State.GRADED for row in rows)
    if missing:
        notes.append(f"{missing} of {len(rows)} cells have no verdict")
    return notes
