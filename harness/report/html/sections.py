"""The page's sections, in their order. Each is a function that returns its content, or None where it has none.

To add a section: a function here, its name in `SECTIONS`, and a template `assets/sections/<name>.html.j2`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness.evaluation.schema import Results, VerifierQuality
from harness.report.flag_kinds import explain_flag
from harness.report.html.assets import environment
from harness.report.html.cell_data import cell_block
from harness.report.html.cells import Cells
from harness.report.html.counts import endings, failures, groups_by_kind, overlaps, shading, solved
from harness.report.html.heading import Heading
from harness.report.html.tiles import named_rows
from harness.report.repeats_table import HEADER, NOTE, repeats_lines


@dataclass(frozen=True)
class Page:
    """What sections are made of."""

    results: Results
    cells: Cells
    figures: Mapping[str, Markup]
    """By name, as SVG elements."""
    run: Mapping[str, Any]
    """A run's frozen `run.yaml`; empty for recorded outcomes."""
    heading: Heading
    up: str = ""
    """Path from the page to the run's folder, "" or "../"."""


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading and an entry in its contents."""

    name: str
    """Its id in the page, and its template."""
    title: str
    link: str
    """Its name in the contents."""
    body: Markup
    folded: bool = False
    """Closed until the reader opens it; on a phone every section but the first ones is."""


def chart(page: Page) -> Section | None:
    """Cost against quality."""
    return _section(page, "cost", "Cost and quality", "Cost") if "cost-quality" in page.figures else None


def short_table(page: Page) -> Section | None:
    """The rows that the answer is about, and the default policy."""
    chosen = list(named_rows(page.results).values())
    advice = page.results.recommendation
    rule = "auto" if advice is None else advice.rule
    chosen += [row for row in page.results.rows if row.name == rule and row.evaluation == "cross-fitted"]
    rows = [row for row in page.results.rows if any(row is one for one in chosen)]
    return _section(page, "short", "In short", "In short", rows=rows) if len(rows) > 1 else None


def all_rows(page: Page) -> Section | None:
    """Every model, policy and bound."""
    timed = any(row.seconds_per_instance for row in page.results.rows)
    return _section(page, "results", "All results", "Results", rows=page.results.rows, timed=timed)


def rates(page: Page) -> Section | None:
    """Resolution rates with their intervals."""
    return _section(page, "rates", "Resolution rates", "Rates") if "rates" in page.figures else None


def repeats(page: Page) -> Section | None:
    """How far a model's runs differ by chance."""
    if not page.results.repeated:
        return None
    lines = repeats_lines(page.results, intervals=True)
    return _section(page, "repeats", "Repeats", "Repeats", header=HEADER, lines=lines, note=NOTE)


def clusters(page: Page) -> Section | None:
    """Success by cluster and model."""
    if not page.results.clusters:
        return None
    return _section(page, "clusters", "Success by cluster and model", "Clusters", shading=shading)


def shares(page: Page) -> Section | None:
    """The share of instances that each policy gives each model."""
    return _section(page, "shares", "Routing shares", "Routing") if "shares" in page.figures else None


def complementarity(page: Page) -> Section | None:
    """How the models' verdicts overlap."""
    bars, pairs = solved(page.cells), overlaps(page.results)
    if not bars and not pairs:
        return None
    return _section(page, "complementarity", "Complementarity", "Complementarity", solved=bars, overlaps=pairs)


def breakdowns(page: Page) -> Section | None:
    """By repository and difficulty."""
    groups = groups_by_kind(page.results)
    return _section(page, "groups", "Breakdowns", "Breakdowns", groups=groups, shading=shading) if groups else None


def flags(page: Page) -> Section | None:
    """Attempts that show signs of help or of faked passes."""
    if not page.results.flagged:
        return None
    kinds = {flag.kind: explain_flag(flag.kind) for flag in page.results.flagged}
    return _section(page, "flags", "Flagged attempts", "Flags", flag_kinds=kinds)


def outcomes(page: Page) -> Section | None:
    """How cells ended."""
    ended, missing = endings(page.cells), failures(page.cells)
    if not ended and not page.results.failures:
        return None
    return _section(page, "outcomes", "Outcomes", "Outcomes", endings=ended, failures=missing)


def more_analysis(page: Page) -> Section | None:
    """Research: can finished attempts be judged, and what would a better judge bring?"""
    quality = page.results.verifier
    if quality is None and "what-it-takes" not in page.figures:
        return None
    text = None if quality is None else _verifier(quality)
    return _section(page, "verifier", "More analysis", "More analysis", verifier=text, folded=True)


def cell_list(page: Page) -> Section | None:
    """The matrix and the list of cells."""
    if not page.cells.facts:
        return None
    return _section(page, "cells", "Cells", "Cells", data=cell_block(page.cells, page.results, page.up))


def method(page: Page) -> Section | None:
    """Versions, prices, and how the numbers were made."""
    return _section(page, "method", "How the numbers were made", "Method")


SECTIONS: tuple[Callable[[Page], Section | None], ...] = (
    chart,
    short_table,
    all_rows,
    rates,
    repeats,
    clusters,
    shares,
    complementarity,
    breakdowns,
    flags,
    outcomes,
    more_analysis,
    cell_list,
    method,
)


def sections_of(page: Page) -> list[Section]:
    """The sections that have content, in their order."""
    return [section for build in SECTIONS if (section := build(page)) is not None]


def _section(page: Page, name: str, title: str, link: str, *, folded: bool = False, **content: Any) -> Section:
    template = environment().get_template(f"sections/{name}.html.j2")
    shared = {"results": page.results, "figures": page.figures, "cells": page.cells, "run": page.run}
    body = template.render(**shared, heading=page.heading, **content)
    return Section(name=name, title=title, link=link, body=Markup(body), folded=folded)


def _verifier(quality: VerifierQuality) -> str:
    low, high = quality.auc_ci95
    return (
        f"On {quality.attempts:,} held-out attempts: AUC {quality.auc:.3f} [{low:.3f}, {high:.3f}] within a model and "
        f"{quality.auc_across_models:.3f} across models; Brier score {quality.brier:.3f}, and "
        f"{quality.brier_of_rates:.3f} for predicting each model’s own rate."
    )
