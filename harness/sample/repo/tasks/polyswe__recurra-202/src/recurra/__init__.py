"""Dates that come again."""

from .grammar import RuleError, describe, parse_rule
from .occurrences import occurrences
from .rule import Rule, Unit, Weekends
from .series import Series

__all__ = ["Rule", "RuleError", "Series", "Unit", "Weekends", "describe", "occurrences", "parse_rule"]
