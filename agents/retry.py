"""Which failed model calls are tried again, how often and how long; everything else ends the attempt at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from pydantic import Field
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay

from agents.errors import ProviderError
from agents.strict_model import StrictModel

T = TypeVar("T")


class RetryConfig(StrictModel):
    """How patient one model call is."""

    max_attempts: int = Field(default=8, ge=1)
    """Requests sent for one call, the first included."""
    max_seconds: float = Field(default=900, ge=0)
    """No try starts later than this many seconds after the first; a Retry-After beyond that ends the call at once."""
    initial_wait_seconds: float = Field(default=1, ge=0)
    """Wait before the second try; it doubles each time. Up to as much is added at random."""
    max_wait_seconds: float = Field(default=60, ge=0)
    """Longest wait between two tries, unless the provider's Retry-After asks for more."""
    call_timeout_seconds: float = Field(default=600, gt=0)
    """One request without any answer for this long has failed."""


def call_with_retries(call: Callable[[], T], config: RetryConfig, *, pause: Callable[[float], None]) -> T:
    """Run `call` until it returns, fails for good, or patience ends.

    Args:
        call: Raises ProviderError for failures of the provider; anything else passes straight through.
        config: The patience.
        pause: Sleeps the given seconds (may raise to break off).

    Raises:
        ProviderError: The last one; its message then says how many tries were made.
    """
    first = config.initial_wait_seconds

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        requested = error.retry_after if isinstance(error, ProviderError) else None
        backoff = min(config.max_wait_seconds, first * 2.0 ** (state.attempt_number - 1))
        return max(backoff, requested or 0) + random.uniform(0, first)  # or all agents would come back at once

    retrying = Retrying(
        sleep=pause,
        stop=stop_after_attempt(config.max_attempts) | stop_before_delay(config.max_seconds),
        wait=wait,
        retry=retry_if_exception(lambda error: isinstance(error, ProviderError) and error.transient),
        reraise=True,
    )
    try:
        return retrying(call)
    except ProviderError as error:
        if (tries := retrying.statistics.get("attempt_number", 1)) > 1:
            error.message += f" (after {tries} tries)"
            error.args = (error.kind, error.message)
        raise
