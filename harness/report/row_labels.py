"""How the page and the figures label the rows of the results."""

from __future__ import annotations

from typing import Literal

from harness.evaluation.formats import NONE
from harness.evaluation.schema import Results, Row
from harness.report.text import count, money, signed

Tone = Literal["single", "held", "unseen", "pale", "bound"]
"""How much a row's marks stand out; CSS classes."""

EVALUATIONS = {
    "cross-fitted": "cross-fitted",
    "leave-one-repository-out": "unseen repositories",
    "in-sample": "in-sample",
    "recorded": "recorded",
    "live": "live",
}
"""How each kind of evaluation is called."""


def chip(row: Row) -> str:
    """How the row was evaluated, in a word or two."""
    if row.kind == "oracle":
        return "bound"
    if row.kind == "random":
        return "expectation"
    return EVALUATIONS[row.evaluation]


def tone(row: Row) -> Tone:
    """Rows that may be quoted stand out most, rows evaluated on what they were fitted on least."""
    if row.kind in ("oracle", "random"):
        return "bound"
    if row.kind == "single":
        return "single"
    if row.evaluation == "in-sample":
        return "pale"
    return "unseen" if row.evaluation == "leave-one-repository-out" else "held"


def difference(row: Row) -> str:
    """Difference to the best single model with its interval; empty when there is none."""
    vs = row.vs_best_single
    return "" if vs is None else f"{signed(vs.delta)} [{signed(vs.ci95[0])}, {signed(vs.ci95[1])}]"


def against_constants(row: Row) -> str:
    """Difference to the mixture of single models that costs as much, with its interval."""
    versus = row.vs_constants
    if versus is None:
        return NONE
    if row.kind == "single" and (versus.delta, versus.ci95) == (0, (0, 0)):
        return "on hull"
    return f"{signed(versus.delta)} [{signed(versus.ci95[0])}, {signed(versus.ci95[1])}]"


def mixture_of(row: Row) -> str:
    """The models of that mixture, each with its share of the instances; empty when there is no comparison."""
    versus = row.vs_constants
    if versus is None:
        return ""
    shares = " and ".join(f"{share:.0%} {model}" for model, share in versus.mixture.items())
    return f"{shares}: {count(versus.resolved)}"


def bounds_of(row: Row) -> str:
    """Bounds of the count when verdicts are missing; empty when none is missing."""
    if row.bounds is None:
        return ""
    return f"{count(row.bounds[0])} to {count(row.bounds[1])} with the {row.missing} without verdict"


def cost_of(row: Row, results: Results) -> str:
    """USD per instance, marked where nobody pays it; a lower bound where some costs are unknown, empty without any."""
    kind = results.money_kind
    if row.cost_per_instance is not None:
        return kind + money(row.cost_per_instance)
    return "" if row.cost_at_least is None else f"≥ {kind}{money(row.cost_at_least)}"
