"""From text to a quantity: a sequence of `number symbol` terms."""

from __future__ import annotations

import re
from fractions import Fraction

from .errors import DimensionError, ParseError
from .literals import NUMBER, value_of
from .quantity import Quantity
from .registry import Dimension, Registry, default_registry

BLANK = re.compile(r"\s*")
SYMBOL = re.compile(r"\s*(?P<symbol>[A-Za-z]+)")


def parse(text: str, registry: Registry | None = None) -> Quantity:
    """Read e.g. ``1h 30m``, ``5 ft 6 in`` or ``1 1/2 cup``.

    Raises ParseError for malformed text, UnknownUnitError for a symbol nobody registered and
    DimensionError when the terms do not belong together.
    """
    registry = registry or default_registry()
    position = _skip_blank(text, 0)
    if position == len(text):
        raise ParseError(text, 0, "nothing to read")
    total, dimension = Fraction(0), None
    while position < len(text):
        number, position = _number(text, position)
        symbol = SYMBOL.match(text, position)
        if symbol is None:
            raise ParseError(text, position, "expected a unit")
        unit = registry.resolve(symbol["symbol"], dimension)
        dimension = _agree(dimension, unit.dimension, text)
        total += number * unit.factor
        position = _skip_blank(text, symbol.end())
    assert dimension is not None
    return Quantity(total, dimension)


def _number(text: str, position: int) -> tuple[Fraction, int]:
    match = NUMBER.match(text, position)
    if match is None:
        raise ParseError(text, position, "expected a number")
    try:
        return value_of(match), match.end()
    except ZeroDivisionError:
        raise ParseError(text, position, "zero denominator") from None


def _agree(seen: Dimension | None, new: Dimension, text: str) -> Dimension:
    if seen is not None and seen is not new:
        raise DimensionError(f"{text!r} mixes {seen.value} and {new.value}")
    return new


def _skip_blank(text: str, position: int) -> int:
    match = BLANK.match(text, position)
    assert match is not None
    return match.end()
