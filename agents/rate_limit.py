"""Calls and tokens a minute that a provider allows, shared by all agents of a run that use the model."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.pool import ModelConfig

MINUTE = 60.0
"""Seconds that `rpm` and `tpm` are counted over."""
ASSUMED_PROMPT_TOKENS = 2_000
"""Of a first call while none has been answered."""
ASSUMED_COMPLETION_TOKENS = 500
"""Of a call while none has been answered."""
WEIGHT_OF_LAST = 0.2
"""How much the latest call counts in the means of what calls use."""


@dataclass(frozen=True)
class Turn:
    """Leave to make one call."""

    seconds: float
    """Until the call may start."""
    tokens: float
    """What is reserved for it."""


class RateLimit(Protocol):
    """A model's calls and tokens a minute: a `TokenBucket`, or one that another process keeps."""

    def reserve(self, prompt_tokens: float) -> Turn:
        """The next turn, for a call with so many prompt tokens and a completion of the usual length. Settle it."""

    def settle(self, turn: Turn, *, prompt_tokens: int, completion_tokens: int) -> None:
        """A call has ended and used these tokens. One without a reply gives nothing back: it may have counted."""

    def start(self) -> float:
        """Start an attempt of the model, if its first call would not have to wait; 0 when it is started.

        Returns:
            Seconds until it is worth asking again.
        """


class TokenBucket:
    """Implements `RateLimit` with a bucket as deep as one call. Thread-safe.

    No minute has more calls than `rpm`. A call starts once the tokens of those before it have been refilled; one that
    uses more than was reserved for it delays the later ones. Nothing is saved up in quiet minutes: a provider that
    counts over shorter windows would refuse the burst.
    """

    def __init__(
        self, *, rpm: float | None = None, tpm: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            rpm: Calls a minute; None means no limit.
            tpm: Tokens a minute, of prompts (cached ones included) and completions; None means no limit.
            clock: Seconds that only ever grow.
        """
        self._seconds_per_call = MINUTE / rpm if rpm else 0.0
        self._seconds_per_token = MINUTE / tpm if tpm else 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._calls_until = self._tokens_until = self._starts_until = -math.inf
        """When the calls, the tokens and the started attempts so far have been refilled."""
        self._prompt = float(ASSUMED_PROMPT_TOKENS)
        self._completion = float(ASSUMED_COMPLETION_TOKENS)

    def reserve(self, prompt_tokens: float) -> Turn:
        with self._lock:
            now = self._clock()
            start = max(now, self._calls_until, self._tokens_until)
            tokens = prompt_tokens + self._completion
            self._calls_until = start + self._seconds_per_call
            self._tokens_until = start + tokens * self._seconds_per_token
            return Turn(seconds=start - now, tokens=tokens)

    def settle(self, turn: Turn, *, prompt_tokens: int, completion_tokens: int) -> None:
        if not prompt_tokens + completion_tokens:
            return
        with self._lock:
            self._tokens_until += (prompt_tokens + completion_tokens - turn.tokens) * self._seconds_per_token
            self._prompt += WEIGHT_OF_LAST * (prompt_tokens - self._prompt)
            self._completion += WEIGHT_OF_LAST * (completion_tokens - self._completion)

    def start(self) -> float:
        with self._lock:
            now = self._clock()
            wait = max(self._calls_until, self._tokens_until, self._starts_until) - now
            if wait > 0:
                return wait
            a_call = max(self._seconds_per_call, (self._prompt + self._completion) * self._seconds_per_token)
            self._starts_until = now + a_call
            return 0.0


def rate_limits(models: Sequence[ModelConfig]) -> dict[str, TokenBucket]:
    """A bucket for each model whose entry has `rpm` or `tpm`, by name."""
    return {model.name: TokenBucket(rpm=model.rpm, tpm=model.tpm) for model in models if model.rpm or model.tpm}


def least_hours(model: ModelConfig, *, calls: float, tokens: float, attempt_seconds: float = 0.0) -> float:
    """Hours that a model's remaining attempts take at least under its entry's limits, however many agents there are.

    The longest of calls / `rpm`, tokens / `tpm` and attempt_seconds / `max_parallel`; 0.0 without limits.

    Args:
        model: The pool's entry.
        calls: Calls of all remaining attempts together.
        tokens: Their tokens, of prompts (cached ones included) and completions.
        attempt_seconds: Their seconds, one attempt after the other.
    """
    return max(
        calls / model.rpm / 60 if model.rpm else 0.0,
        tokens / model.tpm / 60 if model.tpm else 0.0,
        attempt_seconds / model.max_parallel / 3600 if model.max_parallel else 0.0,
    )
