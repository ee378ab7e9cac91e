"""From a file or a stream to the lines that hold data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from csvquill.errors import QuillError

STDIN = "-"
BOM = "\ufeff"
COMMENT = "#"


@dataclass(frozen=True)
class Line:
    """A physical line with its line ending, and its number in the input, counted from 1."""

    number: int
    text: str


@contextmanager
def open_source(name: str, stdin: TextIO) -> Iterator[TextIO]:
    """The stream called `name`; `-` is `stdin`, which is left open."""
    if name == STDIN:
        yield stdin
        return
    try:
        # newline="": line breaks inside quoted fields have to reach the csv module untranslated
        stream = Path(name).open(encoding="utf-8", newline="")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise QuillError(f"{name}: {error.strerror}") from error
    with stream:
        yield stream


def data_lines(stream: TextIO) -> Iterator[Line]:
    """The lines of `stream` without blank lines and comments."""
    for number, text in enumerate(stream, start=1):
        if number == 1:
            text = text.removeprefix(BOM)
        stripped = text.strip()
        if not stripped or stripped.startswith(COMMENT):
            continue
        yield Line(number, text)
