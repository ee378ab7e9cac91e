"""Interval sets over the real line."""

from .sets import EMPTY, REALS, SpanSet
from .span import Span
from .text import SpanSyntaxError, parse

__all__ = ["EMPTY", "REALS", "Span", "SpanSet", "SpanSyntaxError", "parse"]
