"""Files of issues' ratings by a model: one JSON object a line, appended as each reply arrives.

A line holds `instance_id`, `issue` (what was rated), `model`, `cost_usd`, and `ratings`; a reply without usable ratings
has none, a call that failed has `failure`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from agents.rating import QUESTIONS
from harness.errors import InputError
from harness.files import make_folder, why_unread

HARDEST = 0.1
"""Share of the rated issues that are listed as likely to fail."""


@dataclass(frozen=True)
class RatingRow:
    """One reply."""

    instance_id: str
    issue: str
    """`issue_key` of the text that was rated."""
    model: str
    cost_usd: float
    ratings: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""
    """Kind of the failure of a call that got no reply."""

    @property
    def difficulty(self) -> float:
        """The mean of the ratings."""
        return sum(self.ratings.values()) / len(self.ratings)


def issue_key(text: str) -> str:
    """Changes with the issue's text, so that a rating of an earlier text is not taken for the present one's."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_rows(path: Path) -> list[RatingRow]:
    """Every complete line of a file; a last line that a kill cut short is left out.

    Raises:
        InputError: there is no such file, or it is of another kind.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"ratings {path}: cannot be read ({why_unread(error)})") from error
    return [_row(line, f"ratings {path}, line {number}") for number, line in enumerate(lines[:-1], 1) if line.strip()]


def _row(line: str, place: str) -> RatingRow:
    try:
        values = json.loads(line)
        row = RatingRow(**{name: values[name] for name in RatingRow.__dataclass_fields__ if name in values})
        texts = (row.instance_id, row.issue, row.model, row.failure)
        sound = all(isinstance(text, str) for text in texts) and 0 <= float(row.cost_usd) < math.inf
        rated = {name: float(value) for name, value in row.ratings.items()}
        if rated:
            sound = sound and rated.keys() == QUESTIONS.keys() and all(0 <= value <= 10 for value in rated.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{place}: not a line of `polyswe dataset rate` ({error})") from error
    if not sound:
        raise InputError(f"{place}: not a line of `polyswe dataset rate`")
    return row


def rated(path: Path) -> dict[str, RatingRow]:
    """The usable rating of each instance. Raises InputError as `read_rows` does, and for a file without any."""
    found = {row.instance_id: row for row in read_rows(path) if row.ratings}
    if not found:
        raise InputError(f"ratings {path}: holds no rating; polyswe dataset rate makes one")
    return found


def difficulties(rows: Mapping[str, RatingRow]) -> dict[str, str]:
    """By instance: the third of the ratings that it is in; equal ratings are in the same third."""
    order = sorted(row.difficulty for row in rows.values())
    middle, hard = order[len(order) // 3], order[2 * len(order) // 3]

    def word(value: float) -> str:
        return "rated hard" if value > hard else "rated easy" if value < middle else "rated middle"

    return {name: word(row.difficulty) for name, row in rows.items()}


def hardest(rows: Mapping[str, RatingRow]) -> list[str]:
    """The tenth of the rated instances with the highest mean, hardest first; none that is not above the median."""
    median = statistics.median(row.difficulty for row in rows.values()) if rows else 0.0
    order = sorted(rows, key=lambda name: (-rows[name].difficulty, name))
    return [name for name in order[: max(1, round(HARDEST * len(order)))] if rows[name].difficulty > median]


@contextmanager
def appending(path: Path) -> Iterator[IO[str]]:
    """The file, open to append rows to, for this process alone. A last line that a kill cut short is removed.

    Raises:
        InputError: another process has it open.
    """
    make_folder(path.parent)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"ratings {path}: another process is writing to it") from None
        file.seek(0)
        kept = file.read()
        whole = kept[: kept.rfind("\n") + 1]
        if whole != kept:
            file.truncate(len(whole.encode("utf-8")))
        yield file


def append(file: IO[str], row: RatingRow) -> None:
    """Add a row; it is on disk when this returns."""
    file.write(json.dumps(asdict(row)) + "\n")
    file.flush()
    os.fsync(file.fileno())
