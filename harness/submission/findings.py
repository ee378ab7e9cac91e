"""What a check found, from a fault that forbids the package to a remark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.errors import EXIT_FINDINGS, PolysweError
from harness.report.text import plain

SHOWN = 8
"""Instances named in one finding; the rest is counted."""


class Level(StrEnum):
    FAULT = "fault"
    """Contradicts itself or the rules: nothing is written, `--check` fails."""
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
    """Collects findings; falsy while there is no fault."""

    found: list[Finding] = field(default_factory=list)

    def fault(self, what: str) -> None:
        self._add(Level.FAULT, what)

    def gap(self, what: str) -> None:
        self._add(Level.GAP, what)

    def note(self, what: str) -> None:
        self._add(Level.NOTE, what)

    def _add(self, level: Level, what: str) -> None:
        # names come from other people's files and are printed: nothing in them may steer or break a terminal
        self.found.append(Finding(level, plain(what).replace("\n", " ⏎ ")))

    def fault_of(self, instances: Iterable[str], what: str) -> None:
        """One fault that several instances share; none when there is no instance."""
        if names := sorted(instances):
            self.fault(f"{what}: {some(names)}")

    @property
    def faults(self) -> list[str]:
        return [finding.what for finding in self.found if finding.level is Level.FAULT]

    @property
    def gaps(self) -> list[str]:
        return [finding.what for finding in self.found if finding.level is Level.GAP]

    def __bool__(self) -> bool:
        return bool(self.faults)

    def lines(self) -> list[str]:
        """A line a finding, the gravest first."""
        order = list(Level)
        return [f"{f.level}: {f.what}" for f in sorted(self.found, key=lambda f: order.index(f.level))]


class RefusedError(PolysweError):
    """No package was written; the message lists everything that is missing or wrong."""

    exit_code = EXIT_FINDINGS

    def __init__(self, what: str, faults: Sequence[str]) -> None:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        super().__init__(f"{what}: nothing was written, {len(faults)} things stand against it:\n{lines}")
        self.faults = tuple(faults)


def some(names: Sequence[str]) -> str:
    """The first names of many, with the number of the others."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
