"""The numbers at the top of the page, all in one unit: the share of instances resolved, and what an instance costs."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evaluation.schema import Choice, Results, Row
from harness.evaluation.verdict import best_single
from harness.report.row_labels import cost_of, difference
from harness.report.text import count, percent


@dataclass(frozen=True)
class Tile:
    """One of the numbers at the top of the page."""

    name: str
    value: str
    lines: tuple[str, ...]


def named_rows(results: Results) -> dict[str, Row]:
    """The rows that the answer is about, by what they are in it: of the recommendation where there is one."""
    advice, found = results.recommendation, {}
    if advice is not None:
        found = {
            "Recommended": _row_of(advice.use, results),
            "Most resolved": _row_of(advice.most_resolved, results),
            "Best routing policy, held out": _row_of(advice.routing, results),
        }
    else:
        found = {"Best single model": best_single(results.rows)}
    found["Routed, live"] = _first(results, kind="policy", evaluation="live")
    found["Oracle (upper bound)"] = _first(results, kind="oracle")
    named = {name: row for name, row in found.items() if row is not None}
    if named.get("Recommended") == named.get("Most resolved") is not None:
        named = {"Recommended, resolved most": named.pop("Recommended")} | named
        del named["Most resolved"]
    return named


def tiles_of(results: Results) -> list[Tile]:
    """A tile for each named row."""
    return [_tile(name, row, results) for name, row in named_rows(results).items()]


def _tile(name: str, row: Row, results: Results) -> Tile:
    if row.kind == "oracle":
        repeatable = results.complementarity.repeatable_oracle
        luck = "partly luck" if repeatable is None else f"{percent(repeatable.resolved / row.n)} expected if run again"
        lines = ("a perfect choice among the models", f"{count(row.resolved)} of {row.n} · {luck}")
        return Tile(name, percent(row.rate), lines)
    cost = cost_of(row, results)
    lines = (row.name, f"{count(row.resolved)} of {row.n}" + (f" · {cost} per instance" if cost else ""))
    against = "" if row == best_single(results.rows) else difference(row)
    return Tile(name, percent(row.rate), (*lines, f"{against} vs best single model") if against else lines)


def _row_of(choice: Choice | None, results: Results) -> Row | None:
    if choice is None:
        return None
    return next(
        row
        for row in results.rows
        if (row.name, row.kind, row.evaluation) == (choice.name, choice.kind, choice.evaluation)
    )


def _first(results: Results, **wanted: str) -> Row | None:
    return next((row for row in results.rows if all(getattr(row, key) == of for key, of in wanted.items())), None)
