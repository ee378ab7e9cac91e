"""One interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

Number = int | float | Fraction
INF = math.inf


@dataclass(frozen=True)
class Span:
    """All numbers between ``lo`` and ``hi``; ``lo_in`` and ``hi_in`` tell whether the ends belong to it."""

    lo: Number
    hi: Number
    lo_in: bool = True
    hi_in: bool = False

    def __post_init__(self) -> None:
        if self.lo != self.lo or self.hi != self.hi:
            raise ValueError("an end of a span cannot be NaN")
        if (self.lo_in and math.isinf(self.lo)) or (self.hi_in and math.isinf(self.hi)):
            object.__setattr__(self, "lo_in", self.lo_in and not math.isinf(self.lo))
            object.__setattr__(self, "hi_in", self.hi_in and not math.isinf(self.hi))

    @classmethod
    def point(cls, value: Number) -> Span:
        return cls(value, value, True, True)

    @property
    def empty(self) -> bool:
        return self.lo >= self.hi and not (self.lo == self.hi and self.lo_in and self.hi_in)

    def __contains__(self, value: Number) -> bool:
        above = self.lo < value or (self.lo_in and value == self.lo)
        below = value < self.hi or (self.hi_in and value == self.hi)
        return above and below

    def __str__(self) -> str:
        if self.lo == self.hi and self.lo_in and self.hi_in:
            return f"{{{self.lo}}}"
        return f"{'[' if self.lo_in else '('}{self.lo},{self.hi}{']' if self.hi_in else ')'}"
