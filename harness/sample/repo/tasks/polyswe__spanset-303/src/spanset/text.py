"""Reading the notation that ``str`` writes."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from .sets import SpanSet
from .span import Number, Span

PIECE = re.compile(r"\s*([\[(])\s*([^,\s]+)\s*,\s*([^,\s\])]+)\s*([\])])\s*$")
POINTS = re.compile(r"\s*\{([^{}]*)\}\s*$")


class SpanSyntaxError(ValueError):
    """The text is not a union of spans."""


def parse(text: str) -> SpanSet:
    """Read e.g. ``[1,2) | {5} | (7,inf)``. Raises SpanSyntaxError."""
    return SpanSet(span for piece in text.split("|") for span in _piece(piece))


def _piece(text: str) -> list[Span]:
    points = POINTS.match(text)
    if points:
        return [Span.point(_number(item)) for item in points[1].split(",") if item.strip()]
    match = PIECE.match(text)
    if match is None:
        raise SpanSyntaxError(f"not a span: {text.strip()!r}")
    left, lo, hi, right = match.groups()
    span = Span(_number(lo), _number(hi), left == "[", right == "]")
    if span.lo > span.hi:
        raise SpanSyntaxError(f"ends in the wrong order: {text.strip()!r}")
    return [span]


def _number(text: str) -> Number:
    text = text.strip()
    if text.lstrip("+-").lower() == "inf":
        return -math.inf if text.startswith("-") else math.inf
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise SpanSyntaxError(f"not a number: {text!r}") from None
    return int(value) if value.denominator == 1 else value
