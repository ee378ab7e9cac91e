"""What is billed, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from billing.money import Money
from billing.tax import rate_of


class InvoiceError(ValueError):
    """The invoice contradicts itself."""


@dataclass(frozen=True)
class Line:
    description: str
    quantity: Decimal
    unit_price: Money
    tax_code: str

    @property
    def amount(self) -> Money:
        """Before discount and tax."""
        return self.unit_price.times(self.quantity)


@dataclass(frozen=True)
class Invoice:
    """An invoice, or a credit note when its amounts are negative. `discount` has the sign of the lines."""

    number: str
    lines: Sequence[Line]
    discount: Money | None = None

    def __post_init__(self) -> None:
        if not self.lines:
            raise InvoiceError(f"invoice {self.number} has no lines")
        amounts = [line.amount.minor for line in self.lines]
        if min(amounts) < 0 < max(amounts):
            raise InvoiceError(f"invoice {self.number} has lines of both signs")
        if {line.unit_price.currency for line in self.lines} != {self.currency}:
            raise InvoiceError(f"invoice {self.number} has lines in several currencies")
        for line in self.lines:
            rate_of(line.tax_code)
        if self.discount is not None:
            if self.discount.currency != self.currency:
                raise InvoiceError(f"discount of invoice {self.number} is not in {self.currency}")
            if not 0 <= self.discount.minor * (1 if self.subtotal.minor >= 0 else -1) <= abs(self.subtotal.minor):
                raise InvoiceError(f"discount of invoice {self.number} is not between nothing and everything")

    @property
    def currency(self) -> str:
        return self.lines[0].unit_price.currency

    @property
    def subtotal(self) -> Money:
        """Sum of the amounts of the lines."""
        return Money.sum((line.amount for line in self.lines), self.currency)

    def credit_note(self, number: str) -> Invoice:
        """Takes the whole invoice back."""
        lines = [replace(line, quantity=-line.quantity) for line in self.lines]
        return Invoice(number, lines, None if self.discount is None else -self.discount)
