from dataclasses import dataclass
from datetime import date
from enum import Enum


class Unit(Enum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Weekends(Enum):
    """What happens to dates on Saturdays and Sundays."""

    KEEP = "keep"
    FORWARD = "forward"
    BACK = "back"


@dataclass(frozen=True)
class Rule:
    """Every `interval` units from `start`, see README."""

    start: date
    unit: Unit
    interval: int = 1
    until: date | None = None
    times: int | None = None
    weekends: Weekends = Weekends.KEEP
    skip_short: bool = False

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"interval must be positive, not {self.interval}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be positive, not {self.times}")
        if self.until is not None and self.until < self.start:
            raise ValueError(f"the rule ends on {self.until}, before it starts on {self.start}")

    @property
    def months(self) -> int:
        """Length of a period in months, 0 for days and weeks."""
        return {Unit.MONTH: self.interval, Unit.YEAR: 12 * self.interval}.get(self.unit, 0)

    @property
    def days(self) -> int:
        """Length of a period in days, 0 for months and years."""
        return {Unit.DAY: self.interval, Unit.WEEK: 7 * self.interval}.get(self.unit, 0)
