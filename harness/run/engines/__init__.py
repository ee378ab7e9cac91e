"""Where cells run: a module here for each name of `harness.config.Engine`.

To add an engine, add its name to that enumeration and a module of this name here, with a context manager
`open_backend(context)` that yields what `harness.run.engines.base.Backend` describes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module

from harness.run.engines.base import Backend, RunContext


def open_backend(context: RunContext) -> AbstractContextManager[Backend]:
    """The backend of the configured engine, open while the context lasts.

    Raises:
        EnvironmentUnavailableError: no Docker Engine, no disk, no cluster.
    """
    module = import_module(f"{__name__}.{context.config.run.engine.value}")
    backend: AbstractContextManager[Backend] = module.open_backend(context)
    return backend
