"""`results.html`: one self-contained page with all results of a run or a replay."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evaluation.schema import ClusterProfile, Group, Pair, Results, VerifierQuality
from harness.evaluation.verdict import best_single, routing_rows
from harness.files import slug
from harness.report.figures import ON_PAGE, Drawing, inline
from harness.report.flag_kinds import explain_flag
from harness.report.html.assets import data_block, environment, heat, shell
from harness.report.html.cells import NO_VERDICT, CellFacts, Cells
from harness.report.html.method import how_numbers_are_made
from harness.report.row_labels import bounds_of, chip, difference, tone
from harness.report.text import count, money, percent, plain
from harness.store.store import Cell

MOST_CELLS = 250_000
"""The page lists at most this many cells (about 40 bytes each), those on which models disagree first."""
MANY_CELLS = 20_000
"""With more cells than this, the list starts with the instances on which models disagree."""
MINUTES = {"min": 1, "minute": 1, "h": 60, "hour": 60, "day": 24 * 60}
"""Minutes in the units of a difficulty, singular."""
_DURATION = re.compile(r"([<>]?) ?(\d+) ?(?:- ?\d+ ?)?([a-z]+?)s?\b")
"""The beginning of "<15 min fix", "15 min - 1 hour", "1-4 hours" or ">4 hours"."""


@dataclass(frozen=True)
class Tile:
    """One of the numbers at the top of the page."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True)
class Bar:
    """A line of a bar chart."""

    name: str
    n: int
    longest: int
    """The greatest count of the chart: the full width."""
    text: str


def render_page(
    results: Results, cells: Cells, drawings: Mapping[str, Drawing], run: dict[str, Any], up: str = ""
) -> str:
    """The page's text; the same arguments give the same page.

    Args:
        results: The numbers.
        cells: The cells to list and to link to.
        drawings: The figures by name.
        run: A run's frozen `run.yaml`; empty for recorded outcomes.
        up: Path from the page to the run's folder, "" or "../".
    """
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            shell=shell("theme.js", "report.js"),
            title=results.dataset,
            run_name="" if cells.run is None else cells.run.path.resolve().name,
            results=results,
            tiles=_tiles(results, cells),
            figures={name: inline(drawing) for name, drawing in drawings.items() if name in ON_PAGE},
            chip=chip,
            bounds=bounds_of,
            tone=tone,
            difference=difference,
            best=best_single(results.rows),
            solved=_solved(cells),
            overlaps=_overlaps(results),
            groups=_groups(results),
            shading=_shading,
            endings=_endings(cells),
            failures=_failures(cells),
            flag_kinds={flag.kind: explain_flag(flag.kind) for flag in results.flagged},
            verifier=_verifier(results.verifier) if results.verifier else None,
            cells=data_block(_printable(_listed(cells, results, up))) if cells.facts else None,
            listed=len(cells.facts),
            unfinished=sum(fact.pending for fact in cells.facts),
            run=run,
            method=how_numbers_are_made(),
        )
    )


def _tiles(results: Results, cells: Cells) -> list[Tile]:
    tiles = []
    if best := best_single(results.rows):
        tiles.append(Tile("Best single model", percent(best.rate), f"{best.name}: {count(best.resolved)} of {best.n}"))
    if routing := routing_rows(results.rows):
        row = max(routing, key=lambda row: row.resolved)
        detail = f"{row.name}, held out: {count(row.resolved)} of {row.n}"
        if row.vs_best_single is not None:
            detail += f"; {difference(row)} vs the best single model"
        tiles.append(Tile("Best routing policy", percent(row.rate), detail))
    elif live := next((row for row in results.rows if row.kind == "policy" and row.evaluation == "live"), None):
        tiles.append(Tile("Routed, live", percent(live.rate), f"{count(live.resolved)} of {live.n}"))
    if oracle := next((row for row in results.rows if row.kind == "oracle"), None):
        repeatable = results.complementarity.repeatable_oracle
        luck = f"{count(repeatable.resolved)} of them repeatable" if repeatable else "partly luck"
        detail = f"resolved by at least one model: {count(oracle.resolved)} of {oracle.n}; {luck}"
        tiles.append(Tile("Oracle", percent(oracle.rate), detail))
    costs = [fact.cost_usd for fact in cells.facts if fact.cost_usd is not None]
    if costs:
        detail = f"to run this experiment; {len(costs):,} of {len(cells.facts):,} cells have a known cost"
        tiles.append(Tile("Cost of all cells", money(sum(costs)), detail))
    return tiles


def _solved(cells: Cells) -> dict[str, list[Bar]]:
    """Instances by the number of models that resolve them, and those that one model alone resolves.

    Instances that lack a verdict are left out.
    """
    solvers: dict[str, list[str]] = {}
    unknown = {fact.instance for fact in cells.facts if fact.resolved is None}
    for fact in cells.facts:
        if fact.instance not in unknown:
            solvers.setdefault(fact.instance, []).extend([fact.model] if fact.resolved else [])
    if not solvers or len(cells.models) < 2:
        return {}
    by_number = Counter(len(models) for models in solvers.values())
    names = {0: "none", 1: "one model", len(cells.models): f"all {len(cells.models)}"}
    numbers = [(names.get(k, str(k)), by_number[k]) for k in range(len(cells.models) + 1)]
    alone = Counter(models[0] for models in solvers.values() if len(models) == 1)
    return {
        "by_number": _bars(numbers, total=len(solvers)),
        "alone": _bars([(model, alone[model]) for model in cells.models]),
    }


