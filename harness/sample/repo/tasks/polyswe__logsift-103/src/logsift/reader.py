"""Lines → records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from logsift.record import ALIASES, LEVELS, Record

_LEVEL = "|".join([*LEVELS, *ALIASES])
_HEADER = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)\s+"
    rf"\[?(?P<level>{_LEVEL})\]?\s+"
    r"(?P<logger>[\w.-]+):",
    re.IGNORECASE,
)


def parse_line(line: str) -> Record:
    """A record of a single line; without time, level and logger unless the line is a header."""
    match = _HEADER.match(line)
    if match is None:
        return Record((line,))
    try:
        time = datetime.fromisoformat(match["time"].replace(",", "."))
    except ValueError:  # looks like a header, but is no date: 2024-13-01
        return Record((line,))
    return Record((line,), time, match["level"].lower(), match["logger"])


def read_records(lines: Iterable[str]) -> Iterator[Record]:
    """Records of a log in the order of the file, lazily: `lines` may be a pipe that never ends."""
    for line in lines:
        line = line.rstrip("\r\n")
        if line:
            yield parse_line(line)
