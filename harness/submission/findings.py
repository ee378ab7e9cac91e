"""What speaks against a package, from a fault that forbids it to a remark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.errors import EXIT_FINDINGS, PolysweError
from harness.text import counted, one_line

SHOWN = 8
"""Instances named in one finding; the rest is counted."""
MAX_LENGTH = 1000
"""Characters of one finding."""
MAX_FINDINGS = 100
"""Findings of one level that are kept; the rest is counted."""


class Level(StrEnum):
    FAULT = "fault"
    """Contradicts itself or the rules: nothing is written, `--check` fails."""
    ERROR = "error"
    """An error in polyswe itself: the check of this package is incomplete."""
    GAP = "gap"
    """Something a person has to fill in before the entry is opened."""
    NOTE = "note"
    """For the reader: what was not checked, and why."""


@dataclass(frozen=True)
class Finding:
    level: Level
    what: str


@dataclass
class Findings:
    """Collects findings. Their texts hold names from other people's files and are safe to print."""

    kept: list[Finding] = field(default_factory=list)
    left_out: Counter[Level] = field(default_factory=Counter)
    """Findings beyond `MAX_FINDINGS` by level."""

    def fault(self, what: str) -> None:
        self._add(Level.FAULT, what)

    def error(self, what: str) -> None:
        self._add(Level.ERROR, what)

    def gap(self, what: str) -> None:
        self._add(Level.GAP, what)

    def note(self, what: str) -> None:
        self._add(Level.NOTE, what)

    def _add(self, level: Level, what: str) -> None:
        if sum(finding.level is level for finding in self.kept) >= MAX_FINDINGS:
            self.left_out[level] += 1
            return
        self.kept.append(Finding(level, one_line(what, MAX_LENGTH)))

    def fault_of(self, instances: Iterable[str], what: str) -> None:
        """One fault that several instances share; none when there is no instance."""
        if names := sorted(instances):
            self.fault(f"{what}: {some(names)}")

    @property
    def faults(self) -> list[str]:
        return self._of(Level.FAULT)

    @property
    def errors(self) -> list[str]:
        return self._of(Level.ERROR)

    @property
    def gaps(self) -> list[str]:
        return self._of(Level.GAP)

    def lines(self) -> list[str]:
        """A line a finding, the gravest first."""
        return [f"{level}: {what}" for level in Level for what in self._of(level)]

    def _of(self, level: Level) -> list[str]:
        more = self.left_out[level]
        listed = [finding.what for finding in self.kept if finding.level is level]
        return listed + ([f"and {more} more like these"] if more else [])


class RefusedError(PolysweError):
    """No package was written; the message lists everything that is missing or wrong."""

    exit_code = EXIT_FINDINGS

    def __init__(self, what: str, faults: Sequence[str]) -> None:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        super().__init__(f"{what}: nothing was written, because of {counted(len(faults), 'fault')}:\n{lines}")
        self.faults = tuple(faults)


def some(names: Sequence[str]) -> str:
    """The first names of many, with the number of the others."""
    more = len(names) - SHOWN
    listed = ", ".join(name if len(name) <= 100 else f"{name[:100]}…" for name in names[:SHOWN])
    return listed + (f" and {more} more" if more > 0 else "")
