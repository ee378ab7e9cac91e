"""Physical lines → logical lines."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMMENT = re.compile(r"(^|\s)[;#].*$")


@dataclass
class LogicalLine:
    """A line with its continuations joined by blanks; `number` is where it starts."""

    number: int
    text: str


def logical_lines(text: str) -> Iterator[LogicalLine]:
    """Lines without comments and blank lines; an indented line belongs to the one before it."""
    pending: LogicalLine | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _COMMENT.sub("", raw).rstrip()
        if not line:
            continue
        if line[0].isspace() and pending is not None:
            pending.text = f"{pending.text} {line.strip()}"
            continue
        if pending is not None:
            yield pending
        pending = LogicalLine(number, line.strip())
    if pending is not None:
        yield pending
