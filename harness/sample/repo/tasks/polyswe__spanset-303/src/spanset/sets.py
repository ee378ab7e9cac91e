"""Sets of numbers and their algebra."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .normal import normalise
from .span import INF, Number, Span


class SpanSet:
    """An immutable union of spans."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans = normalise(spans)

    @property
    def spans(self) -> tuple[Span, ...]:
        return self._spans

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __contains__(self, value: Number) -> bool:
        return any(value in span for span in self._spans)

    def __eq__(self, other: object) -> bool:
        return self._spans == other._spans if isinstance(other, SpanSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._spans)

    def __str__(self) -> str:
        return " | ".join(map(str, self._spans)) or "{}"

    def __repr__(self) -> str:
        return f"SpanSet<{self}>"

    @property
    def measure(self) -> Number:
        """Total length; points and ends weigh nothing."""
        return sum(span.hi - span.lo for span in self._spans)

    def __or__(self, other: SpanSet) -> SpanSet:
        return SpanSet([*self, *other])

    def __and__(self, other: SpanSet) -> SpanSet:
        return SpanSet(overlap(mine, theirs) for mine in self for theirs in other)

    def __invert__(self) -> SpanSet:
        gaps = []
        lo, lo_in = -INF, False
        for span in self._spans:
            gaps.append(Span(lo, span.lo, lo_in, not span.lo_in))
            lo, lo_in = span.hi, not span.hi_in
        gaps.append(Span(lo, INF, lo_in, False))
        return SpanSet(gaps)

    def __sub__(self, other: SpanSet) -> SpanSet:
        return self & ~other

    def __xor__(self, other: SpanSet) -> SpanSet:
        return (self - other) | (other - self)

    def __le__(self, other: SpanSet) -> bool:
        """Subset."""
        return not self - other


def overlap(first: Span, second: Span) -> Span:
    """What two spans have in common; an empty span if nothing."""
    lo_owner = first if first.lo >= second.lo else second
    hi_owner = first if first.hi <= second.hi else second
    return Span(lo_owner.lo, hi_owner.hi, lo_owner.lo_in, hi_owner.hi_in)


EMPTY = SpanSet()
REALS = SpanSet([Span(-INF, INF, False, False)])
