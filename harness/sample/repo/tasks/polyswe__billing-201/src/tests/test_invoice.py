from decimal import Decimal

import pytest
from billing import Invoice, InvoiceError, Line, Money, UnknownTaxCodeError, render, statement


def eur(amount):
    return Money.of(amount, "EUR")


def desk_and_manual(discount="25.00"):
    lines = [
        Line("Desk", Decimal(2), eur("249.90"), "standard"),
        Line("Manual", Decimal(1), eur("19.00"), "reduced"),
    ]
    return Invoice("2024-0017", lines, None if discount is None else eur(discount))


def test_without_discount():
    result = statement(desk_and_manual(None))
    assert [line.total for line in result.lines] == [eur("594.76"), eur("20.33")]
    assert (result.net, result.tax, result.total) == (eur("518.80"), eur("96.29"), eur("615.09"))


def test_discount_is_spread_in_proportion():
    result = statement(desk_and_manual())
    assert [line.discount for line in result.lines] == [eur("24.08"), eur("0.92")]
    assert result.total == eur("585.46")


def test_tax_groups():
    groups = statement(desk_and_manual()).groups
    assert [(group.code, group.net, group.tax) for group in groups] == [
        ("standard", eur("475.72"), eur("90.39")),
        ("reduced", eur("18.08"), eur("1.27")),
    ]


def test_tax_is_rounded_once_for_a_code():
    lines = [Line(name, Decimal(1), eur("0.13"), "standard") for name in "abc"]
    assert statement(Invoice("1", lines)).tax == eur("0.07")


def test_fractional_quantities():
    assert Line("Cable", Decimal("2.5"), eur("0.99"), "standard").amount == eur("2.48")


def test_credit_note():
    result = statement(desk_and_manual(None).credit_note("C-1"))
    assert result.total == eur("-615.09")


def test_contradictions_are_refused():
    desk = Line("Desk", Decimal(1), eur(10), "standard")
    with pytest.raises(InvoiceError, match="no lines"):
        Invoice("1", [])
    with pytest.raises(InvoiceError, match="several currencies"):
        Invoice("1", [desk, Line("Chair", Decimal(1), Money.of(10, "USD"), "standard")])
    with pytest.raises(InvoiceError, match="both signs"):
        Invoice("1", [desk, Line("Return", Decimal(-1), eur(5), "standard")])
    with pytest.raises(InvoiceError, match="between nothing and everything"):
        Invoice("1", [desk], discount=eur(11))
    with pytest.raises(UnknownTaxCodeError):
        Invoice("1", [Line("Desk", Decimal(1), eur(10), "luxury")])


def test_render():
    assert render(statement(desk_and_manual())).splitlines() == [
        "Invoice 2024-0017 (EUR)",
        "              discount     net    tax   total",
        "Desk             24.08  475.72  90.39  566.11",
        "Manual            0.92   18.08   1.27   19.35",
        "standard 19%            475.72  90.39",
        "reduced 7%               18.08   1.27",
        "total                   493.80  91.66  585.46",
    ]
