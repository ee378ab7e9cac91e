"""Where cells run: this machine, or a Ray cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.run.engines.base import Job, Shop

ENGINES = {"local": "harness.run.engines.local", "ray": "harness.run.engines.ray"}
"""`run.engine` → module with `open_shop(job)`."""


def open_shop(job: Job) -> AbstractContextManager[Shop]:
    """The shop of the configured engine, open while the context lasts.

    Raises:
        EnvironmentFault: no Docker Engine, no disk, no cluster.
    """
    shop: AbstractContextManager[Shop] = import_module(ENGINES[job.config.run.engine]).open_shop(job)
    return shop
