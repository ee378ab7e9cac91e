"""Rows → text."""

from collections.abc import Sequence

from tabula.cells import to_text
from tabula.columns import fit, measure
from tabula.styles import STYLES
from tabula.width import pad
from tabula.wrap import cut_cell, wrap_cell

_OVERFLOW = {"wrap": wrap_cell, "ellipsis": cut_cell}


def render(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str] | None = None,
    *,
    max_width: int | None = None,
    style: str = "grid",
    align: str | None = None,
    overflow: str = "wrap",
) -> str:
    """The table as text, without a final line break; see README for the options.

    Raises ValueError for an unknown style or overflow, for ragged rows and for an alignment that does not fit.
    """
    if style not in STYLES:
        raise ValueError(f"unknown style {style!r}, choose one of {', '.join(sorted(STYLES))}")
    if overflow not in _OVERFLOW:
        raise ValueError(f"unknown overflow {overflow!r}, choose one of {', '.join(sorted(_OVERFLOW))}")
    columns = measure(rows, headers, align)
    if not columns:
        return ""
    borders = STYLES[style]
    widths = [column.natural for column in columns]
    if max_width is not None:
        widths = fit(columns, max_width - borders.overhead(len(columns)))
    shorten = _OVERFLOW[overflow]

    def draw(row: Sequence[object]) -> list[str]:
        cells = [shorten(to_text(value), width) for value, width in zip(row, widths, strict=True)]
        height = max(len(cell) for cell in cells)
        lines = []
        for number in range(height):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            padded = [pad(part, width, col.align) for part, width, col in zip(parts, widths, columns, strict=True)]
            lines.append(borders.line(padded))
        return lines

    out: list[str] = []
    ruler = borders.ruler(widths) if borders.rule else None
    if ruler and borders.frame:
        out.append(ruler)
    if headers is not None:
        out += draw(headers)
        if ruler:
            out.append(ruler)
    for row in rows:
        out += draw(row)
    if ruler and borders.frame:
        out.append(ruler)
    return "\n".join(out)
