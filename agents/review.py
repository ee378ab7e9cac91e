"""A second model's opinion on a finished patch: it reads the issue and the patch, nothing else, and is paid for it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.attempt import Attempt
from agents.budget import Budget, Call
from agents.deadline import Deadline
from agents.pool import ModelConfig
from agents.rate_limit import RateLimit
from agents.retry import RetryConfig

MARKER = "Review of a proposed patch."
"""How every request for a review begins; the scripted server recognises them by it."""
MAX_PATCH = 60_000
"""Characters of a patch that are shown."""

_PROMPT = """{marker} Judge whether it resolves the issue completely and breaks nothing, as hidden tests would.

<issue>
{issue}
</issue>

<patch>
{patch}
</patch>

Think briefly. End with one line `SCORE: n`, n from 0 (certainly wrong) to 100 (certainly right)."""

_SCORE = re.compile(r"SCORE:\s*(\d{1,3}(?:\.\d+)?)\b")


@dataclass(frozen=True)
class Review:
    """A reviewer's opinion on a patch."""

    score: float
    """0 to 1; NaN when the reply holds no score."""
    cost_usd: float
    """What the question cost: to be counted with the attempt's."""

    @property
    def signals(self) -> dict[str, float]:
        return {"review_score": self.score}


def review(
    issue: str,
    attempt: Attempt,
    reviewer: ModelConfig,
    retry: RetryConfig | None = None,
    *,
    budget: Budget | None = None,
    on_call: Callable[[Call], None] | None = None,
    rate: RateLimit | None = None,
    trace: Mapping[str, Any] | None = None,
) -> Review:
    """Ask `reviewer` for the chances of a finished attempt. An empty patch is 0 without a question.

    Args:
        issue: The issue's text.
        attempt: The finished attempt.
        reviewer: The pool's entry that is asked.
        retry: Patience with its provider.
        budget: The run's, asked before the call.
        on_call: Receives every request as soon as it has ended.
        rate: The reviewer's calls and tokens a minute.
        trace: Metadata of the call for LiteLLM's callbacks.

    Raises:
        ProviderError: As an agent's calls do, like a PoolError or BudgetSpentError.
    """
    from agents.model import PoolModel

    if not attempt.patch.strip():
        return Review(score=0.0, cost_usd=0.0)
    llm = PoolModel(
        reviewer, retry or RetryConfig(), Deadline(0), budget=budget, on_call=on_call, rate=rate, trace=trace
    )
    prompt = _PROMPT.format(marker=MARKER, issue=issue, patch=attempt.patch[:MAX_PATCH])
    return Review(score=read_score(llm.ask(prompt)), cost_usd=llm.usage.cost_usd)


def read_score(reply: str) -> float:
    """The last score in a reply as 0 to 1; NaN when there is none, or one that is none."""
    scores = _SCORE.findall(reply)
    score = float(scores[-1]) / 100 if scores else math.nan
    return score if score <= 1 else math.nan
