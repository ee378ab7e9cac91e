"""A run's results: from its store to the table, the outcome file and the official predictions."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from agents.leaks import Flag
from harness.config import Config, explain
from harness.data.corpus import corpus_embeddings
from harness.data.embeddings import configured_embedder, embed_texts
from harness.data.instances import Dataset, load_dataset
from harness.errors import InputError
from harness.evaluation.annotate import described
from harness.evaluation.formats import money_kind
from harness.evaluation.live_rows import compared_with, live_rows
from harness.evaluation.results import build_results
from harness.evaluation.rows import bounded
from harness.evaluation.schema import Complementarity, Failure, FlaggedAttempt, Results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings, shared_params
from harness.evaluation.verdict import SCRIPTED_CAVEAT
from harness.files import write_atomic
from harness.fitting import fitted_on, router_for_pool
from harness.grading.verdict import Verdict
from harness.importers import write_outcomes_csv
from harness.report.flag_kinds import FLAG_KINDS
from harness.report.tables import write_results
from harness.run.evidence_record import evidence_notes
from harness.run.failures import KINDS, kind_of
from harness.run.plan import plan
from harness.run.predictions import prediction_notes
from harness.run.preflight import is_stand_in
from harness.run.redo import redo_notes
from harness.run.rollout import models_missing_from, roll_out
from harness.store.matrix import matrix_of_run, repeats_of_run
from harness.store.rows import Cell, CellRow, EvidenceRow, FailureRow, Replaced, State
from harness.store.run_folder import (
    PATCH_FILE,
    TEST_OUTPUT_FILE,
    TRAJECTORY_FILE,
    RunFolder,
    attempt_slug,
    read_patch,
)
from harness.store.store import Store
from router.outcomes import OutcomeMatrix, Replay
from router.router import Router


class UndecidedError(InputError):
    """A routed run whose policy has accepted no graded attempt yet."""


@dataclass(frozen=True)
class RunRecord:
    """What is on record of a run: its configuration, its cells, and what went wrong."""

    config: Config
    dataset: Dataset
    folder: RunFolder
    rows: Sequence[CellRow]
    failure_events: Sequence[FailureRow]
    """Everything that went wrong in these cells, also what was overcome."""
    flags: Mapping[Cell, Sequence[Flag]]
    """Signs of help in these cells' attempts."""
    replaced: Sequence[Replaced] = ()
    """Earlier attempts of these cells."""
    evidence: Mapping[str, EvidenceRow] = field(default_factory=dict)
    """By instance: what tests say of its attempts."""

    @classmethod
    def read(cls, config: Config, dataset: Dataset, folder: RunFolder, rows: Sequence[CellRow]) -> RunRecord:
        """Add what the folder's store says of the cells of `rows`."""
        cells = {row.cell for row in rows}
        with Store(folder.store_path, read_only=True) as store:
            failure_events = [event for event in store.failures() if event.cell in cells]
            flags = {cell: flags for cell, flags in store.flags().items() if cell in cells}
            replaced = [earlier for earlier in store.replaced() if earlier.cell in cells]
            evidence = store.evidence()
        return cls(config, dataset, folder, rows, failure_events, flags, replaced, evidence)

    @property
    def issues(self) -> list[str]:
        return [instance.problem_statement for instance in self.dataset.instances]

    @property
    def failures(self) -> list[Failure]:
        return failure_table(self.rows, self.failure_events)

    @property
    def stand_ins(self) -> list[str]:
        """Models of the pool that play a script; real ones may be tried on the sample beside them."""
        return [model.name for model in self.config.pool if model.scripted or is_stand_in(model)]

    @property
    def scripted(self) -> bool:
        """Whether no real model is in the pool."""
        return len(self.stand_ins) == len(self.config.pool)

    @property
    def notes(self) -> list[str]:
        notes = [*_notes(self.rows), *prediction_notes(self.config), *redo_notes(self.replaced)]
        if self.config.evidence is not None:
            kind = money_kind(scripted=self.scripted, simulated=False)
            notes += evidence_notes(self.evidence, self.rows, kind)
        if self.stand_ins and not self.scripted:
            notes.append(f"scripted stand-ins, no language models: {', '.join(self.stand_ins)}")
        return notes


def results_of_run(record: RunRecord, out: Path, say: Callable[[str], None] = lambda message: None) -> Results:
    """Compute and write results.{json,csv,md}, outcomes.csv and predictions/<model>.jsonl.

    Args:
        record: the run.
        out: folder to write to.
        say: takes a line on the progress of what takes long.

    Raises:
        EnvironmentUnavailableError: no embedder for the routed rows.
    """
    config, dataset = record.config, record.dataset
    ids = [instance.instance_id for instance in dataset.instances]
    matrix = write_outcomes(record, out / "outcomes.csv")
    _write_predictions(record.folder, record.rows, matrix.models, out / "predictions")
    results = _routed(record, matrix) if config.run.mode == "routed" else _compared(record, matrix, say)
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


