"""What an engine is given to open its shop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.pool import ModelConfig
from harness.config import Config
from harness.data.instances import Dataset
from harness.engines.base import Stop
from harness.store.run_folder import RunFolder
from harness.store.store import Store


@dataclass(frozen=True)
class Job:
    """A run, as far as an engine needs to know it."""

    config: Config
    dataset: Dataset
    models: Sequence[ModelConfig]
    folder: RunFolder
    store: Store
    order: Sequence[str]
    """The image of every cell that is left, in the order the cells start."""
    stop: Stop
    say: Callable[[str], None]
    """A line for the user."""
