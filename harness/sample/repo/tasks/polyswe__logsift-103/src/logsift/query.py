"""The query language, see README."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from logsift.record import Record, level_number

Test = Callable[[Record], bool]

_FIELD = re.compile(r"(?P<name>level|logger|since|until)(?P<operator>>=|<=|=)(?P<value>.*)")


class QueryError(ValueError):
    """The query does not follow the grammar."""


def _level(operator: str, value: str) -> Test:
    try:
        bound = level_number(value)
    except KeyError:
        raise QueryError(f"unknown level {value!r}") from None
    if operator == ">=":
        return lambda record: record.severity is not None and record.severity >= bound
    if operator == "<=":
        return lambda record: record.severity is not None and record.severity <= bound
    return lambda record: record.severity == bound


def _logger(value: str) -> Test:
    return lambda record: record.logger is not None and f"{record.logger}.".startswith(f"{value}.")


def _time(name: str, value: str) -> Test:
    try:
        bound = datetime.fromisoformat(value)
    except ValueError:
        raise QueryError(f"{name} needs a time such as 2024-05-01T12:00, not {value!r}") from None
    if name == "since":
        return lambda record: record.time is not None and record.time >= bound
    return lambda record: record.time is not None and record.time < bound


def _term(term: str) -> Test:
    match = _FIELD.fullmatch(term)
    if match is None:
        needle = term.casefold()
        return lambda record: needle in record.text.casefold()
    name, operator, value = match["name"], match["operator"], match["value"]
    if name == "level":
        return _level(operator, value)
    if operator != "=":
        raise QueryError(f"{name} can only be compared with =")
    return _logger(value) if name == "logger" else _time(name, value)


@dataclass(frozen=True)
class Query:
    """A conjunction of tests, each possibly negated."""

    terms: tuple[tuple[bool, Test], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Query:
        """Raises QueryError."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise QueryError(f"cannot read {text!r}: {error}") from None
        terms = []
        for word in words:
            negated = word.startswith("-") and len(word) > 1
            terms.append((not negated, _term(word[1:] if negated else word)))
        return cls(tuple(terms))

    def matches(self, record: Record) -> bool:
        return all(test(record) is wanted for wanted, test in self.terms)
