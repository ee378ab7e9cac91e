"""The run's callbacks: LiteLLM's own, from before its first call until after its last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from agents.callbacks import CallbackError, Tracing
from harness.errors import EnvironmentUnavailableError

SENDING_SECONDS = 30.0
"""How long the callbacks may take for what they still hold when the last call has ended."""


@contextmanager
def traced(names: Sequence[str], say: Callable[[str], None]) -> Iterator[None]:
    """Show the calls that are made while the context lasts to LiteLLM's callbacks of these names.

    Raises:
        EnvironmentUnavailableError: one cannot be started: a package or a variable is missing.
    """
    if not names:
        yield
        return
    tracing = Tracing(names)
    try:
        tracing.start()
    except CallbackError as error:
        raise EnvironmentUnavailableError(f"run.callbacks: {error}") from error
    try:
        yield
    finally:
        tracing.stop(SENDING_SECONDS)
        for reason, calls in tracing.failures.items():
            say(f"callback {reason}: {calls} call{'s' * (calls != 1)} not traced")