def _bars(counts: Sequence[tuple[str, int]], *, total: int = 0) -> list[Bar]:
    """Bars on one scale, with their shares where a total is given."""
    longest = max((n for _, n in counts), default=0) or 1
    return [
        Bar(name=name, n=n, longest=longest, text=f"{n:,}" + (f" ({percent(n / total, 0)})" if total else ""))
        for name, n in counts
    ]


def _overlaps(results: Results) -> dict[tuple[str, str], tuple[int, Pair]]:
    """By (row, column): instances that the row's model resolves and the column's does not."""
    overlaps: dict[tuple[str, str], tuple[int, Pair]] = {}
    for pair in results.complementarity.pairs:
        overlaps[pair.a, pair.b] = (pair.a_only, pair)
        overlaps[pair.b, pair.a] = (pair.b_only, pair)
    return overlaps


def _groups(results: Results) -> dict[str, list[Group]]:
    """Groups by what they share; difficulties from the least effort to the greatest, where all can be read."""
    kinds: dict[str, list[Group]] = {}
    for group in results.groups:
        kinds.setdefault(group.by, []).append(group)
    for groups in kinds.values():
        efforts = {group.name: _effort(group.name) for group in groups}
        if all(effort is not None for effort in efforts.values()):
            groups.sort(key=lambda group: efforts[group.name] or (0.0, 0))
    return kinds


def _effort(name: str) -> tuple[float, int] | None:
    """A sort key for durations such as "<15 min fix" and "1-4 hours"; None for other names."""
    match = _DURATION.match(name.strip())
    if match is None or match[3] not in MINUTES:
        return None
    return float(match[2]) * MINUTES[match[3]], "< >".index(match[1] or " ")


def _shading(rows: Sequence[ClusterProfile | Group]) -> Callable[[float | None], str]:
    """Shades that span the table's own range: rates lie close together, and the numbers stand in the cells."""
    rates = [rate for row in rows for rate in row.rates.values()]
    low, high = (min(rates), max(rates)) if rates else (0.0, 1.0)
    return lambda rate: "" if rate is None else heat((rate - low) / (high - low) * 0.85 if high > low else 0.4)


def _verifier(quality: VerifierQuality) -> str:
    low, high = quality.auc_ci95
    return (
        f"On {quality.attempts:,} held-out attempts: AUC {quality.auc:.3f} [{low:.3f}, {high:.3f}] within a model and "
        f"{quality.auc_across_models:.3f} across models; Brier score {quality.brier:.3f}, and "
        f"{quality.brier_of_rates:.3f} for predicting each model’s own rate."
    )


def _endings(cells: Cells) -> dict[str, dict[str, Counter[str]]]:
    """Counts of cells by model, for each verdict and each exit status of the agent; the most frequent first."""
    kinds: dict[str, dict[str, Counter[str]]] = {"verdict": {}, "agent’s exit status": {}}
    for fact in cells.facts:
        kinds["verdict"].setdefault(fact.verdict, Counter())[fact.model] += 1
        if fact.exit_status:
            kinds["agent’s exit status"].setdefault(fact.exit_status, Counter())[fact.model] += 1
    return {
        kind: dict(sorted(counts.items(), key=lambda item: -item[1].total()))
        for kind, counts in kinds.items()
        if counts
    }


def _failures(cells: Cells) -> list[tuple[str, int, CellFacts]]:
    """Reasons for missing verdicts with a count and an example each, the most frequent first."""
    missing = [fact for fact in cells.facts if fact.verdict == NO_VERDICT and fact.failure]
    counts = Counter(fact.failure for fact in missing)
    examples = {fact.failure: fact for fact in reversed(missing)}
    return [(kind, n, examples[kind]) for kind, n in counts.most_common()]


def _listed(cells: Cells, results: Results, up: str) -> dict[str, Any]:
    """The cells for the page's script: every name once, then a short row for each cell."""
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
        "disagreements_first": len(cells.facts) > MANY_CELLS,
        # instance, model, verdict, resolved (1, 0, -1 unknown), exit, has a page, USD, calls, seconds, flags (if any)
        "rows": [
            [
                places[fact.instance],
                models[fact.model],
                verdict_at[fact.verdict],
                -1 if fact.resolved is None else int(fact.resolved),
                exit_at[fact.exit_status],
                _has_page(cells, fact),
                _rounded(fact.cost_usd, 6),
                _rounded(fact.api_calls, 1),
                _rounded(fact.seconds, 1),
                *([" · ".join(dict.fromkeys(flag.kind for flag in fact.flags))] if fact.flags else []),
            ]
            for fact in facts
        ],
    }


def _printable(value: Any) -> Any:
    """The same with every text made harmless: the script shows texts as they are."""
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list):
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
