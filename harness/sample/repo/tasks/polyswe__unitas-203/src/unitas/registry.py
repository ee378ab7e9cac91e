"""Which symbols there are and what they are worth in base units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache

from .errors import UnknownUnitError


class Dimension(Enum):
    TIME = "time"
    LENGTH = "length"
    VOLUME = "volume"


@dataclass(frozen=True)
class Unit:
    """A unit and its size in base units (second, metre, litre)."""

    symbol: str
    dimension: Dimension
    factor: Fraction


class Registry:
    """Symbols to units. One symbol may stand for units of several dimensions; the first added is the usual one."""

    def __init__(self) -> None:
        self._units: dict[str, list[Unit]] = {}

    def add(self, symbol: str, dimension: Dimension, factor: str | int | Fraction, aliases: Iterable[str] = ()) -> Unit:
        unit = Unit(symbol, dimension, Fraction(factor))
        for name in (symbol, *aliases):
            self._units.setdefault(name, []).append(unit)
        return unit

    def resolve(self, symbol: str, dimension: Dimension | None = None) -> Unit:
        """The unit of this symbol, of the wanted dimension where there is a choice."""
        candidates = self._units.get(symbol)
        if not candidates:
            raise UnknownUnitError(f"unknown unit {symbol!r}")
        for unit in candidates:
            if unit.dimension is dimension:
                return unit
        return candidates[0]


@lru_cache(maxsize=1)
def default_registry() -> Registry:
    reg = Registry()
    reg.add("m", Dimension.LENGTH, 1, ["metre"])
    reg.add("cm", Dimension.LENGTH, "1/100")
    reg.add("km", Dimension.LENGTH, 1000)
    reg.add("in", Dimension.LENGTH, "0.0254", ["inch"])
    reg.add("ft", Dimension.LENGTH, "0.3048", ["foot", "feet"])
    reg.add("s", Dimension.TIME, 1, ["sec"])
    reg.add("ms", Dimension.TIME, "1/1000")
    reg.add("min", Dimension.TIME, 60, ["m"])
    reg.add("h", Dimension.TIME, 3600, ["hr"])
    reg.add("d", Dimension.TIME, 86400, ["day", "days"])
    reg.add("l", Dimension.VOLUME, 1, ["L"])
    reg.add("ml", Dimension.VOLUME, "1/1000")
    reg.add("cup", Dimension.VOLUME, "0.2365882365", ["cups"])
    return reg
