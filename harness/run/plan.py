"""Which cells a run has, and the key of everything that each outcome depends on."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.pool import ModelConfig
from harness.config import Config
from harness.data.instances import Dataset
from harness.errors import ConfigError
from harness.store.run_folder import RunFolder
from harness.store.store import Cell, CellRow

if TYPE_CHECKING:
    pass


OUTCOME_NEUTRAL = {"retry", "pull", "start_timeout", "neighbour_tests", "reviewer"}
"""Settings of the agent that change no outcome: an earlier outcome stands when they change."""


def plan(
    config: Config, dataset: Dataset, rows: Sequence[CellRow] = (), folder: RunFolder | None = None
) -> dict[Cell, str]:
    """The cells to run, each with the key of everything its outcome depends on; an instance's models stay together.

    A routed run's are those that the policy asks for after the finished attempts among `rows`, whose patches are in
    `folder`.
    """
    keys = {model.name: settings_key(config, model) for model in config.pool}
    if config.run.mode == "routed":
        asked = _routed_models(config, dataset, rows, folder)
        pairs = [(instance, name) for instance in dataset.instances for name in asked[instance.instance_id]]
    else:
        pairs = [(instance, model.name) for instance in dataset.instances for model in config.pool]
    return {Cell(instance.instance_id, name): f"{instance.fingerprint}.{keys[name]}" for instance, name in pairs}


def settings_key(config: Config, model: ModelConfig) -> str:
    """Changes with every setting that may change an outcome; where the key comes from is none of them."""
    settings = {
        "model": model.model_dump(mode="json", exclude={"api_key_env"}),
        # patience with providers and engines changes no outcome, and neither does a look at what is finished
        "agent": config.agent.model_dump(mode="json", exclude=OUTCOME_NEUTRAL),
        "grading_timeout": config.run.grading_timeout,
        "grading_limits": config.run.grading_limits.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _routed_models(
    config: Config, dataset: Dataset, rows: Sequence[CellRow], folder: RunFolder | None
) -> dict[str, tuple[str, ...]]:
    """The models the checkpoint has asked for on each instance so far."""
    from harness.fitting import load_router
    from harness.run.rollout import models_missing_from, roll_out

    assert config.router.checkpoint is not None  # the configuration's validator sees to it
    router = load_router(config.router.checkpoint)
    pool = [model.name for model in config.pool]
    asked = {instance: rollouts.models for instance, rollouts in roll_out(router, dataset, rows, folder, pool).items()}
    if folder is None and (absent := models_missing_from(router, pool)):  # the look ahead; said once
        print(
            f"polyswe: checkpoint {config.router.checkpoint} knows {', '.join(absent)}, not in the pool: what it would "
            "give them goes to its next best",
            file=sys.stderr,
        )
    if strange := sorted({name for names in asked.values() for name in names} - set(pool)):
        raise ConfigError(
            f"checkpoint {config.router.checkpoint} routes to {', '.join(strange)}, not in the pool: {', '.join(pool)}"
        )
    return asked
