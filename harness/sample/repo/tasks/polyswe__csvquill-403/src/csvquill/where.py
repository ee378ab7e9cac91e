"""Conditions on records."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from csvquill.errors import ConditionError
from csvquill.table import Record, Table

_CONDITION = re.compile(r"\s*(?P<column>[^=!~<>]+?)\s*(?P<op><=|>=|!=|[=~<>])(?P<value>.*)", re.DOTALL)
_TEXTUAL: dict[str, Callable[[str, str], bool]] = {"=": operator.eq, "!=": operator.ne, "~": operator.contains}
_NUMERIC: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Condition:
    """`column op value`, as written by the user."""

    column: str
    op: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ConditionError(f"cannot understand condition {text!r}")
        condition = cls(match["column"], match["op"], match["value"].strip())
        if condition.op in _NUMERIC and _number(condition.value) is None:
            raise ConditionError(f"{condition.op} needs a number, not {condition.value!r}")
        return condition

    def test(self, table: Table) -> Callable[[Record], bool]:
        """The condition as a function of records of `table`."""
        try:
            position = table.column(self.column)
        except KeyError:
            raise ConditionError(f"no column {self.column!r}; there are {', '.join(table.header)}") from None
        if self.op in _TEXTUAL:
            holds = _TEXTUAL[self.op]
            return lambda record: holds(record.fields[position], self.value)
        compare, limit = _NUMERIC[self.op], float(self.value)

        def numeric(record: Record) -> bool:
            number = _number(record.fields[position])
            return number is not None and compare(number, limit)

        return numeric


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
