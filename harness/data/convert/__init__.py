"""Rows of other datasets, completed to what swebench 5 grades by: one small converter for each source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.data.checks import faults_of, readable
from harness.data.convert import live, swe_gym, swe_rebench
from harness.data.convert.refused import REFUSED
from harness.data.convert.script import UnfitRowError
from harness.errors import InputError


class Converter(Protocol):
    """A module that converts the rows of one source."""

    TITLE: str
    """What the source is called."""

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is of this source, by its columns."""

    def convert(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with image, eval_script, log_parser and eval_type.

        Raises:
            UnfitRowError: this row lacks something.
        """


CONVERTERS: tuple[Converter, ...] = (swe_rebench, live, swe_gym)
"""The first one that matches converts a row."""


@dataclass(frozen=True)
class Converted:
    """What became of a dataset's rows."""

    source: str
    """What the dataset was taken for."""
    rows: Sequence[Mapping[str, Any]]
    left_out: Mapping[str, int]
    """Why rows were left out → how many."""


def convert_rows(rows: Sequence[Mapping[str, Any]], name: str) -> Converted:
    """Complete rows that can be graded; those that cannot are left out and counted.

    Args:
        rows: of one dataset.
        name: the dataset's, for messages.

    Raises:
        InputError: the rows need no conversion, are of a source that cannot be converted or of none that is known, or
            none of them can be graded.
    """
    if not rows:
        raise InputError(f"dataset {name}: no rows")
    converter = source_of(rows[0], name)
    converted, reasons = [], Counter[str]()
    for row in rows:
        try:
            complete = readable(converter.convert(row))
        except UnfitRowError as error:
            reasons[str(error)] += 1
            continue
        if faults := faults_of(complete):
            reasons[faults[0]] += 1
        else:
            converted.append(complete)
    if not converted:
        reason, count = reasons.most_common(1)[0]
        raise InputError(
            f"dataset {name}: none of {len(rows)} {converter.TITLE} rows can be graded; {count} × {reason}"
        )
    return Converted(converter.TITLE, converted, dict(reasons.most_common()))


def advice_for(row: Mapping[str, Any], name: str) -> str:
    """What to do about a row of another benchmark that lacks its script; empty for a row of none that is known."""
    for refused in REFUSED:
        if refused.matches(row):
            return f"{refused.title} rows cannot be graded, because {refused.because}"
    titles = [converter.TITLE for converter in CONVERTERS if converter.matches(row)]
    return f"these are {titles[0]} rows: polyswe dataset convert {name} --out FILE completes them" if titles else ""


def source_of(row: Mapping[str, Any], name: str) -> Converter:
    """The converter for a dataset's rows, judged by one of them.

    Raises:
        InputError: there is none; the message says why.
    """
    if row.get("eval_script") and row.get("image"):
        raise InputError(f"dataset {name}: its rows have image and eval_script already; use it as it is")
    for refused in REFUSED:
        if refused.matches(row):
            raise InputError(f"dataset {name}: {refused.title} rows cannot be converted, because {refused.because}")
    for converter in CONVERTERS:
        if converter.matches(row):
            return converter
    known = ", ".join(converter.TITLE for converter in CONVERTERS)
    raise InputError(
        f"dataset {name}: its rows are of no source that can be converted ({known}); "
        "harness/docs/datasets.md lists the columns that a row needs"
    )
