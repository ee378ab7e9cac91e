"""Numbers and names as the report shows them, and text from outside made harmless."""

from __future__ import annotations

from harness.text import plain as plain

NONE = "–"
"""Shown for a number that does not exist."""


def count(value: float) -> str:
    """A count, or a mean of counts: 372, 371.6."""
    return f"{value:.0f}" if abs(value - round(value)) < 0.005 else f"{value:.1f}"


def signed(value: float) -> str:
    text = count(abs(value))
    return text if text in ("0", "0.0") else f"{'+' if value > 0 else '−'}{text}"


def percent(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{value * 100:.{digits}f}\u202f%"


def money(value: float | None) -> str:
    """US dollars with three significant digits."""
    if value is None:
        return NONE
    if value == 0:
        return "$0"
    return f"${value:,.0f}" if value >= 1000 else f"${value:.2f}" if value >= 1 else f"${value:#.3g}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def p_value(value: float | None) -> str:
    if value is None:
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def shortened(name: str, length: int = 34) -> str:
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def clipped(text: str, length: int) -> str:
    """The start and the end of a long text, with the number of characters left out between them."""
    if len(text) <= length:
        return text
    head, tail = length * 2 // 3, length // 3
    left_out = len(text) - head - tail
    return f"{text[:head]}\n\n[… {left_out:,} characters left out; the file has all of them …]\n\n{text[-tail:]}"
