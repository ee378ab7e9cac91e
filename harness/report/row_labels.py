"""How a row of the results is named and told apart, in the page and in the figures."""

from __future__ import annotations

from typing import Literal

from harness.evaluation.schema import Row
from harness.report.text import count, signed

Tone = Literal["single", "held", "unseen", "pale", "bound"]

EVALUATIONS = {
    "cross-fitted": "held out",
    "leave-one-repository-out": "unseen repositories",
    "in-sample": "in-sample",
    "recorded": "recorded",
    "live": "live",
}


def chip(row: Row) -> str:
    """How the row was obtained, in a word or two."""
    if row.kind == "oracle":
        return "bound"
    if row.kind == "random":
        return "expectation"
    return EVALUATIONS[row.evaluation]


def tone(row: Row) -> Tone:
    """How much a row's marks stand out: most what may be quoted, least what is fitted on its own test."""
    if row.kind in ("oracle", "random"):
        return "bound"
    if row.kind == "single":
        return "single"
    if row.evaluation == "in-sample":
        return "pale"
    return "unseen" if row.evaluation == "leave-one-repository-out" else "held"


def difference(row: Row) -> str:
    """To the best single model, with its interval; empty where there is none."""
    vs = row.vs_best_single
    return "" if vs is None else f"{signed(vs.delta)} [{signed(vs.ci95[0])}, {signed(vs.ci95[1])}]"


def bounds_of(row: Row) -> str:
    """Between what the count lies where verdicts are missing; empty where none is."""
    if row.bounds is None:
        return ""
    return f"{count(row.bounds[0])} to {count(row.bounds[1])} with the {row.missing} without verdict"
