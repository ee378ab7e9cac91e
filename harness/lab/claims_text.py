"""The claims as text for a terminal and as results/claims/README.md."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from harness.evaluation.formats import NONE, count, signed
from harness.evaluation.schema import Row
from harness.lab.claims import Claim, Claims, Measured, Point
from harness.text import markdown

HEAD = """# Public claims beside the single models of their own pools

Written by `polyswe claims --data DIR --replay results/replay --out results/claims`. *The line* is what single models,
or a coin between two of them, resolve for the same money. A claim that compares with a dear model that is not on the
line says little: another single model does as well for less. Less than one percentage point is called *on the line*.
"""


def render_terminal(claims: Claims, width: int) -> str:
    """A paragraph a claim."""
    return "\n\n".join(_paragraph(claim, width) for claim in claims.claims) + "\n"


def _paragraph(claim: Claim, width: int) -> str:
    rows = [("claimed", claim.claim), ("verdict", claim.verdict)]
    rows += [("measured", line) for entry in claim.measured for line in measured_lines(entry)]
    lines = [claim.title]
    for label, text in rows:
        lines.append(textwrap.fill(text, width, initial_indent=f"  {label:<10}", subsequent_indent=" " * 12))
    return "\n".join(lines)


def render_markdown(claims: Claims) -> str:
    """The page: a table of all claims, then what each rests on."""
    return "\n".join([HEAD, claims_table(claims), "", *(_section(claim) for claim in claims.claims)])


def claims_table(claims: Claims) -> str:
    """A line a claimed operating point."""
    lines = [
        "| claim | claimed | single models for as much | difference in points | place |",
        "|---|---|---|---:|---|",
    ]
    for claim in claims.claims:
        points: Sequence[Point | None] = claim.points or [None]
        for point in points:
            lines.append("| " + " | ".join([markdown(claim.name), *_cells(claim, point)]) + " |")
    return "\n".join(lines)


def _cells(claim: Claim, point: Point | None) -> list[str]:
    if point is None:
        return [NONE, NONE, NONE, "cannot be told"]
    cost = "no cost stated" if point.cost is None else _cost(point.cost, claim)
    claimed = f"{point.name}: {point.rate:.1%}, {cost}"
    if point.line is None:
        return [markdown(claimed), NONE, NONE, "cannot be told"]
    mixture = " and ".join(f"{model} ({share:.0%})" for model, share in point.mixture.items())
    difference = 100 * (point.rate - point.line)
    return [
        markdown(claimed),
        markdown(f"{mixture}: {point.line:.1%}"),
        f"{signed(round(difference, 1))}",
        f"{point.place} the line",
    ]


def _cost(cost: float, claim: Claim) -> str:
    return f"${cost:.3g}" if claim.unit.startswith("USD") else f"{cost:.3g} ×"


def _section(claim: Claim) -> str:
    parts = [
        f"## {markdown(claim.title)}",
        "",
        f"Claimed: {markdown(claim.claim)}.",
        "",
        f"**{markdown(claim.verdict)}**",
        "",
    ]
    if claim.constants:
        parts += [
            f"| single model | resolves | {markdown(claim.unit)} | on the line | "
            f"Δ vs {markdown(claim.compared_with or '')} | figures |",
            "|---|---:|---:|---|---:|---|",
        ]
        for one in claim.constants:
            difference = NONE
            if one.vs_compared is not None and one.vs_compared_ci95 is not None:
                low, high = one.vs_compared_ci95
                difference = f"{signed(one.vs_compared)} [{signed(low)}, {signed(high)}]"
            on_line = "yes" if one.on_line else "no"
            origin = {"recorded": "computed from the recorded run", "other agent": "another agent's run"}.get(
                one.origin, "published with the claim"
            )
            parts.append(
                f"| {markdown(one.model)} | {one.rate:.1%} | {one.cost:.4g} | {on_line} | {difference} | {origin} |"
            )
        parts.append("")
    parts += [f"- Assumed: {markdown(text)}" for text in claim.assumed]
    parts += [f"- Not known: {markdown(text)}." for text in claim.unknown]
    parts += [f"- Measured by polyswe: {markdown(line)}" for entry in claim.measured for line in measured_lines(entry)]
    parts += [f"- Source: {source}" for source in claim.sources]
    return "\n".join([*parts, ""])


def measured_lines(entry: Measured) -> list[str]:
    """Our own rows in words."""
    pool = entry.part.rpartition("-")[2].upper()
    if entry.random_clusters is not None:
        reached = entry.random_clusters
        return [f"random clusters of equal sizes on {pool}, in-sample: {reached.mean:.1f} ± {reached.sd:.1f}."]
    return [f"{entry.row} on {pool}, {_measured(row)}" for row in entry.found]


def _measured(row: Row) -> str:
    held = f"{count(row.resolved)} of {row.n}"
    if row.evaluation == "in-sample":
        beside = (
            ""
            if row.null is None
            else f", where random clusters of its sizes reach {row.null.mean:.1f} ± {row.null.sd:.1f}"
        )
        return f"in-sample: {held}{beside}."
    parts = [f"held out: {held}"]
    if (vs := row.vs_best_single) is not None:
        parts.append(f"{signed(vs.delta)} [{signed(vs.ci95[0])}, {signed(vs.ci95[1])}] against the best single model")
    if (constants := row.vs_constants) is not None:
        low, high = constants.ci95
        parts.append(f"{signed(constants.delta)} [{signed(low)}, {signed(high)}] against single models for as much")
    return ", ".join(parts) + "."
