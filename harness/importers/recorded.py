"""What an importer yields: runs that somebody recorded, one model each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RecordedCell:
    """One model on one instance; None where the source does not say."""

    resolved: bool | None
    cost_usd: float | None = None
    api_calls: float | None = None
    seconds: float | None = None
    exit_status: str | None = None


@dataclass(frozen=True)
class RecordedRun:
    """One model's (or agent's) recorded run over a set of instances."""

    name: str
    source: str
    """File or URL it was read from."""
    cells: Mapping[str, RecordedCell]
    """By instance id."""
    board: str | None = None
    """Leaderboard it was listed on."""
    folder: str | None = None
    """The submission's folder: what makes two listings one run."""
    agent: str | None = None
    date: str | None = None
    fault: str | None = None
    """Why its outcomes must not be used, where they contradict what was published."""
    notes: tuple[str, ...] = ()
    """What a reader of numbers computed from it has to know."""

    @property
    def label(self) -> str:
        """What tells it from another run of the same name."""
        return self.folder or self.source


@dataclass(frozen=True)
class RecordedOutcomes:
    """Everything some sources hold."""

    runs: tuple[RecordedRun, ...]
    notes: tuple[str, ...] = ()
    """What was skipped or merged, for a human."""
