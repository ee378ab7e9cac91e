"""Every way in which a cell can end without a plain verdict: whose fault it is, and whether it is tried again."""

from __future__ import annotations

import errno
import re
import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from agents.budget import BudgetSpentError
from agents.errors import ContainerError, PoolError, ProviderError
from agents.provider_errors import KINDS as PROVIDER_KINDS
from harness.errors import DiskFullError, EngineUnavailableError, ImageUnavailableError, NodeLostError
from harness.grading.verdict import Verdict
from harness.store.rows import KILLED, LOST


class FaultOwner(StrEnum):
    """Whose fault a failure is."""

    MODEL = "model"
    """Counts as not resolved."""
    PROVIDER = "provider"
    MACHINE = "machine"
    RUN = "run"
    """The configuration's, or the user's own doing."""


@dataclass(frozen=True)
class Kind:
    """One kind of failure."""

    name: str
    owner: FaultOwner
    retried: str
    """Where it is tried again, and why or why not."""

    @property
    def scored(self) -> bool:
        return self.owner is FaultOwner.MODEL


_NEXT = "when you rerun the command"
_PASSES = "within the call, with back-off and Retry-After; if it still fails, when you rerun the command"
_FINAL = {
    "auth": "in this run only if the model answered before; when you rerun the command",
    "not-found": "in this run only if the model answered before; when you rerun the command",
    "quota": "not in this run (every call would fail); when you rerun the command",
    "installation": "not in this run (every call would fail); when you rerun the command",
    "bad-request": "not in this run (the same request would be refused again); when you rerun the command",
    "unknown": "not in this run (a repetition may not be safe); when you rerun the command",
}
_AGAIN = "no: it is the model's result on this instance"
MODEL_KINDS = ("context-window", "content-policy")
"""A provider's refusals that the agent turns into exit statuses of the model."""

_ALL = [
    # the model's: scored as not resolved
    Kind("LimitsExceeded", FaultOwner.MODEL, _AGAIN),
    Kind("TimeExceeded", FaultOwner.MODEL, _AGAIN),
    Kind("DiskLimitExceeded", FaultOwner.MODEL, _AGAIN),
    Kind("ContainerEnded", FaultOwner.MODEL, _AGAIN),
    Kind("RepeatedFormatError", FaultOwner.MODEL, _AGAIN),
    Kind("ContextWindowExceededError", FaultOwner.MODEL, _AGAIN),
    Kind("ContentPolicyViolationError", FaultOwner.MODEL, _AGAIN),
    Kind(Verdict.EMPTY_PATCH, FaultOwner.MODEL, _AGAIN),
    Kind(Verdict.PATCH_FAILED, FaultOwner.MODEL, "no: the official harness refuses it every time"),
    Kind(Verdict.TEST_TIMEOUT, FaultOwner.MODEL, "no: the official harness counts it as an error of the prediction"),
    Kind(Verdict.HARNESS_ERROR, FaultOwner.MODEL, "no: the official harness cannot process it"),
    # the provider's
    *(
        Kind(f"provider: {kind}", FaultOwner.PROVIDER, _PASSES if passes else _FINAL[kind])
        for kind, (passes, _) in PROVIDER_KINDS.items()
        if kind not in MODEL_KINDS
    ),
    # this machine's, at any stage
    Kind(
        "image: missing", FaultOwner.MACHINE, f"not in this run (the registry does not have it or refuses it); {_NEXT}"
    ),
    Kind("image: rate-limit", FaultOwner.MACHINE, f"the pull, with back-off; {_NEXT}"),
    Kind("image: registry", FaultOwner.MACHINE, f"the pull, with back-off; {_NEXT}"),
    Kind("engine", FaultOwner.MACHINE, f"when the engine answers again within run.engine_patience; {_NEXT}"),
    Kind(
        "container",
        FaultOwner.MACHINE,
        f"up to run.agent_attempts times (it was removed or killed from outside); {_NEXT}",
    ),
    Kind("node", FaultOwner.MACHINE, f"up to run.agent_attempts times, on another node of the cluster; {_NEXT}"),
    Kind("disk", FaultOwner.MACHINE, f"not in this run, which stops (paid results could not be saved); {_NEXT}"),
    Kind("internal", FaultOwner.MACHINE, f"not in this run (repeating an unexpected error may not be safe); {_NEXT}"),
    # this machine's, while grading: the patch is kept
    Kind("grading: container", FaultOwner.MACHINE, f"up to run.grading_attempts times; {_NEXT}"),
    Kind(
        "grading: memory", FaultOwner.MACHINE, f"up to run.grading_attempts times (memory may have been full); {_NEXT}"
    ),
    Kind("grading: process", FaultOwner.MACHINE, f"up to run.grading_attempts times, in a new process; {_NEXT}"),
    Kind("grading: unknown", FaultOwner.MACHINE, f"up to run.grading_attempts times; {_NEXT}"),
    # nobody's fault
    Kind(
        "budget",
        FaultOwner.RUN,
        "not in this run (you set the limit); when you rerun the command with a higher run.max_cost_hard",
    ),
    Kind(KILLED, FaultOwner.RUN, "when you rerun the command: the attempt was cut off and starts again"),
    Kind(
        LOST,
        FaultOwner.RUN,
        "when you rerun the command: the patch is missing from the run folder, and the attempt starts again",
    ),
    Kind("pool", FaultOwner.RUN, f"not in this run (the pool's entry cannot work); {_NEXT}"),
]
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
"""Every kind by its name, as the store, the results and the documentation call it."""
RETRIED_KINDS = frozenset({"engine", "container", "node"})
"""Kinds of a broken-off attempt that the same run tries again."""
ENGINE_KINDS = frozenset({"engine", "grading: container"})
"""Kinds of a grading that may be the engine's going down: it is awaited before another try."""


def kind_of(name: str) -> Kind:
    """The kind of that name; stores of an earlier version may hold others, which were this machine's."""
    return KINDS.get(name) or Kind(name, FaultOwner.MACHINE, _NEXT)


def attempt_kind(error: BaseException) -> str:
    """Kind of failure that ended an attempt early."""
    if isinstance(error, DiskFullError) or disk_is_full(error):
        return "disk"
    match error:
        case BudgetSpentError():
            return "budget"
        case ProviderError():
            return f"provider: {error.kind}"
        case ImageUnavailableError():
            return error.kind if error.kind == "disk" else f"image: {error.kind}"
        case NodeLostError():
            return "node"
        case EngineUnavailableError():
            return "engine"
        case ContainerError():
            if _NO_SPACE.search(str(error)):
                return "disk"
            return "engine" if "engine does not answer" in str(error) else "container"
        case PoolError():
            return "pool"
        case _:
            return "internal"


_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded|database or disk is full", re.IGNORECASE)


def disk_is_full(error: BaseException) -> bool:
    """Whether an error, or one behind it, says that there is no space left."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(link, sqlite3.OperationalError) and "disk" in str(link):
            return True
        link = link.__cause__ or link.__context__
    return False
