"""Exact amounts of money."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

_DIGITS = {"EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3, "USD": 2}


class CurrencyError(ValueError):
    """Unknown currency, or two currencies where there must be one."""


@dataclass(frozen=True)
class Money:
    """A number of minor units of a currency: Money(1999, "EUR") is 19.99 EUR."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in _DIGITS:
            raise CurrencyError(f"unknown currency {self.currency!r}")

    @classmethod
    def of(cls, amount: str | int | Decimal, currency: str) -> Money:
        """From major units. Raises ValueError when the amount has more digits than the currency."""
        zero = cls(0, currency)
        minor = Decimal(amount).scaleb(zero.digits)
        if minor != minor.to_integral_value():
            raise ValueError(f"{amount} {currency} has too many decimals")
        return cls(int(minor), currency)

    @classmethod
    def sum(cls, amounts: Iterable[Money], currency: str) -> Money:
        total = cls(0, currency)
        for amount in amounts:
            total += amount
        return total

    @property
    def digits(self) -> int:
        return _DIGITS[self.currency]

    def __str__(self) -> str:
        return f"{Decimal(self.minor).scaleb(-self.digits):.{self.digits}f} {self.currency}"

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise CurrencyError(f"cannot add {other.currency} to {self.currency}")
        return Money(self.minor + other.minor, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        return self + -other

    def times(self, factor: Decimal | int) -> Money:
        """Product, rounded half away from zero."""
        return Money(int((self.minor * Decimal(factor)).to_integral_value(ROUND_HALF_UP)), self.currency)

    def allocate(self, weights: Sequence[int]) -> list[Money]:
        """Parts in proportion to `weights` that add up to this amount; see README for who gets the leftover units.

        Raises ValueError for negative weights and when all weights are zero.
        """
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise ValueError(f"cannot allocate by weights {list(weights)}")
        parts = [self.minor * weight // total for weight in weights]
        lost = [self.minor * weight % total for weight in weights]
        for index in sorted(range(len(parts)), key=lambda i: (-lost[i], i))[: self.minor - sum(parts)]:
            parts[index] += 1
        return [Money(part, self.currency) for part in parts]
