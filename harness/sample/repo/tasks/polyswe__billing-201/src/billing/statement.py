"""Computing an invoice: discount, taxes, totals. The rules are in the README."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from billing.invoice import Invoice, Line
from billing.money import Money
from billing.tax import rate_of


@dataclass(frozen=True)
class LineStatement:
    line: Line
    discount: Money
    net: Money
    tax: Money

    @property
    def total(self) -> Money:
        return self.net + self.tax


@dataclass(frozen=True)
class TaxGroup:
    """All lines of one tax code."""

    code: str
    net: Money
    tax: Money


@dataclass(frozen=True)
class Statement:
    number: str
    lines: list[LineStatement]
    groups: list[TaxGroup]
    net: Money
    tax: Money
    total: Money


def statement(invoice: Invoice) -> Statement:
    """All amounts of an invoice; lines in its order, tax groups in the order in which their codes appear."""
    zero = Money(0, invoice.currency)
    subtotal = invoice.subtotal
    discount = invoice.discount or zero
    lines = []
    for line in invoice.lines:
        share = discount.times(_fraction(line.amount, subtotal))
        net = line.amount - share
        lines.append(LineStatement(line, share, net, net.times(rate_of(line.tax_code))))
    groups = []
    for code in dict.fromkeys(line.tax_code for line in invoice.lines):
        amount = Money.sum((line.amount for line in invoice.lines if line.tax_code == code), invoice.currency)
        net = amount - discount.times(_fraction(amount, subtotal))
        groups.append(TaxGroup(code, net, net.times(rate_of(code))))
    net = subtotal - discount
    tax = Money.sum((group.tax for group in groups), invoice.currency)
    return Statement(invoice.number, lines, groups, net, tax, net + tax)


def _fraction(part: Money, whole: Money) -> Decimal:
    return Decimal(part.minor) / Decimal(whole.minor) if whole.minor else Decimal(0)
