from fractions import Fraction

import pytest

from unitas import DimensionError, Quantity, parse, render


def test_compound():
    assert render(parse("5400 s"), ["h", "min"]) == "1 h 30 min"


def test_order_of_units_does_not_matter():
    assert render(parse("66 in"), ["in", "ft"]) == "5 ft 6 in"


def test_fraction_in_last_term():
    assert render(Quantity.of(Fraction(5, 2), "cup"), ["cup"]) == "2 1/2 cup"


def test_rounding_carries_into_the_larger_unit():
    assert render(parse("3599.96 s"), ["h", "min", "s"], places=1) == "1 h"


def test_places():
    assert render(parse("1.005 s"), ["s"], places=2) == "1.00 s"


def test_zero():
    assert render(parse("0 h"), ["h", "min"]) == "0 min"


def test_wrong_dimension():
    with pytest.raises(DimensionError):
        render(parse("1 h"), ["ft"])
