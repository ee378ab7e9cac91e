"""Archive names: `<base>.<stamp>[-<number>][.gz]`, stamp in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

STAMP_FORMAT = "%Y%m%dT%H%M%S"
GZIP_SUFFIX = ".gz"
_TAIL = re.compile(r"(?P<stamp>\d{8}T\d{6})(?:-(?P<number>[1-9]\d*))?(?P<gz>\.gz)?")


@dataclass(frozen=True)
class ArchiveName:
    """The parts of an archive's file name."""

    base: str
    stamp: datetime
    number: int = 0
    compressed: bool = False

    def __str__(self) -> str:
        number = f"-{self.number}" if self.number else ""
        suffix = GZIP_SUFFIX if self.compressed else ""
        return f"{self.base}.{self.stamp.strftime(STAMP_FORMAT)}{number}{suffix}"

    def gzipped(self) -> ArchiveName:
        return replace(self, compressed=True)


def parse(base: str, filename: str) -> ArchiveName | None:
    """The parts of `filename`, or None if it is not an archive of the log called `base`."""
    if not filename.startswith(base + "."):
        return None
    match = _TAIL.fullmatch(filename, len(base) + 1)
    if match is None:
        return None
    try:
        stamp = datetime.strptime(match["stamp"], STAMP_FORMAT).replace(tzinfo=UTC)
    except ValueError:  # fourteen digits that are no date, such as month 13
        return None
    return ArchiveName(base, stamp, int(match["number"] or 0), match["gz"] is not None)


def next_name(base: str, now: datetime, taken: Iterable[ArchiveName]) -> ArchiveName:
    """The name of an archive rotated at `now`, numbered after those of the same second that exist already."""
    stamp = now.astimezone(UTC).replace(microsecond=0)
    numbers = [name.number for name in taken if name.stamp == stamp]
    return ArchiveName(base, stamp, max(numbers) + 1 if numbers else 0)
