"""A first configuration for the models somebody names: commented, with the prices that are known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version

from agents.errors import PriceUnknownError
from agents.pool import ModelConfig, nearest_ids, prices
from harness.errors import ConfigError

GB_PER_INSTANCE = 1.0
"""Disk that an image of SWE-bench takes, about."""
INSTANCES = {"verified": 500, "lite": 300, "multilingual": 300, "full": 2294, "sample": 15}
"""Instances of the datasets with short names."""
SPARE_GB = 20.0
"""Disk that images must leave free."""


def starter(
    models: Sequence[str], dataset: str = "verified", *, split: str = "test", free_gb: float, max_cost: float = 50.0
) -> str:
    """The text of a configuration.

    Args:
        models: LiteLLM ids, such as `anthropic/claude-sonnet-4-5-20250929`.
        dataset: a short name, a hub name or a path.
        split: of the dataset.
        free_gb: free disk where the engine keeps its images.
        max_cost: USD.

    Raises:
        ConfigError: no model, or one twice.
    """
    if not models:
        raise ConfigError("name at least one model, e.g. --model anthropic/claude-sonnet-4-5-20250929")
    if len(set(models)) < len(models):
        raise ConfigError("a model is named twice; make two entries by hand, with different names and model_kwargs")
    needed = INSTANCES.get(dataset, 0) * GB_PER_INSTANCE
    images = max(10, int(min(free_gb - SPARE_GB, needed)))
    limited = needed > free_gb - SPARE_GB or not needed
    disk = f"{free_gb:.0f} GB are free here" + (f", all images take about {needed:.0f} GB" if needed else "")
    lines = [
        "# yaml-language-server: $schema=polyswe.schema.json   (polyswe config schema > polyswe.schema.json)",
        "# Every key: polyswe config reference. Check this file: polyswe doctor FILE.",
        "# Estimate cost, time and disk: polyswe evaluate FILE --dry-run",
        "dataset:",
        f"  name: {dataset}",
        *([] if split == "test" else [f"  split: {split}"]),
        "  # select: [sample=50@7]       # only 50 instances, drawn by repository and difficulty",
        "",
        "pool:",
        *(line for model in models for line in _entry(model, models)),
        "",
        "router:",
        "  policy: [auto, cluster]       # auto: the cheapest model as good as the best, unless routing pays",
        "",
        "agent:",
        "  step_limit: 250               # model calls per instance",
        "  cost_limit: 3.0               # USD per instance and model",
        "",
        "run:",
        f"  max_cost: {max_cost:<19g}# USD for the whole run",
        "  agent_workers: 4",
        "  grading_workers: 2",
        f"  {'' if limited else '# '}images_gb: {images:<18}# disk for images; {disk}",
    ]
    return "\n".join(lines) + "\n"


def short_name(model: str, others: Sequence[str] = ()) -> str:
    """A name for tables: the id without provider and date, with the provider where two would be alike."""
    name = re.sub(r"[-@]?20\d{6}.*$", "", model.rpartition("/")[2])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
    alike = [other for other in others if other != model and short_name(other) == name]
    return f"{model.partition('/')[0]}-{name}" if alike else name


def _entry(model: str, models: Sequence[str]) -> list[str]:
    lines = [f"  - name: {short_name(model, models)}", f"    model: {model}"]
    try:
        price = prices(ModelConfig(name="x", model=model))
    except PriceUnknownError:
        near = ", ".join(nearest_ids(model))
        return [
            *lines,
            f"    # LiteLLM {version('litellm')} does not know this id"
            + (f"; the nearest: {near}" if near else "")
            + ". If it is right, state its prices in USD per token:",
            "    # input_cost_per_token: 0.000003",
            "    # output_cost_per_token: 0.000015",
        ]
    millions = f"${price.input * 1e6:.2f} in, ${price.output * 1e6:.2f} out per million tokens"
    return [
        *lines,
        f"    # {millions} (LiteLLM {version('litellm')}); the key comes from the provider's usual variable",
    ]
