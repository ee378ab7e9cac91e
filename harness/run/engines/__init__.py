"""Where cells run: this machine, or a Ray cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.run.engines.base import Backend, RunContext

ENGINES = {"local": "harness.run.engines.local", "ray": "harness.run.engines.ray"}
"""`run.engine` → module with `open_backend(context)`."""


def open_backend(context: RunContext) -> AbstractContextManager[Backend]:
    """The backend of the configured engine, open while the context lasts.

    Raises:
        EnvironmentUnavailableError: no Docker Engine, no disk, no cluster.
    """
    backend: AbstractContextManager[Backend] = import_module(ENGINES[context.config.run.engine]).open_backend(context)
    return backend
