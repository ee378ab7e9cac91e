import pytest
from bucketeer import Rate


def test_parse():
    assert Rate.parse("100/min") == Rate(100, 60_000_000_000)
    assert Rate.parse(" 3 / 10s ") == Rate(3, 10_000_000_000)
    assert Rate.parse("1/250ms") == Rate(1, 250_000_000)


def test_nonsense_is_refused():
    for text in ("", "5", "5/", "x/s", "0/s", "3/0s", "5/week"):
        with pytest.raises(ValueError, match="rate"):
            Rate.parse(text)
