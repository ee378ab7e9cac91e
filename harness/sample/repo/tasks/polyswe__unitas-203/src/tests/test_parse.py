from fractions import Fraction

import pytest

from unitas import DimensionError, ParseError, UnknownUnitError, parse


def test_single_term():
    assert parse("90 min").to("h") == Fraction(3, 2)


def test_compound_without_blanks():
    assert parse("1h30m15s").to("s") == 5415


def test_mixed_number():
    assert parse("1 1/2 cup").to("cup") == Fraction(3, 2)


def test_decimal_is_exact():
    assert parse("0.1 m").to("cm") == 10


def test_m_depends_on_company():
    assert parse("2 m").to("cm") == 200
    assert parse("1h 2m").to("min") == 62


def test_negative_single_term():
    assert parse("-45 min").to("s") == -2700
    assert parse("-3/4 h").to("min") == -45


def test_later_term_with_its_own_sign():
    assert parse("1h -30m").to("min") == 30
    assert parse("-1h -30m").to("min") == -90
    assert parse("-1h +30m").to("min") == -30


def test_errors():
    with pytest.raises(ParseError):
        parse("  ")
    with pytest.raises(ParseError):
        parse("1/0 h")
    with pytest.raises(ParseError):
        parse("12")
    with pytest.raises(UnknownUnitError):
        parse("3 parsecs")
    with pytest.raises(DimensionError):
        parse("1 ft 3 s")
