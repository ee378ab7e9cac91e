"""Which cells a run has, and the key of everything that each outcome depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.pool import ModelConfig
from harness.config import Config
from harness.data.checks import GRADING_FIELDS
from harness.data.instances import Dataset, Instance
from harness.errors import ConfigError
from harness.fitting import not_in_pool, router_for_pool
from harness.run.rollout import models_missing_from, roll_out
from harness.store.keys import make_key
from harness.store.run_folder import RunFolder
from harness.store.store import Cell, CellRow

OUTCOME_NEUTRAL = {"retry", "pull", "start_timeout", "neighbour_tests", "reviewer"}
"""Settings of the agent that change no outcome: an earlier outcome stands when they change."""


def plan(
    config: Config, dataset: Dataset, rows: Sequence[CellRow] = (), folder: RunFolder | None = None
) -> dict[Cell, str]:
    """The cells to run, each with the key of everything its outcome depends on; an instance's models stay together.

    A routed run's cells are those that the policy asks for after the finished attempts among `rows`, whose patches are
    in `folder`.

    Raises:
        ConfigError: the checkpoint routes to models that the pool lacks.
    """
    models = {model.name: model for model in config.pool}
    if config.run.mode == "routed":
        requested = _requested_models(config, dataset, rows, folder)
        pairs = [(instance, name) for instance in dataset.instances for name in requested[instance.instance_id]]
    else:
        pairs = [(instance, model.name) for instance in dataset.instances for model in config.pool]
    settings = {name: _Settings.of(config, model) for name, model in models.items()}
    return {Cell(instance.instance_id, name): settings[name].key(instance) for instance, name in pairs}


@dataclass(frozen=True)
class _Settings:
    """Every setting that may change an outcome of a model; where the API key comes from is none of them."""

    attempt: Mapping[str, Any]
    grading: Mapping[str, Any]
    earlier: str
    """The key of all of them that earlier versions wrote."""

    @classmethod
    def of(cls, config: Config, model: ModelConfig) -> _Settings:
        attempt = {
            "model": model.model_dump(mode="json", exclude={"api_key_env", "record"}),
            # patience with providers and engines changes no outcome, and neither does a look at what is finished
            "agent": config.agent.model_dump(mode="json", exclude=OUTCOME_NEUTRAL),
        }
        grading = {
            "grading_timeout": config.run.grading_timeout,
            "grading_limits": config.run.grading_limits.model_dump(mode="json"),
        }
        # left out where unset, so that the outcomes of earlier versions, which did not have them, still stand
        if config.run.grading_network is not None:
            grading["grading_network"] = config.run.grading_network
        if config.run.grading_capabilities:
            grading["grading_capabilities"] = config.run.grading_capabilities
        together = json.dumps(attempt | grading, sort_keys=True)
        return cls(attempt, grading, hashlib.sha256(together.encode()).hexdigest()[:16])

    def key(self, instance: Instance) -> str:
        row = {name: _parsed(instance.row[name]) for name in GRADING_FIELDS}
        return make_key(
            attempt=[self.attempt, instance.instance_id, instance.problem_statement, instance.image],
            grading=[self.grading, row],
            earlier=f"{instance.fingerprint}.{self.earlier}",
        )


def _parsed(value: object) -> object:
    """A row's value; lists of tests are the same list as JSON text."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    with suppress(ValueError):
        return json.loads(value)
    return value


def routing_notes(config: Config) -> list[str]:
    """What the user should know of a routed run before it starts: models of the checkpoint that the pool lacks."""
    if config.run.mode != "routed":
        return []
    checkpoint = _checkpoint(config)
    router = router_for_pool(checkpoint, config.pool, config.router)
    missing = models_missing_from(router, [model.name for model in config.pool])
    if not missing:
        return []
    return [
        f"checkpoint {checkpoint} knows {', '.join(missing)}, not in the pool: what it would give them goes to its "
        "next best"
    ]


def _requested_models(
    config: Config, dataset: Dataset, rows: Sequence[CellRow], folder: RunFolder | None
) -> dict[str, tuple[str, ...]]:
    """By instance: the models that the checkpoint has asked for so far."""
    checkpoint = _checkpoint(config)
    pool = [model.name for model in config.pool]
    rollouts = roll_out(router_for_pool(checkpoint, config.pool, config.router), dataset, rows, folder, pool)
    requested = {instance: rollout.models for instance, rollout in rollouts.items()}
    if unknown := sorted({name for names in requested.values() for name in names} - set(pool)):
        raise ConfigError(not_in_pool(checkpoint, unknown, config.pool))
    return requested


def _checkpoint(config: Config) -> Path:
    assert config.router.checkpoint is not None  # the configuration's validator sees to it
    return config.router.checkpoint
