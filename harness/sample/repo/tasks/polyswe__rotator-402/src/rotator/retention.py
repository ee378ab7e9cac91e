"""Which archives may stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rotator.archives import Archive, scan


@dataclass(frozen=True)
class RetentionPolicy:
    """Limits on what is kept; None means no limit. An archive must satisfy all of them to stay."""

    max_files: int | None = None
    max_age: timedelta | None = None
    max_total_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.max_files is not None and self.max_files < 0:
            raise ValueError(f"max_files must not be negative, got {self.max_files}")
        if self.max_total_bytes is not None and self.max_total_bytes < 0:
            raise ValueError(f"max_total_bytes must not be negative, got {self.max_total_bytes}")


def select_expired(archives: Sequence[Archive], policy: RetentionPolicy, now: datetime) -> list[Archive]:
    """Those of `archives` (oldest first) that the policy does not allow any more, oldest first."""
    expired = []
    used = 0
    for rank, archive in enumerate(reversed(archives)):
        used += archive.size
        too_many = policy.max_files is not None and rank >= policy.max_files
        too_old = policy.max_age is not None and now - archive.modified > policy.max_age
        too_big = policy.max_total_bytes is not None and used > policy.max_total_bytes
        if too_many or too_old or too_big:
            expired.append(archive)
    return expired[::-1]


def prune(live: Path, policy: RetentionPolicy, now: datetime) -> list[Path]:
    """Deletes the expired archives of the log `live`; returns their paths, oldest first."""
    expired = select_expired(scan(live), policy, now)
    for archive in expired:
        archive.path.unlink(missing_ok=True)
    return [archive.path for archive in expired]
