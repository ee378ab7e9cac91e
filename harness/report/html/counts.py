"""Counts of cells that the page shows: overlaps of models, breakdowns, how cells ended."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.evaluation.schema import ClusterProfile, Group, Pair, Results
from harness.report.html.assets import heat
from harness.report.html.cells import NO_VERDICT, CellFacts, Cells
from harness.report.text import percent

MINUTES = {"min": 1, "minute": 1, "h": 60, "hour": 60, "day": 24 * 60}
"""Minutes in the units of a difficulty, singular."""
_DURATION = re.compile(r"([<>]?) ?(\d+) ?(?:- ?\d+ ?)?([a-z]+?)s?\b")
"""The beginning of "<15 min fix", "15 min - 1 hour", "1-4 hours" or ">4 hours"."""


@dataclass(frozen=True)
class Bar:
    """A line of a bar chart."""

    name: str
    n: int
    longest: int
    """The greatest count of the chart: the full width."""
    text: str


def solved(cells: Cells) -> dict[str, list[Bar]]:
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


def overlaps(results: Results) -> dict[tuple[str, str], tuple[int, Pair]]:
    """By (row, column): instances that the row's model resolves and the column's does not."""
    found: dict[tuple[str, str], tuple[int, Pair]] = {}
    for pair in results.complementarity.pairs:
        found[pair.a, pair.b] = (pair.a_only, pair)
        found[pair.b, pair.a] = (pair.b_only, pair)
    return found


def groups_by_kind(results: Results) -> dict[str, list[Group]]:
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


def shading(rows: Sequence[ClusterProfile | Group]) -> Callable[[float | None], str]:
    """Shades that span the table's own range: rates lie close together, and the numbers stand in the cells."""
    rates = [rate for row in rows for rate in row.rates.values()]
    low, high = (min(rates), max(rates)) if rates else (0.0, 1.0)
    return lambda rate: "" if rate is None else heat((rate - low) / (high - low) * 0.85 if high > low else 0.4)


def endings(cells: Cells) -> dict[str, dict[str, Counter[str]]]:
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


def failures(cells: Cells) -> list[tuple[str, int, CellFacts]]:
    """Reasons for missing verdicts with a count and an example each, the most frequent first."""
    missing = [fact for fact in cells.facts if fact.verdict == NO_VERDICT and fact.failure]
    counts = Counter(fact.failure for fact in missing)
    examples = {fact.failure: fact for fact in reversed(missing)}
    return [(kind, n, examples[kind]) for kind, n in counts.most_common()]
