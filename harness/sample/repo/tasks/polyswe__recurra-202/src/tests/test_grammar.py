from datetime import date

import pytest
from recurra import Rule, RuleError, Unit, Weekends, describe, parse_rule


def test_parse():
    assert parse_rule("every 2 weeks from 2024-03-04, until 2024-06-01, weekends back") == Rule(
        date(2024, 3, 4), Unit.WEEK, 2, until=date(2024, 6, 1), weekends=Weekends.BACK
    )


def test_describe_is_read_back():
    for text in (
        "every day from 2024-01-01, 3 times",
        "every 3 months from 2024-01-31, skip short months",
        "every year from 2024-02-29, until 2040-01-01, weekends forward",
    ):
        assert describe(parse_rule(text)) == text


def test_nonsense_is_refused():
    for text in (
        "monthly",
        "every month from 2024-02-30",
        "every 0 days from 2024-01-01",
        "every day from 2024-01-01, sometimes",
        "every day from 2024-01-01, until 2023-01-01",
    ):
        with pytest.raises(RuleError):
            parse_rule(text)
