"""The cells as data for the page's script: the matrix, the list, and the CSV are made of it in the browser."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from harness.evaluation.schema import Results
from harness.files import slug
from harness.report.html.assets import data_block
from harness.report.html.cells import CellFacts, Cells
from harness.report.text import plain
from harness.store.rows import Cell

MOST_CELLS = 250_000
"""The page lists at most this many cells (about 20 bytes each), those on which models disagree first."""
MANY_CELLS = 20_000
"""With more cells than this, the list starts with the instances on which models disagree."""


def cell_block(cells: Cells, results: Results, up: str) -> Markup:
    """JSON of the cells: every name once, then a column of numbers for each fact.

    Args:
        cells: The cells to list.
        results: For the clusters of the instances.
        up: Path from the page to the run's folder, "" or "../".
    """
    return data_block(_printable(_listed(cells, results, up)))


def _listed(cells: Cells, results: Results, up: str) -> dict[str, Any]:
    facts, clipped = _first(cells)
    instances = list(dict.fromkeys(fact.instance for fact in facts))
    verdicts = list(dict.fromkeys(fact.verdict for fact in facts))
    exits = list(dict.fromkeys(fact.exit_status for fact in facts))
    cluster = {name: profile.cluster for profile in results.clusters for name in profile.instances}
    repositories = sorted({cells.repositories[name] for name in instances if name in cells.repositories})
    places = {name: k for k, name in enumerate(instances)}
    models = {name: k for k, name in enumerate(cells.models)}
    verdict_at, exit_at = ({name: k for k, name in enumerate(of)} for of in (verdicts, exits))
    repository_at = {name: k for k, name in enumerate(repositories)}
    # with every model on every instance, a cell's place in the list says which one it is
    whole = [(fact.instance, fact.model) for fact in facts] == list(itertools.product(instances, cells.models))
    return {
        "instances": instances,
        "models": cells.models,
        "verdicts": verdicts,
        "exits": exits,
        "repositories": repositories,
        "of_repository": [repository_at.get(cells.repositories.get(name, ""), -1) for name in instances],
        "of_cluster": [cluster.get(name, -1) for name in instances] if cluster else None,
        "folders": None if cells.run is None else _folders(cells, up, instances),
        "clipped": clipped,
        "money_kind": results.money_kind,
        "disagreements_first": len(cells.facts) > MANY_CELLS,
        "cells": len(facts),
        "columns": {
            "instance": None if whole else [places[fact.instance] for fact in facts],
            "model": None if whole else [models[fact.model] for fact in facts],
            "verdict": _column(verdict_at[fact.verdict] for fact in facts),
            "resolved": _column(-1 if fact.resolved is None else int(fact.resolved) for fact in facts),
            "exit": _column(exit_at[fact.exit_status] for fact in facts),
            "has_page": _column(_has_page(cells, fact) for fact in facts),
            "cost": _column(_rounded(fact.cost_usd, 6) for fact in facts),
            "calls": _column(_rounded(fact.api_calls, 1) for fact in facts),
            "seconds": _column(_rounded(fact.seconds, 1) for fact in facts),
        },
        "flags": {
            k: " · ".join(dict.fromkeys(flag.kind for flag in fact.flags)) for k, fact in enumerate(facts) if fact.flags
        },
    }


def _column(values: Iterable[float | None]) -> list[float | None] | float | None:
    """A value per cell; the value alone where all cells have the same one."""
    column = list(values)
    return column[0] if len(set(column)) == 1 else column


def _printable(value: Any) -> Any:
    """The same with every text made harmless: the script shows texts as they are."""
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return plain(value) if isinstance(value, str) else value


def _first(cells: Cells) -> tuple[list[CellFacts], int]:
    """The cells that fit in the page, and how many do not."""
    if len(cells.facts) <= MOST_CELLS:
        return list(cells.facts), 0
    solved: dict[str, set[bool | None]] = {}
    for fact in cells.facts:
        solved.setdefault(fact.instance, set()).add(fact.resolved)
    ordered = sorted(cells.facts, key=lambda fact: not {True, False} <= solved[fact.instance])
    return ordered[:MOST_CELLS], len(ordered) - MOST_CELLS


def _has_page(cells: Cells, fact: CellFacts) -> int:
    return int(cells.run is not None and cells.run.cell_dir(Cell(fact.instance, fact.model)).is_dir())


def _folders(cells: Cells, up: str, instances: list[str]) -> dict[str, Any]:
    """Where the cells' pages lie, relative to the report; names only where they differ from the instance's."""
    return {
        "root": f"{up}instances/",
        "instances": {k: slug(name) for k, name in enumerate(instances) if slug(name) != name},
        "models": [slug(name) for name in cells.models],
    }


def _rounded(value: float | None, digits: int) -> float | int | None:
    if value is None:
        return None
    short = round(value, digits)
    return int(short) if short == int(short) else short
