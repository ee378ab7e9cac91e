"""Everything that was measured of routing and selection in one table, from the JSON files in results/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.evaluation.formats import NONE, signed
from harness.evaluation.schema import Results, Row, read_results
from harness.evaluation.verdict import best_single
from harness.lab.summary import read_document

WAYS = {
    "one model, chosen in training": ("auto", "best-fixed"),
    "routing by the issue text": (
        "hypernova",
        "cluster",
        "uniroute-kmeans",
        "uniroute-map",
        "knn",
        "linear",
        "shared-difficulty",
    ),
    "cascade": ("cascade", "cascade:prior=shared-difficulty"),
}
"""Policies of results/replay by what they do; those without a held-out row are left out."""
HYPERNOVA = "hypernova"
"""Its results are in other folders than those of the other policies."""
POOLS = ("s3", "m12")
"""Folders of results/replay."""
HEADER = ("what", "of", "Δ vs best single [95 %]", "cost × best", "vs constants [95 %]", "source")


def worth_table(results: Path) -> str:
    """The table as Markdown, from the files that are there.

    Args:
        results: The folder `results` of the repository.

    Raises:
        InputError: a damaged file.
    """
    lines: list[tuple[str, ...]] = []
    documents = {pool: read_results(results / "replay" / pool) for pool in POOLS}
    for way, policies in WAYS.items():
        for pool in POOLS:
            for name in policies:
                part = f"{name}-{pool}" if name == HYPERNOVA else pool
                if (results / "replay" / part / "results.json").is_file():
                    lines += _held_out(way, name, pool, part, read_results(results / "replay" / part))
    lines += _selection(read_document(results / "selection/selection.json"))
    lines += _costs(read_document(results / "costs/costs.json"))
    for pool, document in documents.items():
        lines += _oracle(document, pool)
    head = ["| " + " | ".join(HEADER) + " |", "|---|---|---:|---:|---:|---|"]
    return "\n".join([*head, *("| " + " | ".join(line) + " |" for line in lines)])


def _held_out(way: str, name: str, pool: str, part: str, document: Results) -> list[tuple[str, ...]]:
    rows = [row for row in document.rows if row.name == name and row.evaluation == "cross-fitted"]
    return [_replayed(way, row, pool, part, document) for row in rows]


def _replayed(way: str, row: Row, pool: str, part: str, document: Results) -> tuple[str, ...]:
    best, vs, constants = best_single(document.rows), row.vs_best_single, row.vs_constants
    cost = NONE
    if best is not None and best.cost_per_instance and row.cost_per_instance is not None:
        cost = f"{row.cost_per_instance / best.cost_per_instance:.2f}"
    return (
        f"{way}: `{row.name}`",
        pool.upper(),
        NONE if vs is None else _interval(vs.delta, vs.ci95),
        cost,
        NONE if constants is None else _interval(constants.delta, constants.ci95),
        f"`replay/{part}`",
    )


def _selection(found: Any) -> list[tuple[str, ...]]:
    """The held-out figures of agents' real patches; attempts are counted, as their costs are not recorded."""
    if found is None:
        return []
    held, equal, alike = found["held_out"], found["agreement"]["3"]["plurality"], found["agreement"]["3"]["medoid"]
    learned = found["learned"]["agreement"]
    rows = [
        ("agreement of patches: equal to most", equal["held_out"], equal["pools"]),
        ("agreement of patches: most like the others", alike["held_out"], alike["pools"]),
        ("agreement of patches: learned", learned["held_out"], learned["pools"]),
        ("tests: `select`", held, held["pools"]),
        ("tests: `select`, against the best in training", held["vs_best_in_training"], held["pools"]),
        ("tests: `select`, repositories unseen", found["repositories_unseen"]["held_out"], held["pools"]),
    ]
    return [
        (
            what,
            f"{pools} pools of 3 agents",
            _of(row),
            "3 attempts and tests" if "tests" in what else "3 attempts",
            NONE,
            "`selection`",
        )
        for what, row, pools in rows
    ]


def _costs(found: Any) -> list[tuple[str, ...]]:
    """What is gained over mixing two models at the same cost: the difference to constants by construction."""
    if found is None:
        return []
    rows = [
        ("by instance", "gain", f"{found['pairs']} pairs"),
        ("repositories unseen", "gain_unseen_repositories", f"{found['pairs']} pairs"),
        ("true cost known", "gain_true_cost", f"{found['pairs']} pairs"),
    ]
    return [
        (
            f"`cost-first`, {what}",
            of,
            NONE,
            "equal",
            _interval(found[key], found[f"{key}_ci95"]),
            "`costs`",
        )
        for what, key, of in rows
    ]


def _oracle(document: Results, pool: str) -> list[tuple[str, ...]]:
    row = next(row for row in document.rows if row.kind == "oracle" and row.evaluation != "cross-fitted")
    lines = [_replayed("bound", row, pool, pool, document)]
    best, again = best_single(document.rows), document.complementarity.repeatable_oracle
    if best is not None and again is not None and again.resolved_ci95 is not None:
        low, high = (value - best.resolved for value in again.resolved_ci95)
        interval = _interval(again.resolved - best.resolved, (low, high))
        lines.append(("bound: best choice, run again", pool.upper(), interval, NONE, NONE, f"`replay/{pool}`"))
    return lines


def _of(row: Any) -> str:
    return _interval(row["delta"], row["ci95"])


def _interval(delta: float, ci95: Sequence[float]) -> str:
    low, high = (signed(round(value, 1)) for value in ci95)
    return f"{signed(round(delta, 1))} [{low}, {high}]"
