"""From lines to records."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from csvquill.errors import InputError
from csvquill.source import data_lines


@dataclass(frozen=True)
class Record:
    """One record and the number of the line on which it ends."""

    line: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A header and the records below it, which are read as they are asked for."""

    header: tuple[str, ...]
    records: Iterator[Record]

    def column(self, name: str) -> int:
        """The position of a column; raises KeyError for an unknown one."""
        try:
            return self.header.index(name)
        except ValueError:
            raise KeyError(name) from None


def read_table(stream: TextIO, source: str, delimiter: str = ",") -> Table:
    """The table in `stream`; `source` is what messages call it.

    Raises InputError for an empty input or a repeated column name at once, and for bad quoting or a record of the wrong
    width when the reader gets there.
    """
    records = _records(stream, source, delimiter)
    first = next(records, None)
    if first is None:
        raise InputError(source, 1, "no header line")
    for name in first.fields:
        if first.fields.count(name) > 1:
            raise InputError(source, first.line, f"column {name!r} appears twice")
    return Table(first.fields, _checked(records, source, len(first.fields)))


def _records(stream: TextIO, source: str, delimiter: str) -> Iterator[Record]:
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for line in data_lines(stream):
            number = line.number
            yield line.text

    try:
        for fields in csv.reader(texts(), delimiter=delimiter, strict=True):
            yield Record(number, tuple(fields))
    except csv.Error as error:
        raise InputError(source, number, str(error)) from error


def _checked(records: Iterator[Record], source: str, width: int) -> Iterator[Record]:
    for record in records:
        if len(record.fields) != width:
            raise InputError(source, record.line, f"expected {width} fields, found {len(record.fields)}")
        yield record
