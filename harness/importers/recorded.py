"""What an importer yields: runs that somebody recorded, one model each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RecordedCell:
    """One model on one instance; None where the source does not say."""

    resolved: bool | None
    cost_usd: float | None = None
    api_calls: float | None = None
    seconds: float | None = None
    exit_status: str | None = None
    signals: Mapping[str, float] = field(default_factory=dict)
    """What else the finished attempt showed, by name."""


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
    flag: str | None = None
    """What its recorder remarked on it, e.g. that several attempts were made."""
    fault: str | None = None
    """Why its outcomes must not be used, where they contradict what was published."""
    notes: tuple[str, ...] = ()
    """What a reader of numbers computed from it has to know."""
    repeats: tuple[Mapping[str, RecordedCell], ...] = ()
    """Cells of the second attempt, of the third, …, by instance; `cells` are those of the first."""
    universe: frozenset[str] | None = None
    """For a source that lists only some instances and means that the others failed: every instance it is known to
    speak of. None where each instance is recorded by itself."""

    def cell(self, instance: str, whole: bool = False) -> RecordedCell:
        """The cell of an instance. `whole`: the source speaks of every instance asked for, also those not listed."""
        known = self.cells.get(instance)
        if known is not None:
            return known
        failed = self.universe is not None and (whole or instance in self.universe)
        return RecordedCell(False if failed else None)

    def speaks_of_all(self, instances: Collection[str]) -> bool:
        """Whether `instances` are the source's whole benchmark: every instance that it lists is among them."""
        return self.universe is not None and self.universe <= set(instances)

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