def _routed(record: RunRecord, matrix: OutcomeMatrix) -> Results:
    """Only the routed cells were run: one row, and what it can be compared with."""
    config, dataset = record.config, record.dataset
    assert config.router.checkpoint is not None  # the configuration's validator sees to it
    pool = [model.name for model in config.pool]
    router = router_for_pool(config.router.checkpoint, config.pool, config.router)
    needs_evidence = config.evidence is not None
    rollouts = roll_out(router, dataset, record.rows, record.folder, pool, needs_evidence=needs_evidence)
    notes = record.notes
    if missing := models_missing_from(router, pool):
        notes.append(
            f"the pool lacks {', '.join(missing)} of the checkpoint; their instances went to the next best model"
        )
    # of an instance whose cascade has not come to its end nothing can be said
    ended = [
        (i, rollout)
        for i, rollout in enumerate(rollouts.values())
        if rollout.accepted in matrix.models and not np.isnan(matrix.resolved[i, matrix.models.index(rollout.accepted)])
    ]
    if not ended:
        raise UndecidedError(f"{record.folder.path}: no instance has an accepted attempt with a verdict yet")
    rows = np.array([i for i, _ in ended], dtype=np.int64)
    accepted = [matrix.models.index(rollout.accepted) for _, rollout in ended if rollout.accepted]
    choices = np.array(accepted, dtype=np.int64)
    tried = [[matrix.models.index(model) for model in rollout.models] for _, rollout in ended]
    replayed = Replay(
        choices=choices[None, :],
        resolved=matrix.resolved[rows, choices],
        cost=np.array([matrix.cost[i, models].sum() for i, models in zip(rows, tried, strict=True)])
        + np.array([rollout.paid_usd for _, rollout in ended]),
        seconds=np.array([matrix.seconds[i, models].sum() for i, models in zip(rows, tried, strict=True)])
        + np.array([rollout.paid_seconds for _, rollout in ended]),
        share=np.bincount(choices, minlength=len(matrix.models)) / max(len(choices), 1),
    )
    decided = [instance for instance, rollout in rollouts.items() if rollout.accepted is not None]
    in_sample, in_sample_notes = _in_sample(router, decided)
    notes += in_sample_notes
    if unfinished := len(rollouts) - len(ended):
        notes.append(
            f"{unfinished} instances are not decided yet, because an attempt that the policy requested has not finished"
        )
    if several := sum(len(models) > 1 for models in tried):
        notes.append(
            f"{several} of {len(tried)} instances were attempted by more than one model; every attempt's cost counts"
        )
    table = live_rows(replayed, matrix.take(rows), seed=config.router.seed)
    row = table[0]
    low, high = row.rate_ci95
    kind = money_kind(scripted=record.scripted, simulated=False)
    cost = "" if row.cost_per_instance is None else f" at {kind}${row.cost_per_instance:.3g} an instance"
    verdict = (
        f"Live, routing by {config.router.checkpoint.name} resolves {row.resolved:g} of {row.n} "
        f"({row.rate:.1%}, 95 % interval {low:.1%} to {high:.1%}){cost}{in_sample}; {compared_with(table)}."
    )
    return Results(
        dataset=dataset.title,
        instances=len(dataset.instances),
        pool=list(matrix.models),
        seed=config.router.seed,
        folds=0,
        repeats=0,
        scripted=record.scripted,
        rows=bounded(table, len(dataset.instances)),
        failures=record.failures,
        complementarity=Complementarity(oracle=int(row.resolved)),
        verdict=SCRIPTED_CAVEAT + verdict[0].lower() + verdict[1:] if record.scripted else verdict,
        notes=notes,
    )


def _in_sample(router: Router, instances: Sequence[str]) -> tuple[str, list[str]]:
    """For the verdict and for the notes: whether the router decided instances whose outcomes it was fitted on."""
    fitted = fitted_on(router, instances)
    if fitted is None:
        return "", [
            "the checkpoint (of an older version) does not record its training instances; these may be among them"
        ]
    if not fitted:
        return "", []
    count = f"{len(fitted)} of {len(instances)}"
    return (
        f" (fitted on {len(fitted)} of these instances: in-sample)",
        [
            f"the router was fitted on outcomes of {count} of the instances it decided here, so the routed row is "
            "in-sample there and too optimistic; for a fair estimate, fit it on other instances"
        ],
    )


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


