"""An agent's task, and what it made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class AgentTask:
    """One instance, as far as an agent may know it."""

    instance_id: str
    problem_statement: str
    """The issue's text, and nothing else of the instance."""
    image: str
    """Docker image with the repository at the base commit."""
    carried: str = ""
    """Diff of an earlier attempt that the repository starts with; empty for a fresh start."""


@dataclass(frozen=True)
class Attempt:
    """What an agent has done."""

    instance_id: str
    model: str
    """Short name of the pool's entry."""
    patch: str
    """The submission; empty unless `exit_status` is Submitted."""
    exit_status: str
    """Submitted, LimitsExceeded, TimeExceeded, DiskLimitExceeded, ContainerEnded, RepeatedFormatError,
    ContextWindowExceededError or ContentPolicyViolationError. Attempts attached to an error bear the error's class name
    (no outcome)."""
    cost_usd: float
    api_calls: int
    """Calls that were answered."""
    prompt_tokens: int
    """Prompt tokens, cached ones included."""
    completion_tokens: int
    cached_tokens: int
    failed_calls: int
    """Requests that failed and were tried again or given up."""
    seconds: float
    """Wall-clock time, the container's start and waits for a failing provider included, without waits for a turn under
    the model's `rpm` and `tpm`."""
    trajectory: Path
    """mini-swe-agent's trajectory file; absent only when the container could not be started."""
    unsubmitted_patch: str
    """Work in the container that was not submitted before a limit was reached. Kept for the record, no submission."""
    scripted: bool
    """Produced by a scripted stand-in, not by a language model."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Signals that only the living container could give, such as `neighbour_tests_passed`."""


@dataclass
class Usage:
    """What a model's calls have used so far."""

    calls: int = 0
    """Answered calls, also those whose answer was malformed for the agent."""
    failed_calls: int = 0
    """Requests that failed, each try counted."""
    prompt_tokens: int = 0
    """Prompt tokens, those read from the cache included."""
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens read from the provider's cache."""
    estimated_calls: int = 0
    """Calls whose reply stated no usage, so that tokens were estimated from the texts' lengths."""
    cost_usd: float = 0.0
    waited_seconds: float = 0.0
    """Time spent waiting for a turn under the model's `rpm` and `tpm`."""


def paid_in(trajectory: Path) -> float:
    """USD that a trajectory file records, such as one a killed run left behind; 0.0 when it is absent or unreadable.

    A call that had not been answered when the run was killed is not in it.
    """
    try:
        cost = float(json.loads(trajectory.read_text(encoding="utf-8"))["info"]["model_stats"]["instance_cost"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0.0
    return cost if math.isfinite(cost) and cost >= 0 else 0.0
