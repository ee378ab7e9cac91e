"""The normal form: ascending, non-empty, nothing mergeable left."""

from __future__ import annotations

from collections.abc import Iterable

from .span import Span


def normalise(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans of the union, in normal form."""
    ordered = sorted((span for span in spans if not span.empty), key=lambda span: span.lo)
    merged: list[Span] = []
    for span in ordered:
        if merged and span.lo <= merged[-1].hi:
            merged[-1] = hull(merged[-1], span)
        else:
            merged.append(span)
    return tuple(merged)


def hull(first: Span, second: Span) -> Span:
    """The smallest span around two, of which the first starts no later than the second."""
    if second.hi > first.hi:
        return Span(first.lo, second.hi, first.lo_in, second.hi_in)
    return first
