"""An attempt that has finished, and what a policy may decide after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FinishedAttempt:
    """What may be known of an attempt before it is graded. None means unknown (recorded outcomes keep no patches)."""

    model: str
    cost_usd: float | None = None
    exit_status: str | None = None
    patch: str | None = None
    calls: float | None = None
    seconds: float | None = None
    signals: Mapping[str, float] = field(default_factory=dict)
    """whatever else is known of it, by name; see `router.signals`"""
