"""A model's rating of an issue: how hard it looks before anybody has tried it. It reads the issue's text, nothing else.

Ratings serve forecasts of cost, samples that are stratified by difficulty, and lists of what is likely to fail. They do
not say which model to take: measured on recorded runs, handing the issues rated hardest to a dearer model gains nothing
over handing over any others (results/costs/README.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.budget import Budget, Call
from agents.deadline import Deadline
from agents.pool import ModelConfig
from agents.rate_limit import RateLimit
from agents.retry import RetryConfig

MARKER = "Rating of an issue."
"""How every request for a rating begins; the scripted server recognises them by it."""
MAX_ISSUE = 60_000
"""Characters of an issue that are shown."""
QUESTIONS: Mapping[str, str] = {
    "reasoning": "how much logical reasoning the fix requires",
    "debugging": "how complex the debugging is: how far the cause is from the symptom",
    "atypicality": "how far the problem is from common ones with a standard fix",
    "side_effects": "how likely a fix is to break something else",
    "scope": "how much of the code base has to be understood or changed",
}
"""What is rated, each from 0 (least) to 10 (most)."""

_PROMPT = """{marker} Judge how hard it is to resolve for a coding agent that has the repository, from its text alone.

<issue>
{issue}
</issue>

Rate each of these from 0 (least) to 10 (most):
{questions}

Think briefly. End with one line for each, such as `scope: 3`."""

_NAMES = "|".join(QUESTIONS).replace("_", "[_ ]")
_LINE = re.compile(rf"({_NAMES})\W{{0,8}}[:=]\W{{0,8}}(\d{{1,3}}(?:\.\d{{1,3}})?)(?![\w.])", re.IGNORECASE)


@dataclass(frozen=True)
class Rating:
    """A model's answers about an issue."""

    values: Mapping[str, float]
    """0 to 10 by question; empty unless each question is answered."""
    cost_usd: float


def rate(
    issue: str,
    rater: ModelConfig,
    retry: RetryConfig | None = None,
    *,
    budget: Budget | None = None,
    on_call: Callable[[Call], None] | None = None,
    rate_limit: RateLimit | None = None,
    trace: Mapping[str, Any] | None = None,
) -> Rating:
    """Have `rater` rate an issue.

    Args:
        issue: The issue's text.
        rater: The pool's entry that rates.
        retry: Patience with its provider.
        budget: Checked before the call.
        on_call: Receives every request as soon as it has ended.
        rate_limit: The rater's calls and tokens a minute.
        trace: Metadata of the call for LiteLLM's callbacks.

    Raises:
        ProviderError: As an agent's calls do, like a PoolError or BudgetSpentError.
    """
    from agents.model import PoolModel

    llm = PoolModel(
        rater, retry or RetryConfig(), Deadline(0), budget=budget, on_call=on_call, rate=rate_limit, trace=trace
    )
    reply = llm.ask(prompt_of(issue))
    return Rating(values=read_ratings(reply), cost_usd=llm.usage.cost_usd)


def prompt_of(issue: str) -> str:
    """What is sent about an issue."""
    questions = "\n".join(f"- {name}: {question}" for name, question in QUESTIONS.items())
    return _PROMPT.format(marker=MARKER, issue=issue[:MAX_ISSUE], questions=questions)


def read_ratings(reply: str) -> dict[str, float]:
    """The last answer to each question; empty when one is missing or is not between 0 and 10."""
    found = {name.lower().replace(" ", "_"): float(value) for name, value in _LINE.findall(reply)}
    complete = found.keys() == QUESTIONS.keys() and all(0 <= value <= 10 for value in found.values())
    return {name: found[name] for name in QUESTIONS} if complete else {}
