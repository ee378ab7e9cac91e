"""A number of base units together with its dimension."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .errors import DimensionError
from .registry import Dimension, Registry, default_registry


@dataclass(frozen=True, order=False)
class Quantity:
    """``amount`` counts base units (seconds, metres, litres) of ``dimension``."""

    amount: Fraction
    dimension: Dimension

    @classmethod
    def of(cls, number: int | Fraction | str, symbol: str, registry: Registry | None = None) -> Quantity:
        unit = (registry or default_registry()).resolve(symbol)
        return cls(Fraction(number) * unit.factor, unit.dimension)

    def to(self, symbol: str, registry: Registry | None = None) -> Fraction:
        """How many of the named unit this is, exactly."""
        unit = (registry or default_registry()).resolve(symbol, self.dimension)
        if unit.dimension is not self.dimension:
            raise DimensionError(f"cannot express a {self.dimension.value} in {symbol}")
        return self.amount / unit.factor

    def _check(self, other: Quantity) -> None:
        if self.dimension is not other.dimension:
            raise DimensionError(f"cannot combine a {self.dimension.value} with a {other.dimension.value}")

    def __add__(self, other: Quantity) -> Quantity:
        self._check(other)
        return Quantity(self.amount + other.amount, self.dimension)

    def __sub__(self, other: Quantity) -> Quantity:
        self._check(other)
        return Quantity(self.amount - other.amount, self.dimension)

    def __neg__(self) -> Quantity:
        return Quantity(-self.amount, self.dimension)

    def __mul__(self, number: int | Fraction) -> Quantity:
        return Quantity(self.amount * number, self.dimension)

    def __lt__(self, other: Quantity) -> bool:
        self._check(other)
        return self.amount < other.amount
