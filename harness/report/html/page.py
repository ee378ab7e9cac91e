"""`results.html`: one self-contained file with everything a run found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evaluation.schema import ClusterProfile, Group, Pair, Results, VerifierQuality
from harness.evaluation.verdict import best_single, routing_rows
from harness.report.figures import ON_PAGE, Drawing, inline
from harness.report.html.assets import data_block, environment, heat, shell
from harness.report.html.cells import NO_VERDICT, CellFacts, Cells
from harness.report.html.method import how_numbers_are_made
from harness.report.row_labels import bounds_of, chip, difference, tone
from harness.report.text import count, money, percent, plain, signed
from harness.store.store import Cell

MOST_CELLS = 250_000
"""More than these are not listed in the page, instances that models disagree on first (about 40 bytes a cell)."""
MANY_CELLS = 20_000
"""From so many cells on, the list starts with the instances that models disagree on."""


@dataclass(frozen=True)
class Tile:
    """A number to see first."""

    name: str
    value: str
    more: str


@dataclass(frozen=True)
class Bar:
    """A count beside the greatest of its kind."""

    name: str
    n: int
    most: int
    text: str


def render_page(
    results: Results, cells: Cells, drawings: Mapping[str, Drawing], run: dict[str, Any], up: str = ""
) -> str:
    """The page's text; the same arguments give the same page.

    Args:
        results: the numbers.
        cells: what there is to list and to link to.
        drawings: the figures by name.
        run: a run's frozen `run.yaml`; empty for recorded outcomes.
        up: from the page to the run's folder, "" or "../".
    """
    found = shell("theme.js", "report.js")
    page = environment().get_template("report.html.j2")
    return page.render(
        shell=found,
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
        ends=_ends(cells),
        failures=_failures(cells),
        verifier=_verifier(results.verifier) if results.verifier else None,
        cells=data_block(_shown(_listed(cells, results, up))) if cells.facts else None,
        listed=len(cells.facts),
        run=run,
        method=how_numbers_are_made(),
    )


def _tiles(results: Results, cells: Cells) -> list[Tile]:
    tiles = []
    if best := best_single(results.rows):
        more = f"{best.name}: {count(best.resolved)} of {best.n}"
        tiles.append(Tile("Best single model", percent(best.rate), more))
    if routing := routing_rows(results.rows):
        judged = max(routing, key=lambda row: row.resolved)
        vs = judged.vs_best_single
        more = f"{judged.name}, held out: {count(judged.resolved)} of {judged.n}"
        if vs is not None:
            more += f"; {signed(vs.delta)} [{signed(vs.ci95[0])}, {signed(vs.ci95[1])}]"
        tiles.append(Tile("Best routing policy", percent(judged.rate), more))
    elif live := next((row for row in results.rows if row.kind == "policy" and row.evaluation == "live"), None):
        tiles.append(Tile("Routed, live", percent(live.rate), f"{count(live.resolved)} of {live.n}"))
    if any(row.kind == "oracle" for row in results.rows):
        oracle, repeatable = results.complementarity.oracle, results.complementarity.repeatable_oracle
        more = "of them repeatable: " + count(repeatable.resolved) if repeatable else "solved by any model; partly luck"
        tiles.append(Tile("Oracle", str(oracle), more))
    known = [fact.cost_usd for fact in cells.facts if fact.cost_usd is not None]
    if known:
        tiles.append(
            Tile("Cost of all cells", money(sum(known)), f"{len(known):,} of {len(cells.facts):,} cells priced")
        )
    return tiles


def _solved(cells: Cells) -> dict[str, list[Bar]]:
    """How many models solve an instance, and what each model alone solves; over instances with all verdicts."""
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
    """All on the scale of the greatest; with their share of the total where there is one."""
    most = max((n for _, n in counts), default=0) or 1
    return [Bar(name, n, most, f"{n:,}" + (f" ({percent(n / total, 0)})" if total else "")) for name, n in counts]


def _overlaps(results: Results) -> dict[tuple[str, str], tuple[int, Pair]]:
    """By (row, column): what the row's model solves and the column's does not."""
    found: dict[tuple[str, str], tuple[int, Pair]] = {}
    for pair in results.complementarity.pairs:
        found[pair.a, pair.b] = (pair.a_only, pair)
        found[pair.b, pair.a] = (pair.b_only, pair)
    return found


def _groups(results: Results) -> dict[str, list[Group]]:
    kinds: dict[str, list[Group]] = {}
    for group in results.groups:
        kinds.setdefault(group.by, []).append(group)
    return kinds


def _shading(rows: Sequence[ClusterProfile | Group]) -> Callable[[float | None], str]:
    """Shades that span the table's own range: rates lie close together, and the numbers stand in the cells."""
    rates = [rate for row in rows for rate in row.rates.values()]
    low, high = (min(rates), max(rates)) if rates else (0.0, 1.0)
    return lambda rate: "" if rate is None else heat((rate - low) / (high - low) * 0.85 if high > low else 0.4)


def _verifier(quality: VerifierQuality) -> str:
    low, high = quality.auc_ci95
    return (
        f"Held out over {quality.attempts:,} attempts: AUC within a model {quality.auc:.3f} "
        f"[{low:.3f}, {high:.3f}], across models {quality.auc_across_models:.3f}; Brier {quality.brier:.3f} "
        f"against {quality.brier_of_rates:.3f} for predicting each model’s own rate."
    )


def _ends(cells: Cells) -> dict[str, dict[str, Counter[str]]]:
    """How cells ended: by kind ("verdict", "agent's exit"), what it is, and the count of each model."""
    kinds: dict[str, dict[str, Counter[str]]] = {"verdict": {}, "agent’s exit": {}}
    for fact in cells.facts:
        kinds["verdict"].setdefault(fact.verdict, Counter())[fact.model] += 1
        if fact.exit_status:
            kinds["agent’s exit"].setdefault(fact.exit_status, Counter())[fact.model] += 1
    return {
        kind: dict(sorted(found.items(), key=lambda item: -item[1].total())) for kind, found in kinds.items() if found
    }


def _failures(cells: Cells) -> list[tuple[str, int, CellFacts]]:
    """Why cells have no verdict, with an example each, the most frequent first."""
    missing = [fact for fact in cells.facts if fact.verdict == NO_VERDICT and fact.failure]
    counts = Counter(fact.failure for fact in missing)
    examples = {fact.failure: fact for fact in reversed(missing)}
    return [(kind, n, examples[kind]) for kind, n in counts.most_common()]


def _listed(cells: Cells, results: Results, up: str) -> dict[str, Any]:
    """The cells for the page's script: names once, then a short row a cell."""
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
                *([" · ".join(dict.fromkeys(fact.flags))] if fact.flags else []),
            ]
            for fact in facts
        ],
    }


def _shown(value: Any) -> Any:
    """Every name as it may be shown: the script puts them into the page as they are."""
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return plain(value) if isinstance(value, str) else value


def _first(cells: Cells) -> tuple[list[CellFacts], int]:
    """What fits in a page, and how many cells do not."""
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
    from harness.files import slug

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