def read_record(path: Path, part: Callable[[Config], Config] | None = None) -> RunRecord:
    """What a run's folder holds now.

    Args:
        path: the run's folder.
        part: narrows the run's configuration.

    Raises:
        InputError: no run there, or none of its cells has a verdict yet.
    """
    folder = RunFolder(path)
    try:
        config = Config.model_validate(folder.read_manifest()["config"])
    except ValidationError as error:
        raise InputError(
            f"{path / 'run.yaml'}: of another version of polyswe ({explain(error)}); "
            "'polyswe report --as-written' shows the results it wrote"
        ) from error
    config = part(config) if part else config
    dataset = load_dataset(config.dataset)
    with Store(folder.store_path, read_only=True) as store:
        stored = store.rows()
    cells = plan(config, dataset, stored, folder)
    rows = [row for row in stored if row.cell in cells]
    if not any(row.state is State.GRADED for row in rows):
        raise InputError(f"{path}: no cell has a verdict yet")
    return RunRecord.read(config, dataset, folder, rows)


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


def _notes(rows: Sequence[CellRow]) -> list[str]:
    """What a reader has to know about how the cells ended, beyond the counts."""
    verdicts: dict[str, int] = {}
    for row in rows:
        if row.verdict is not None:
            verdicts[row.verdict] = verdicts.get(row.verdict, 0) + 1
    notes = ["verdicts: " + ", ".join(f"{count} {name}" for name, count in sorted(verdicts.items()))]
    unsubmitted = sum(row.unsubmitted for row in rows)
    if unsubmitted:
        attempts = "1 attempt" if unsubmitted == 1 else f"{unsubmitted} attempts"
        notes.append(f"{attempts} left changes that were never submitted; these are kept but not counted")
    missing = sum(row.state is not State.GRADED for row in rows)
    if missing:
        notes.append(f"{missing} of {len(rows)} cells {'has' if missing == 1 else 'have'} no verdict")
    return notes


def flagged_attempts(flags: Mapping[Cell, Sequence[Flag]], cells: Sequence[Cell]) -> list[FlaggedAttempt]:
    """Those of `cells` that were flagged, a row a kind, with the first command that showed it and succeeded, if any."""
    rows = []
    for cell in sorted(set(cells) & set(flags)):
        for kind in FLAG_KINDS:
            signs = [flag for flag in flags[cell] if flag.kind == kind]
            if signs:
                first = next((flag for flag in signs if not flag.failed), signs[0])
                rows.append(
                    FlaggedAttempt(
                        instance_id=cell.instance_id,
                        model=cell.model,
                        attempt=cell.attempt,
                        kind=kind,
                        times=len(signs),
                        step=first.step,
                        command=first.command,
                        failed=all(flag.failed for flag in signs),
                    )
                )
    return rows


def flag_notes(flagged: Sequence[FlaggedAttempt]) -> list[str]:
    """One line for the notes; empty when nothing was flagged."""
    if not flagged:
        return []
    cells = len({(row.instance_id, row.model, row.attempt) for row in flagged})
    kinds = Counter(row.kind for row in flagged)
    counts = "; ".join(f"{FLAG_KINDS[kind]} ({count})" for kind, count in kinds.most_common())
    failed = sum(row.failed for row in flagged)
    failed_note = f"; {failed} of these commands failed" if failed else ""
    if cells == 1:
        return [f"1 attempt is flagged, see results.json: {counts}{failed_note}; it is counted like any other"]
    return [f"{cells} attempts are flagged, see results.json: {counts}{failed_note}; they are counted like any other"]


def ending(row: CellRow) -> str | None:
    """The one kind a cell counts under in the failure table; None for a plain verdict and for what was never tried."""
    if row.state is not State.GRADED:
        return row.failure
    if row.exit_status in KINDS and row.verdict is not Verdict.RESOLVED:
        return row.exit_status
    return str(row.verdict) if row.verdict in KINDS else None


def failure_table(rows: Sequence[CellRow], failure_events: Sequence[FailureRow]) -> list[Failure]:
    """Kind × model, the model's own kinds first: how cells ended, and what a later try overcame."""
    endings = {row.cell: kind for row in rows if (kind := ending(row)) is not None}
    ended = Counter((kind, cell.model) for cell, kind in endings.items())
    earlier = Counter((event.kind, event.model) for event in failure_events)
    for cell, kind in endings.items():
        if not kind_of(kind).scored:
            earlier[kind, cell.model] -= 1  # the last time is how the cell ended
    seen = {kind for kind, _ in ended} | {kind for (kind, _), count in earlier.items() if count > 0}
    order = [*KINDS, *sorted(seen - KINDS.keys())]
    return [
        Failure(
            kind=kind.name,
            whose=kind.owner.value,
            scored=kind.scored,
            retried=kind.retried,
            cells={model: count for (name, model), count in sorted(ended.items()) if name == kind.name},
            earlier={model: n for (name, model), n in sorted(earlier.items()) if name == kind.name and n > 0},
        )
        for kind in map(kind_of, order)
        if kind.name in seen
    ]
