"""Natural widths of columns, and how they are narrowed to fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from tabula.cells import is_number, to_text
from tabula.width import display_width

MIN_WIDTH = 4


@dataclass(frozen=True)
class Column:
    """One column before narrowing: its width in terminal columns and its alignment."""

    natural: int
    align: str


def measure(rows: Sequence[Sequence[object]], headers: Sequence[str] | None, align: str | None) -> list[Column]:
    """Columns of a table whose rows all have the same length.

    Raises ValueError when rows differ in length or `align` does not fit the table.
    """
    table: list[list[object]] = [list(headers)] if headers is not None else []
    table += [list(row) for row in rows]
    count = len(table[0]) if table else 0
    if any(len(row) != count for row in table):
        raise ValueError("rows differ in length")
    if align is not None and (len(align) != count or set(align) - set("lrc")):
        raise ValueError(f"align must be {count} of the letters l, r, c, got {align!r}")
    columns = []
    for index in range(count):
        natural = max(display_width(line) for row in table for line in to_text(row[index]).split("\n"))
        values = [row[index] for row in rows if row[index] is not None]
        numeric = bool(values) and all(is_number(value) for value in values)
        columns.append(Column(natural, align[index] if align else "r" if numeric else "l"))
    return columns


def fit(columns: Sequence[Column], available: int) -> list[int]:
    """Widths that add up to at most `available`, taken from the widest column first, none below MIN_WIDTH."""
    widths = [column.natural for column in columns]
    while sum(widths) > available:
        widest = max(range(len(widths)), key=lambda index: widths[index])
        if widths[widest] <= MIN_WIDTH:
            break
        widths[widest] -= 1
    return widths
