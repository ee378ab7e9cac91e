"""Which cells a run has, and the key of everything that each outcome depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agents.pool import ModelConfig
from harness.config import Config
from harness.data.checks import GRADING_FIELDS
from harness.data.instances import Dataset, Instance
from harness.errors import ConfigError
from harness.fitting import not_in_pool, router_for_pool
from harness.run.rollout import Rollout, carried_diffs, models_missing_from, roll_out
from harness.store.keys import Change, change, make_key
from harness.store.rows import Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.text import counted

OUTCOME_NEUTRAL = frozenset(
    {
        "api_key_env", "record",  # where the key comes from, and what others call the model
        "retry", "pull", "start_timeout",  # patience with providers and engines
        "max_parallel", "rpm", "tpm",  # when a call is made
        "repeats",  # how many outcomes, not which
        "neighbour_tests", "reviewer",  # looks at what is finished
        "grading_workers", "grading_attempts",
    }
)  # fmt: skip
"""Settings that change no outcome: an earlier outcome stands when they change."""
ADDED_SETTINGS = frozenset({"grading_network", "grading_capabilities"})
"""Settings that earlier versions did not have: part of a key only where they are not the default, so that runs of those
versions can be continued. Name every new setting of a model, the agent or gradings here."""


def plan(
    config: Config, dataset: Dataset, rows: Sequence[CellRow] = (), folder: RunFolder | None = None
) -> dict[Cell, str]:
    """The cells to run, each with the key of everything its outcome depends on; an instance's cells stay together.

    A routed run's cells are those that the policy asks for after the finished attempts among `rows`, whose patches are
    in `folder`. Repeated attempts among `rows` that have a verdict belong to the run, also beyond `repeats`.

    Raises:
        ConfigError: the checkpoint routes to models that the pool lacks.
    """
    models = {model.name: model for model in config.pool}
    carried: Mapping[Cell, str] = {}
    if config.predictions:  # made elsewhere: what was taken in is all there is
        ids = {instance.instance_id for instance in dataset.instances}
        return {row.cell: row.key for row in rows if row.instance_id in ids and row.model in models}
    if config.run.mode == "routed":
        rollouts = rollouts_of(config, dataset, rows, folder)
        carried = carried_diffs(rollouts, folder)
        planned = [
            (instance, name, 1) for instance in dataset.instances for name in rollouts[instance.instance_id].models
        ]
    else:
        repeats = {model.name: attempts_of(config, model) for model in config.pool}
        planned = [
            (instance, name, attempt)
            for instance in dataset.instances
            for attempt in range(1, max(repeats.values()) + 1)
            for name in repeats
            if attempt <= repeats[name]
        ]
    settings = {name: _Settings.of(config, model) for name, model in models.items()}
    cells = {
        (cell := Cell(instance.instance_id, name, attempt)): settings[name].key(instance, carried.get(cell, ""))
        for instance, name, attempt in planned
    }
    return cells | {row.cell: row.key for row in further_attempts(rows, cells)}


def attempts_of(config: Config, model: ModelConfig) -> int:
    """How often a model attempts every instance."""
    return config.run.repeats if model.repeats is None else model.repeats


def further_attempts(rows: Sequence[CellRow], cells: Mapping[Cell, str]) -> list[CellRow]:
    """Repeated attempts with a verdict that nobody asks for now, though for the first one at the same settings."""
    return [
        row
        for row in rows
        if row.attempt > 1
        and row.cell not in cells
        and row.state is State.GRADED
        and (first := cells.get(Cell(row.instance_id, row.model))) is not None
        and change(row.key, first) is Change.NONE
    ]


def repeat_notes(config: Config, rows: Sequence[CellRow], cells: Mapping[Cell, str]) -> list[str]:
    """What the user should know of repeated attempts on record that the configuration does not ask for."""
    asked = {model.name: attempts_of(config, model) for model in config.pool}
    beyond = [row for row in rows if row.model in asked and row.attempt > asked[row.model]]
    notes = []
    if counting := sum(row.cell in cells for row in beyond):
        notes.append(f"the run holds {counted(counting, 'cell')} beyond 'repeats'; their verdicts count")
    if idle := sum(row.cell not in cells and Cell(row.instance_id, row.model) in cells for row in beyond):
        notes.append(
            f"the run holds {counted(idle, 'cell')} beyond 'repeats' without a verdict at these settings: not run now"
        )
    return notes


def prediction_key(config: Config, instance: Instance, patch: str) -> str:
    """The key of a cell whose attempt was made elsewhere: of the attempt, its patch is all that is known."""
    digest = hashlib.sha256(patch.encode("utf-8", "surrogatepass")).hexdigest()
    grading = [_grading(config), _graded_row(instance)]
    return make_key(
        attempt=["prediction", digest, instance.instance_id],
        grading=grading,
        earlier=f"{instance.fingerprint}.prediction",
    )


def _grading(config: Config) -> dict[str, Any]:
    return {name: value for name, value in _keyed(config.run).items() if name.startswith("grading_")}


def _graded_row(instance: Instance) -> dict[str, Any]:
    return {name: _parsed(instance.row[name]) for name in GRADING_FIELDS}


@dataclass(frozen=True)
class _Settings:
    """Every setting that may change an outcome of a model."""

    attempt: Mapping[str, Any]
    grading: Mapping[str, Any]
    earlier: str
    """The key of all of them that earlier versions wrote."""

    @classmethod
    def of(cls, config: Config, model: ModelConfig) -> _Settings:
        attempt = {"model": _keyed(model), "agent": _keyed(config.agent)}
        grading = _grading(config)
        together = json.dumps(attempt | grading, sort_keys=True)
        return cls(attempt, grading, hashlib.sha256(together.encode()).hexdigest()[:16])

    def key(self, instance: Instance, carried: str = "") -> str:
        """The key of a cell; one that starts with an earlier attempt's diff must not pass for a fresh one."""
        digest = hashlib.sha256(carried.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        start = [digest] if carried else []
        return make_key(
            attempt=[self.attempt, instance.instance_id, instance.problem_statement, instance.image, *start],
            grading=[self.grading, _graded_row(instance)],
            # no earlier version started so
            earlier=f"{instance.fingerprint}.{digest if carried else self.earlier}",
        )


def _keyed(settings: BaseModel) -> dict[str, Any]:
    """The settings that a key depends on, as JSON takes them."""
    changed = settings.model_dump(mode="json", exclude_defaults=True)
    values = settings.model_dump(mode="json", exclude=set(OUTCOME_NEUTRAL))
    return {name: value for name, value in values.items() if name in changed or name not in ADDED_SETTINGS}


def _parsed(value: object) -> object:
    """A row's value; lists of tests are the same list as JSON text."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    with suppress(ValueError, RecursionError):
        return json.loads(value)
    return value


def routing_notes(config: Config) -> list[str]:
    """What the user should know of a routed run before it starts: models and tests that its checkpoint lacks."""
    if config.run.mode != "routed":
        return []
    checkpoint = _checkpoint(config)
    router = router_for_pool(checkpoint, config.pool, config.router)
    notes = []
    if missing := models_missing_from(router, [model.name for model in config.pool]):
        notes.append(
            f"checkpoint {checkpoint} knows {', '.join(missing)}, not in the pool: what it would give them goes to its "
            "next best"
        )
    policy = getattr(router.policy, "taken", router.policy)  # what `auto` has become
    evidence = config.evidence
    if policy.chooses_by and not (evidence and (evidence.writers or evidence.own_tests)):
        notes.append(
            f"checkpoint {checkpoint} chooses among attempts by tests, but none are written: name evidence.writers, or "
            "the default model's attempt is handed in at the price of all members'"
        )
    return notes


def rollouts_of(
    config: Config, dataset: Dataset, rows: Sequence[CellRow], folder: RunFolder | None
) -> dict[str, Rollout]:
    """By instance: how far the checkpoint of a routed run has come.

    Raises:
        ConfigError: it routes to models that the pool lacks.
    """
    checkpoint = _checkpoint(config)
    pool = [model.name for model in config.pool]
    router = router_for_pool(checkpoint, config.pool, config.router)
    rollouts = roll_out(router, dataset, rows, folder, pool, needs_evidence=config.evidence is not None)
    if unknown := sorted({name for rollout in rollouts.values() for name in rollout.models} - set(pool)):
        raise ConfigError(not_in_pool(checkpoint, unknown, config.pool))
    return rollouts


def _checkpoint(config: Config) -> Path:
    assert config.router.checkpoint is not None  # the configuration's validator sees to it
    return config.router.checkpoint
