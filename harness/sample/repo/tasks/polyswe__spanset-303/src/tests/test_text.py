from fractions import Fraction

import pytest

from spanset import EMPTY, Span, SpanSyntaxError, parse


def test_membership_follows_the_brackets():
    some = parse("[1,2) | (4,5]")
    assert [x in some for x in (1, 2, 4, 5)] == [True, False, False, True]


def test_points_and_fractions():
    assert str(parse("{3, 1/2}")) == "{1/2} | {3}"
    assert Fraction(1, 2) in parse("{0.5}")


def test_infinite_ends_are_open():
    assert str(parse("[-inf,3]")) == "(-inf,3]"


def test_empty_forms():
    assert parse("{}") == EMPTY
    assert parse("(3,3)") == EMPTY
    assert str(EMPTY) == "{}"


def test_malformed():
    for text in ("", "[1,2", "[1;2]", "[a,2]", "[3,1]", "[1,1/0]"):
        with pytest.raises(SpanSyntaxError):
            parse(text)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        Span(float("nan"), 1)
