"""From a quantity to text in a chosen row of units."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from .errors import DimensionError, UnitasError
from .quantity import Quantity
from .registry import Registry, Unit, default_registry


def render(
    quantity: Quantity, symbols: Sequence[str], places: int | None = None, registry: Registry | None = None
) -> str:
    """Write ``quantity`` in the given units, largest first: ``1 h 30 min``.

    All terms are whole numbers except the last, which takes what is left: an exact fraction
    (``1 1/2``) or, with ``places``, a decimal rounded half to even.
    """
    units = _ladder(quantity, symbols, registry or default_registry())
    smallest = units[-1]
    rest = quantity.amount
    if places is not None:
        step = smallest.factor / 10**places
        rest = round(rest / step) * step
    terms: list[str] = []
    for unit in units[:-1]:
        count, rest = divmod(rest, unit.factor)
        if count:
            terms.append(f"{count} {unit.symbol}")
    if rest or not terms:
        terms.append(f"{_number(rest / smallest.factor, places)} {smallest.symbol}")
    return " ".join(terms)


def _ladder(quantity: Quantity, symbols: Sequence[str], registry: Registry) -> list[Unit]:
    if not symbols:
        raise UnitasError("render needs at least one unit")
    units = [registry.resolve(symbol, quantity.dimension) for symbol in symbols]
    for unit in units:
        if unit.dimension is not quantity.dimension:
            raise DimensionError(f"cannot express a {quantity.dimension.value} in {unit.symbol}")
    return sorted(units, key=lambda unit: unit.factor, reverse=True)


def _number(value: Fraction, places: int | None) -> str:
    if places is not None:
        scaled = round(value * 10**places)
        whole, decimals = divmod(scaled, 10**places)
        return f"{whole}.{decimals:0{places}d}" if places else str(whole)
    whole, part = divmod(value, 1)
    if not part:
        return str(whole)
    return f"{whole} {part}" if whole else str(part)
