from datetime import date
from itertools import islice

from recurra import Series, occurrences, parse_rule


def first(text, count=5, since=None):
    return [str(day) for day in islice(occurrences(parse_rule(text), since), count)]


def test_days_and_weeks():
    assert first("every 10 days from 2024-02-20", 3) == ["2024-02-20", "2024-03-01", "2024-03-11"]
    assert first("every 2 weeks from 2024-12-20", 3) == ["2024-12-20", "2025-01-03", "2025-01-17"]


def test_months_and_years():
    assert first("every 5 months from 2024-01-15", 3) == ["2024-01-15", "2024-06-15", "2024-11-15"]
    assert first("every year from 2023-07-01", 2) == ["2023-07-01", "2024-07-01"]


def test_short_month_takes_its_last_day():
    assert first("every month from 2023-01-31", 2) == ["2023-01-31", "2023-02-28"]


def test_short_months_are_skipped_on_request():
    assert first("every month from 2024-01-31, skip short months", 3) == ["2024-01-31", "2024-03-31", "2024-05-31"]
    assert first("every year from 2024-02-29, skip short months", 2) == ["2024-02-29", "2028-02-29"]


def test_until_and_times():
    assert first("every day from 2024-01-01, until 2024-01-02") == ["2024-01-01", "2024-01-02"]
    assert first("every day from 2024-01-01, 2 times") == ["2024-01-01", "2024-01-02"]
    assert first("every day from 2024-01-01, 3 times", since=date(2024, 1, 3)) == ["2024-01-03"]


def test_weekends():
    assert first("every month from 2024-06-15, weekends forward", 1) == ["2024-06-17"]
    assert first("every month from 2024-06-16, weekends back", 1) == ["2024-06-14"]


def test_working_days():
    assert first("every day from 2024-06-14, weekends forward", 3) == ["2024-06-14", "2024-06-17", "2024-06-18"]


def test_end_of_the_calendar():
    assert first("every 5 years from 9990-01-01") == ["9990-01-01", "9995-01-01"]


def test_since():
    assert first("every month from 1990-05-10", 2, since=date(2024, 5, 11)) == ["2024-06-10", "2024-07-10"]
    assert first("every week from 1990-05-10", 1, since=date(2024, 5, 11)) == ["2024-05-16"]


def test_series_with_exceptions():
    series = Series(
        parse_rule("every week from 2024-03-04"),
        cancelled={date(2024, 3, 11)},
        moved={date(2024, 3, 18): date(2024, 3, 20)},
    )
    assert series.between(date(2024, 3, 1), date(2024, 4, 1)) == [date(2024, 3, day) for day in (4, 20, 25)]
    assert series.next_after(date(2024, 3, 4)) == date(2024, 3, 20)


def test_series_ends():
    series = Series(parse_rule("every week from 2024-03-04, until 2024-03-12"))
    assert series.next_after(date(2024, 3, 11)) is None
