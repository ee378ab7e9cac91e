"""Which cells a run has, and the key of everything that each outcome depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from agents.pool import ModelConfig
from harness.config import Config
from harness.data.instances import Dataset
from harness.errors import ConfigError
from harness.fitting import router_for_pool
from harness.run.rollout import models_missing_from, roll_out
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
    keys = {model.name: settings_key(config, model) for model in config.pool}
    if config.run.mode == "routed":
        requested = _requested_models(config, dataset, rows, folder)
        pairs = [(instance, name) for instance in dataset.instances for name in requested[instance.instance_id]]
    else:
        pairs = [(instance, model.name) for instance in dataset.instances for model in config.pool]
    return {Cell(instance.instance_id, name): f"{instance.fingerprint}.{keys[name]}" for instance, name in pairs}


def settings_key(config: Config, model: ModelConfig) -> str:
    """Changes with every setting that may change an outcome; where the API key comes from is none of them."""
    settings = {
        "model": model.model_dump(mode="json", exclude={"api_key_env", "record"}),
        # patience with providers and engines changes no outcome, and neither does a look at what is finished
        "agent": config.agent.model_dump(mode="json", exclude=OUTCOME_NEUTRAL),
        "grading_timeout": config.run.grading_timeout,
        "grading_limits": config.run.grading_limits.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


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
        raise ConfigError(f"checkpoint {checkpoint} routes to {', '.join(unknown)}, not in the pool: {', '.join(pool)}")
    return requested


def _checkpoint(config: Config) -> Path:
    assert config.router.checkpoint is not None  # the configuration's validator sees to it
    return config.router.checkpoint
