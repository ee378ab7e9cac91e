from datetime import datetime

import pytest
from logsift import Query, QueryError, Record

CART = Record(
    ("2024-05-01 12:00:03,417 ERROR shop.cart: checkout failed",),
    datetime(2024, 5, 1, 12, 0, 3, 417000),
    "error",
    "shop.cart",
)


def matches(query, record=CART):
    return Query.parse(query).matches(record)


def test_levels():
    assert all(matches(query) for query in ("level>=warning", "level=error", "level=ERR"))
    assert not matches("level<=warn")


def test_loggers_include_the_ones_below():
    assert [matches(f"logger={name}") for name in ("shop", "shop.cart")] == [True, True]
    assert [matches(f"logger={name}") for name in ("sho", "shop.cart.tax")] == [False, False]


def test_text_ignores_case():
    assert matches('"Checkout FAILED"')
    assert not matches("timeout")


def test_times():
    assert matches("since=2024-05-01T12:00 until=2024-05-01T12:01")
    assert not matches("until=2024-05-01T12:00:03")


def test_negation():
    assert matches("-logger=health -timeout")
    assert not matches("-checkout")


def test_bad_queries():
    for query in ("level=loud", "logger>=shop", "since=yesterday", '"open'):
        with pytest.raises(QueryError):
            Query.parse(query)
