"""Writing a log and rotating it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rotator import naming
from rotator.archives import compress, scan
from rotator.retention import RetentionPolicy, prune

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Rotator:
    """Appends to a log and rotates it before it outgrows `max_bytes`."""

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int,
        policy: RetentionPolicy | None = None,
        compress: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.policy = policy or RetentionPolicy()
        self.compress = compress
        self._clock = clock

    def write(self, text: str) -> None:
        """Appends `text`; an entry is never split over two files, even if it is larger than `max_bytes`."""
        data = text.encode()
        size = self.path.stat().st_size if self.path.exists() else 0
        if size and size + len(data) > self.max_bytes:
            self.rotate()
        with self.path.open("ab") as live:
            live.write(data)

    def rotate(self) -> Path | None:
        """Turns the live file into an archive and applies the policy; returns the archive, None for an empty log."""
        if not self.path.exists() or not self.path.stat().st_size:
            return None
        now = self._clock()
        older = scan(self.path)
        name = naming.next_name(self.path.name, now, (archive.name for archive in older))
        archived = self.path.rename(self.path.with_name(str(name)))
        if self.compress:
            for archive in older:
                if not archive.name.compressed:
                    compress(archive)
        prune(self.path, self.policy, now)
        return archived
