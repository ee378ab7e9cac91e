"""Choosing and counting records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from logsift.query import Query
from logsift.record import LEVELS, Record, level_number

_NAMES = {number: name for name, number in LEVELS.items()}


def sift(records: Iterable[Record], query: Query, limit: int | None = None) -> Iterator[Record]:
    """The records that match, at most `limit` of them. Reads no further than needed."""
    left = limit
    if left == 0:
        return
    for record in records:
        if query.matches(record):
            yield record
            if left is not None:
                left -= 1
                if left == 0:
                    return


def count_levels(records: Iterable[Record]) -> dict[str, int]:
    """Number of records by level, the most severe first; records without level are counted as "none"."""
    counts = Counter("none" if record.level is None else _NAMES[level_number(record.level)] for record in records)
    order = [*reversed(LEVELS), "none"]
    return {name: counts[name] for name in order if counts[name]}
