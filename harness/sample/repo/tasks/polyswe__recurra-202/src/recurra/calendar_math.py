"""Arithmetic on dates that the standard library lacks."""

from calendar import monthrange
from datetime import date, timedelta

from .rule import Weekends

SATURDAY = 5


def month_number(day: date) -> int:
    """Months since January of the year 0."""
    return 12 * day.year + day.month - 1


def in_month(number: int, day: int, clip: bool = True) -> date | None:
    """The `day` of a month given by its number, or where it does not exist the last day (None without `clip`).

    Raises OverflowError behind the year 9999.
    """
    year, month = divmod(number, 12)
    if year > date.max.year:
        raise OverflowError("the date is behind the year 9999")
    last = monthrange(year, month + 1)[1]
    if day > last and not clip:
        return None
    return date(year, month + 1, min(day, last))


def off_weekend(day: date, weekends: Weekends) -> date:
    """The weekday on which a date is observed."""
    excess = day.weekday() - SATURDAY
    if weekends is Weekends.KEEP or excess < 0:
        return day
    return day + timedelta(days=2 - excess) if weekends is Weekends.FORWARD else day - timedelta(days=1 + excess)
