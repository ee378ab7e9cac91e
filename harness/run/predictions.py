"""Attempts that others made: their patches become finished attempts of a run, whose gradings alone are left."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.config import Config, DatasetConfig, PredictionsConfig, with_overrides
from harness.config.selection import ids_term
from harness.data.instances import Dataset, load_dataset
from harness.data.rows import load_rows
from harness.errors import ConfigError, InputError, RunMismatchError
from harness.files import make_folder, write_atomic
from harness.importers.predictions import AttemptRecord, Prediction, PredictionSource, attempt_of
from harness.run.interrupt import Stop
from harness.run.plan import prediction_key
from harness.run.redo import move_folders
from harness.store.keys import Change, change
from harness.store.rows import ATTEMPTED, Cell, State
from harness.store.run_folder import PATCH_FILE, TRAJECTORY_FILE, RunFolder, read_patch
from harness.store.store import Store
from harness.text import counted, counted_part, one_line

NO_USE = ("pool.", "agent.", "predictions", "run.max_cost", "run.agent", "run.mode", "run.repeats")
"""How settings begin that change nothing of a run whose attempts exist."""


@dataclass(frozen=True)
class Predictions:
    """Every patch that a run grades."""

    sources: Sequence[PredictionSource]

    @cached_property
    def by_cell(self) -> dict[Cell, tuple[PredictionSource, Prediction]]:
        """Each prediction with its source. A further source of a model holds further attempts at what it has."""
        found: dict[Cell, tuple[PredictionSource, Prediction]] = {}
        last: Counter[tuple[str, str]] = Counter()
        for source in self.sources:
            before = last.copy()
            for prediction in source.predictions:
                name = prediction.instance_id, prediction.model
                attempt = before[name] + prediction.attempt
                last[name] = max(last[name], attempt)
                found[Cell(*name, attempt)] = source, prediction
        return found

    def plan(self, config: Config, dataset: Dataset) -> dict[Cell, str]:
        """A cell for each prediction of an instance of the dataset, with the key of its patch and its grading."""
        return {
            cell: prediction_key(config, instance, self.by_cell[cell][1].patch)
            for instance in dataset.instances
            for cell in self._cells_of(instance.instance_id, config)
        }

    def _cells_of(self, instance_id: str, config: Config) -> list[Cell]:
        attempts = range(1, max(model.repeats or 1 for model in config.pool) + 1)
        cells = [Cell(instance_id, model.name, attempt) for attempt in attempts for model in config.pool]
        return [cell for cell in cells if cell in self.by_cell]

    def put_changed_aside(self, folder: RunFolder, store: Store, cells: Mapping[Cell, str]) -> int:
        """Have those cells graded anew whose patch is another than before; returns how many there are.

        Earlier patches that have a verdict are kept beside, like attempts that are redone.
        """
        changed = [
            row
            for row in store.rows()
            if row.cell in cells and row.state in ATTEMPTED and change(row.key, cells[row.cell]) is Change.ATTEMPT
        ]
        store.forget(row.cell for row in changed if row.state is not State.GRADED)
        store.replace(row.cell for row in changed if row.state is State.GRADED)
        move_folders(folder, store)
        return len(changed)

    def record(self, folder: RunFolder, store: Store, cells: Collection[Cell], stop: Stop) -> None:
        """Make every patch that the run does not hold yet a finished attempt; what was recorded before stays."""
        for row in store.rows():
            if row.cell not in cells or row.state is State.GRADED:
                continue
            source, prediction = self.by_cell[row.cell]
            if row.state is State.AGENT_DONE and _is_kept(folder, row.cell, prediction.patch):
                continue
            if stop.requested:
                return
            _record(folder, store, row.cell, prediction, attempt_of(source, prediction))


def grading_config(predictions: Predictions, settings: Mapping[str, object]) -> Config:
    """The configuration of a run that grades predictions, over those instances that have one.

    Args:
        predictions: What is graded.
        settings: Values at dotted keys, `dataset.name` among them.

    Raises:
        InputError: a setting that grading has no use for, a prediction for an instance that the dataset lacks, or no
            prediction among the chosen instances.
    """
    _check_settings(settings)
    sources = predictions.sources
    attempts: Counter[str] = Counter()
    for cell in predictions.by_cell:
        attempts[cell.model] = max(attempts[cell.model], cell.attempt)
    pool = [{"name": name, "model": name, "repeats": number} for name, number in attempts.items()]
    asked = with_overrides(Config.model_validate({"dataset": {"name": ""}, "pool": pool}), settings)
    rows = load_rows(asked.dataset.name, asked.dataset.split)
    _check_instances(sources, [str(row.get("instance_id")) for row in rows], asked.dataset)
    chosen = [instance.instance_id for instance in load_dataset(asked.dataset).instances]
    predicted = {(cell.instance_id, cell.model) for cell in predictions.by_cell}
    graded = {instance for instance, _ in predicted}
    ids = [instance for instance in chosen if instance in graded]
    wanted = set(ids)
    if not ids:
        raise InputError(f"of {counted(len(chosen), 'chosen instance')} of {asked.dataset.name} none has a prediction")
    only = {} if len(ids) == len(rows) else {"dataset.select": [ids_term(ids)], "dataset.exclude": []}
    origins = [
        PredictionsConfig(
            model=name,
            source=str(source.path),
            format=source.format,
            sha256=source.sha256,
            predictions=sum(p.model == name and p.instance_id in wanted for p in source.predictions),
            instances=len(chosen),
            missing=sum((instance, name) not in predicted for instance in chosen),
            agent=source.agent,
        )
        for source in sources
        for name in dict.fromkeys(prediction.model for prediction in source.predictions)
    ]
    return with_overrides(asked, only | {"predictions": [origin.model_dump() for origin in origins]})


def prediction_notes(config: Config) -> list[str]:
    """Where attempts come from that polyswe did not make, and what they leave out; empty for its own."""
    if not config.predictions:
        return []
    origins = [
        f"{source.model}: {counted(source.predictions, 'patch', 'patches')} from {source.source} "
        f"({', '.join(filter(None, [source.format, source.agent]))}; sha256 {source.sha256[:12]})"
        for source in config.predictions
    ]
    made = "polyswe graded these attempts and did not make them; costs are as their sources state them"
    return [made, *origins, *missing_notes(config)]


def missing_notes(config: Config) -> list[str]:
    """For how many instances a model has no prediction, a line a model."""
    notes = [
        f"{source.model}: {counted_part(source.missing, source.instances, 'instance', 'has', 'have')} no prediction "
        f"and no verdict; a leaderboard counts {'it' if source.missing == 1 else 'them'} as not resolved"
        for source in config.predictions
        if source.missing
    ]
    return list(dict.fromkeys(notes))  # several sources of one model say the same


def _check_settings(settings: Mapping[str, object]) -> None:
    for key in settings:
        if key.startswith(NO_USE):
            raise ConfigError(f"--set {key}: the attempts are made already; it would change nothing")


def _check_instances(sources: Sequence[PredictionSource], known: Sequence[str], dataset: DatasetConfig) -> None:
    ids = set(known)
    for source in sources:
        unknown = [p.instance_id for p in source.predictions if p.instance_id not in ids]
        if not unknown:
            continue
        if len(unknown) == len(source.predictions):
            raise InputError(
                f"{source.path}: not one of {counted(len(unknown), 'prediction')} is for an instance of "
                f"{dataset.name}, split {dataset.split} (e.g. {one_line(unknown[0], 80)}); name their "
                "dataset with --dataset"
            )
        nearest = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        shown = ", ".join(one_line(name, 80) for name in unknown[:3])
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise InputError(
            f"{source.path}: {len(unknown)} of {len(source.predictions)} predictions are for instances that "
            f"{dataset.name}, split {dataset.split}, lacks: {shown}{more}{hint}"
        )


def check_kind(folder: RunFolder, store: Store, config: Config) -> None:
    """Refuse to mix attempts of polyswe and predictions of others in one run.

    Raises:
        RunMismatchError: the folder holds a run of the other kind.
    """
    attempted = any(row.state in ATTEMPTED for row in store.rows())
    try:
        graded_only = bool(folder.read_manifest()["config"].get("predictions"))
    except InputError:  # not written yet, or damaged
        if not attempted or not config.predictions:
            return
        graded_only = False
    if attempted and graded_only != bool(config.predictions):
        made = "predictions that `polyswe grade` took in" if graded_only else "attempts of `polyswe evaluate`"
        raise RunMismatchError(f"{folder.path} holds {made}; choose another --run-id")


def _is_kept(folder: RunFolder, cell: Cell, patch: str) -> bool:
    try:
        return read_patch(folder, cell) == patch
    except InputError:
        return False


def _record(folder: RunFolder, store: Store, cell: Cell, prediction: Prediction, attempt: AttemptRecord) -> None:
    """The patch is on disk before the store says so."""
    cell_dir = folder.cell_dir(cell)
    make_folder(cell_dir)
    trajectory = cell_dir / TRAJECTORY_FILE
    try:
        steps = json.dumps(_trajectory(prediction, attempt)) if attempt.messages else ""
    except RecursionError:  # nested as deeply as can just be read
        steps = ""
    if steps:
        write_atomic(trajectory, steps)
    else:
        trajectory.unlink(missing_ok=True)  # of an earlier patch
    write_atomic(cell_dir / PATCH_FILE, prediction.patch)
    store.attempt_imported(
        cell,
        exit_status=attempt.exit_status,
        cost_usd=attempt.cost_usd,
        api_calls=attempt.api_calls,
        prompt_tokens=attempt.prompt_tokens,
        completion_tokens=attempt.completion_tokens,
        cached_tokens=attempt.cached_tokens,
        agent_seconds=attempt.seconds,
    )


def _trajectory(prediction: Prediction, attempt: AttemptRecord) -> dict[str, object]:
    """In the form of mini-swe-agent, which the looks at attempts read."""
    return {
        "info": {
            "exit_status": attempt.exit_status,
            "submission": prediction.patch,
            "model_stats": {"instance_cost": attempt.cost_usd, "api_calls": attempt.api_calls},
            "taken_from": str(prediction.trajectory),
        },
        "messages": attempt.messages,
        "instance_id": prediction.instance_id,
        "trajectory_format": "mini-swe-agent-1.1",
    }
