"""The numbers at the top of the page, all in one unit: the share of instances resolved, and what an instance costs."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evaluation.schema import Results, Row
from harness.evaluation.verdict import best_single, routing_rows
from harness.report.row_labels import cost_of, difference
from harness.report.text import count, percent


@dataclass(frozen=True)
class Tile:
    """One of the numbers at the top of the page."""

    name: str
    value: str
    lines: tuple[str, ...]


def tiles_of(results: Results) -> list[Tile]:
    """Best single model, what routing reaches, and what a perfect choice would reach."""
    tiles = []
    if best := best_single(results.rows):
        tiles.append(_tile("Best single model", best, results))
    if routing := routing_rows(results.rows):
        tiles.append(_tile("Best routing policy, held out", max(routing, key=lambda row: row.resolved), results))
    elif live := next((row for row in results.rows if row.kind == "policy" and row.evaluation == "live"), None):
        tiles.append(_tile("Routed, live", live, results))
    if oracle := next((row for row in results.rows if row.kind == "oracle"), None):
        tiles.append(_oracle(oracle, results))
    return tiles


def _tile(name: str, row: Row, results: Results) -> Tile:
    cost = cost_of(row, results)
    lines = (row.name, f"{count(row.resolved)} of {row.n}" + (f" · {cost} per instance" if cost else ""))
    against = difference(row) if row.kind == "policy" else ""
    return Tile(name, percent(row.rate), (*lines, f"{against} vs best single model") if against else lines)


def _oracle(row: Row, results: Results) -> Tile:
    repeatable = results.complementarity.repeatable_oracle
    luck = "partly luck" if repeatable is None else f"{percent(repeatable.resolved / row.n)} expected if run again"
    text = "A perfect choice among the models"
    return Tile("Oracle (upper bound)", percent(row.rate), (text, f"{count(row.resolved)} of {row.n} · {luck}"))
