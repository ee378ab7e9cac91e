import pytest
from eventide.topics import check_pattern, check_topic, matches


def test_plain_patterns():
    assert matches("order.paid", "order.paid")
    assert not matches("order.paid", "order")
    assert not matches("order", "order.paid")


def test_star_is_one_segment():
    assert matches("order.*", "order.paid")
    assert not matches("order.*", "order")
    assert not matches("order.*", "order.paid.late")
    assert matches("*.paid", "order.paid")


def test_double_star_is_the_rest():
    for topic in ("order", "order.paid", "order.paid.late"):
        assert matches("order.**", topic)
    assert matches("**", "anything")
    assert not matches("order.**", "orders.paid")


def test_malformed():
    for pattern in ("", "a..b", "**.a"):
        with pytest.raises(ValueError, match="pattern"):
            check_pattern(pattern)
    for topic in ("", "a.", "a.*"):
        with pytest.raises(ValueError, match="topic"):
            check_topic(topic)
