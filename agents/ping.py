"""One short call to a model, as an agent would make it: does the key work, the id, the tools, and what does it cost?"""

from __future__ import annotations

import time
from dataclasses import dataclass

from agents.deadline import Deadline
from agents.errors import PoolError, ProviderError
from agents.pool import ModelConfig
from agents.provider_errors import provider_error
from agents.retry import RetryConfig
from agents.runner import AgentConfig, model_settings

NO_TOOL_CALL = "no-tool-call"
"""Kind of a reply that calls no tool; agents act by nothing else."""
QUESTION = "Call the bash tool once, with the command: echo ok"


@dataclass(frozen=True)
class Ping:
    """What came of the call."""

    seconds: float
    """Until the reply, or the failure, was there."""
    cost_usd: float
    failure: str
    """`NO_TOOL_CALL`, a kind of `agents.provider_errors.KINDS`, or `pool`; empty when all is well."""
    detail: str
    """What to know of the failure and to do about it, on one line."""


def ping(model: ModelConfig, config: AgentConfig, *, timeout: float = 60) -> Ping:
    """Ask a model for one tool call, without a second try.

    Args:
        model: The pool's entry.
        config: How the agents of a run work; its overrides of mini-swe-agent's model settings apply here, too.
        timeout: Seconds to wait.
    """
    retry = RetryConfig(max_attempts=1, call_timeout_seconds=timeout)
    try:
        from agents.model import PoolModel  # first: it quiets what the next one imports

        from minisweagent.exceptions import FormatError  # isort: skip
    except ImportError as error:
        return Ping(0.0, 0.0, "installation", str(provider_error("installation", str(error), model=model.name)))
    started = time.monotonic()
    kind, detail, llm = "", "", None
    try:
        llm = PoolModel(model, retry, Deadline(0), **model_settings(config, model))
        started = time.monotonic()
        llm.query([{"role": "user", "content": QUESTION}])
    except FormatError:
        kind, detail = NO_TOOL_CALL, "it answered without a tool call, and agents act by tool calls alone"
    except ProviderError as error:
        kind, detail = error.kind, error.message.removeprefix(f"{model.name}: {error.kind}: ")
        if kind == "bad-request":
            detail += ", and whether the model takes tools"
    except PoolError as error:
        kind, detail = "pool", str(error)
    return Ping(time.monotonic() - started, llm.usage.cost_usd if llm is not None else 0.0, kind, detail)
