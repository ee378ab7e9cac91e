from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
ALIASES = {"warn": "warning", "fatal": "critical", "err": "error"}


def level_number(name: str) -> int:
    """Severity of a level by its name in any case. Raises KeyError for unknown names."""
    name = name.lower()
    return LEVELS[ALIASES.get(name, name)]


@dataclass(frozen=True)
class Record:
    """One log record. `lines` is its text as it stood in the file, without line ends."""

    lines: tuple[str, ...]
    time: datetime | None = None
    level: str | None = None
    logger: str | None = None

    @property
    def severity(self) -> int | None:
        return None if self.level is None else level_number(self.level)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)
