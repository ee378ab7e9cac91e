"""A rule with exceptions."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import takewhile

from .occurrences import occurrences
from .rule import Rule

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Series:
    """`moved` maps dates of the rule to the days on which they take place instead."""

    rule: Rule
    cancelled: AbstractSet[date] = frozenset()
    moved: Mapping[date, date] = field(default_factory=dict)

    def between(self, first: date, end: date) -> list[date]:
        """Dates from `first` on and before `end`, in order."""
        regular = takewhile(lambda day: day < end, occurrences(self.rule, since=first))
        dates = {day for day in regular if day not in self.cancelled and day not in self.moved}
        return sorted(dates | {day for day in self.moved.values() if first <= day < end})

    def next_after(self, day: date) -> date | None:
        """The first date later than `day`, None when there is none."""
        candidates = [moved for moved in self.moved.values() if moved > day]
        for regular in occurrences(self.rule, since=day + _DAY):
            if regular not in self.cancelled and regular not in self.moved:
                candidates.append(regular)
                break
        return min(candidates, default=None)
