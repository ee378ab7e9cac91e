"""Rules as text."""

import re
from datetime import date
from typing import Any

from .rule import Rule, Unit, Weekends

_HEAD = re.compile(r"every (?:(?P<interval>\d+) )?(?P<unit>day|week|month|year)s? from (?P<start>\d{4}-\d\d-\d\d)")


class RuleError(ValueError):
    """The text is no rule."""


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RuleError(f"no such day: {text!r}") from None


def parse_rule(text: str) -> Rule:
    """Raises RuleError."""
    head, *options = (part.strip() for part in text.split(","))
    match = _HEAD.fullmatch(head)
    if match is None:
        raise RuleError(f"cannot read {head!r}")
    found: dict[str, Any] = {}
    for option in options:
        if option.startswith("until "):
            found["until"] = _date(option.removeprefix("until "))
        elif times := re.fullmatch(r"(\d+) times", option):
            found["times"] = int(times[1])
        elif weekends := re.fullmatch(r"weekends (forward|back)", option):
            found["weekends"] = Weekends(weekends[1])
        elif option == "skip short months":
            found["skip_short"] = True
        else:
            raise RuleError(f"cannot read {option!r}")
    try:
        return Rule(_date(match["start"]), Unit(match["unit"]), int(match["interval"] or 1), **found)
    except ValueError as error:
        raise RuleError(str(error)) from None


def describe(rule: Rule) -> str:
    """Text that parse_rule reads back."""
    unit = rule.unit.value if rule.interval == 1 else f"{rule.interval} {rule.unit.value}s"
    parts = [f"every {unit} from {rule.start}"]
    if rule.until is not None:
        parts.append(f"until {rule.until}")
    if rule.times is not None:
        parts.append(f"{rule.times} times")
    if rule.weekends is not Weekends.KEEP:
        parts.append(f"weekends {rule.weekends.value}")
    if rule.skip_short:
        parts.append("skip short months")
    return ", ".join(parts)
