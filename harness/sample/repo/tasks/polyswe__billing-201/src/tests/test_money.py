from decimal import Decimal

import pytest
from billing import CurrencyError, Money, instalments


def eur(amount):
    return Money.of(amount, "EUR")


def test_text():
    assert str(eur("19.9")) == "19.90 EUR"
    assert str(Money.of(1200, "JPY")) == "1200 JPY"
    assert str(Money(-5, "KWD")) == "-0.005 KWD"


def test_too_many_decimals():
    with pytest.raises(ValueError, match="too many decimals"):
        eur("0.001")
    with pytest.raises(ValueError, match="too many decimals"):
        Money.of("0.5", "JPY")


def test_currencies_do_not_mix():
    with pytest.raises(CurrencyError):
        eur(1) + Money.of(1, "USD")
    with pytest.raises(CurrencyError):
        Money.of(1, "XXX")


def test_rounding_is_half_away_from_zero():
    assert eur("0.05").times(Decimal("0.5")) == eur("0.03")
    assert eur("-0.05").times(Decimal("0.5")) == eur("-0.03")


def test_leftover_units_go_to_the_largest_fractions():
    assert eur("0.10").allocate([1, 1, 1]) == [eur("0.04"), eur("0.03"), eur("0.03")]
    assert eur("0.10").allocate([1, 0, 5]) == [eur("0.02"), eur(0), eur("0.08")]


def test_weights_must_make_sense():
    for weights in ([0, 0], [2, -1]):
        with pytest.raises(ValueError, match="cannot allocate"):
            eur(1).allocate(weights)


def test_instalments():
    assert instalments(eur(100), 3) == [eur("33.34"), eur("33.33"), eur("33.33")]
    with pytest.raises(ValueError, match="0 instalments"):
        instalments(eur(100), 0)
