"""Rule → dates."""

from collections.abc import Iterator
from datetime import date, timedelta

from .calendar_math import in_month, month_number, off_weekend
from .rule import Rule


def occurrences(rule: Rule, since: date | None = None) -> Iterator[date]:
    """Dates of a rule in ascending order, from `since` on. Endless unless the rule or the calendar ends."""
    reported = 0
    current: date | None = rule.start
    if since is not None and rule.times is None:
        current = _skip_ahead(rule, since)
    while current is not None:
        current = off_weekend(current, rule.weekends)
        if rule.until is not None and current > rule.until:
            return
        reported += 1
        if since is None or current >= since:
            yield current
        if reported == rule.times:
            return
        current = _following(rule, current)


def _following(rule: Rule, current: date) -> date | None:
    """The date one period later, or several when short months are skipped. None at the end of the calendar."""
    try:
        if rule.days:
            return current + timedelta(days=rule.days)
        number = month_number(current)
        while True:
            number += rule.months
            following = in_month(number, current.day, clip=not rule.skip_short)
            if following is not None:
                return following
    except OverflowError:
        return None


def _skip_ahead(rule: Rule, since: date) -> date:
    """A date of the rule from which all dates at `since` or later can be reached, so that old rules stay fast."""
    if since <= rule.start:
        return rule.start
    if rule.days:
        return rule.start + timedelta(days=(since - rule.start).days // rule.days * rule.days)
    periods = (month_number(since) - month_number(rule.start)) // rule.months
    while periods > 0:
        landing = in_month(month_number(rule.start) + periods * rule.months, rule.start.day, clip=not rule.skip_short)
        if landing is not None:
            return landing
        periods -= 1
    return rule.start
