"""Command-line options over the configuration, validated like the file itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.config import Config, explain
from harness.errors import ConfigError


def apply_overrides(
    config: Config,
    *,
    instances: Sequence[str] | None = None,
    limit: int | None = None,
    mode: str | None = None,
    checkpoint: Path | None = None,
    max_cost: float | None = None,
    agent_workers: int | None = None,
    grading_workers: int | None = None,
    engine: str | None = None,
    address: str | None = None,
    run_id: str | None = None,
    out: Path | None = None,
) -> Config:
    """The configuration with every option that was given put in its place.

    Raises:
        ConfigError: the result is not a valid configuration.
    """
    given: dict[str, dict[str, object]] = {
        "dataset": {"instances": list(instances) if instances else None, "limit": limit},
        "router": {"checkpoint": checkpoint},
        "run": {
            "mode": mode,
            "max_cost": max_cost,
            "agent_workers": agent_workers,
            "grading_workers": grading_workers,
            "engine": engine,
        },
        "out": {"run_id": run_id, "root": out},
    }
    data = config.model_dump()
    for part, options in given.items():
        data[part].update({name: value for name, value in options.items() if value is not None})
    if address is not None:
        data["run"]["ray"]["address"] = address
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error)) from error
