"""Numbers and names as the report shows them."""

from __future__ import annotations

from harness.evaluation.formats import NONE
from harness.evaluation.formats import count as count
from harness.evaluation.formats import money as money
from harness.evaluation.formats import p_value as p_value
from harness.evaluation.formats import signed as signed
from harness.text import plain as plain


def percent(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{value * 100:.{digits}f}\u202f%"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def shortened(name: str, length: int = 34) -> str:
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def clipped(text: str, length: int) -> str:
    """The start and the end of a long text, with the number of characters left out between them."""
    if len(text) <= length:
        return text
    head, tail = length * 2 // 3, length // 3
    left_out = len(text) - head - tail
    return f"{text[:head]}\n\n[… {left_out:,} characters left out; the file contains them …]\n\n{text[-tail:]}"
