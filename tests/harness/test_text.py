"""Text from outside is shown as text: in a terminal, in Markdown, in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harness.commands.router import render_explanation, render_route
from harness.compare.compare import compare_sides
from harness.compare.load import RunOutcomes
from harness.compare.noise import BUILT_IN
from harness.compare.render import render_markdown as render_comparison
from harness.compare.rules import Broken
from harness.doctor import Finding, Level
from harness.doctor import render as render_findings
from harness.evaluation.results import build_results
from harness.evaluation.schema import Failure, Results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.importers import load_outcomes, outcome_matrix, write_outcomes_csv
from harness.report.tables import render_csv, render_markdown, render_terminal
from harness.text import counted, counted_part, csv_original, csv_text, line, markdown, plain
from router.outcomes import OutcomeMatrix

HOSTILE = [
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "safe\rowned\nline of ours",
    "\u202egnp.exe\u2066",
    "\x9b31mC1",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "![p](http://evil.example/p.png) [c](http://evil.example)",
    "[x]: http://evil.example",
    "<!-- & &lt;b&gt; -->",
    "a | b | c",
    "`code` **bold** __bold__ ~~gone~~ $x^2$",
    "www.evil.example https://evil.example a@evil.example",
    "# heading",
    "- list",
    "1. list",
    "> quote",
    "=HYPERLINK(\"http://evil.example\")",
    "+1+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "'=1",
    "hidden\U000e0041\U000e0042",
    "\ud800",
]  # fmt: skip
STEERING = set(map(chr, [*range(0, 9), *range(11, 32), *range(127, 160), 0x202E, 0x2066, 0xE0041]))


def tokens(text: str) -> list[Token]:
    parser = MarkdownIt("commonmark").enable("table").enable("strikethrough")
    return [token for block in parser.parse(text) for token in (block, *(block.children or []))]


def meant(text: str) -> set[str]:
    """What a Markdown document has in it beside paragraphs, headings, lists, tables and text of ours."""
    bad = {"html_block", "html_inline", "image", "link_open", "em_open", "s_open", "code_inline", "fence"}
    return {token.type for token in tokens(text)} & bad


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_text_in_every_medium(text: str) -> None:
    assert not STEERING & set(plain(text))
    assert "\n" not in line(text)
    shown = markdown(text)
    for document in (shown, f"- {shown}", f"> {shown}", f"# {shown}", f"a **{shown}** b"):
        assert not meant(document), document
    inline = [token for token in tokens(shown) if token.type == "inline"]
    assert [token.type for token in tokens(shown)][:1] == ["paragraph_open"], "neither heading, list nor quote"
    assert "".join(child.content for child in inline[0].children or []) == line(text).strip()
    row = next(csv.reader(io.StringIO(csv_text(text) if "\n" not in text else "x")), [""])
    assert not row or not row[0].lstrip(" ").startswith(("=", "+", "-", "@", "\t"))
    assert csv_original(csv_text(text)) == text


@given(st.text(max_size=80))
def test_any_text_comes_back_from_a_cell_and_stays_text(text: str) -> None:
    assert csv_original(csv_text(text)) == text
    assert not meant(f"- {markdown(text)}")


def test_ordinary_names_and_sentences_stay_as_they_are() -> None:
    for text in (
        "django__django-11099",
        "Claude 4.5 Opus (20251101) [medium]x",
        "p < 0.05, difference −0.4 [−9.1, +8.2]",
        "at $0.568 an instance against $0.721",
    ):
        assert markdown(text) == csv_text(text) == line(text) == text


def matrix(names: list[str]) -> OutcomeMatrix:
    rng = np.random.default_rng(0)
    shape = (12, len(names))
    instances = [f"own__repo-{k}" for k in range(11)] + ["=evil\x1b[2J|<b>"]
    return OutcomeMatrix.build(instances, names, rng.integers(0, 2, shape), rng.random(shape))


@pytest.fixture(params=range(0, len(HOSTILE), 4))
def document(request: pytest.FixtureRequest) -> Results:
    names = [*HOSTILE[request.param : request.param + 4], "plain"]
    outcomes = matrix(names)
    inputs = EvaluationInputs(
        outcomes=outcomes,
        embeddings=np.random.default_rng(0).normal(size=(12, 3)),
        dataset=names[0],
        failures=[
            Failure(kind=names[1], whose="provider", scored=False, retried=names[0], cells={names[0]: 2}),
        ],
        notes=[f"a note of {name}" for name in names] + names,
    )
    return build_results(inputs, EvaluationSettings(policies=["best-fixed"], folds=3, repeats=1))


def test_results_hold_hostile_names_as_text(document: Results) -> None:
    terminal = render_terminal(document)
    assert not STEERING & set(terminal)
    assert not any(line.startswith(("owned", "line of ours")) for line in terminal.splitlines())
    text = render_markdown(document)
    assert not meant(text)
    widths = {row.replace("\\|", "").count("|") for row in text.splitlines() if row.startswith("| ")}
    assert widths == {10, 7, 3 + 1 + len(document.pool) + 1}, "every name is one cell"
    assert [token.tag for token in tokens(text) if token.type == "heading_open"].count("h1") == 1
    rows = list(csv.DictReader(io.StringIO(render_csv(document))))
    for row in rows:
        assert not row["name"].lstrip(" ").startswith(("=", "+", "-", "@"))
        assert row["delta_vs_best"] == "" or float(row["delta_vs_best"]) <= 12, "numbers stay numbers"
    assert json.loads(document.to_json())["pool"] == document.pool, "the document itself keeps the names"


def test_outcomes_with_hostile_names_read_back_unchanged(tmp_path: Path) -> None:
    names = [name for name in HOSTILE if name == name.strip() and "\ud800" not in name and "\r" not in name]
    outcomes = matrix(names)
    write_outcomes_csv(outcomes, tmp_path / "o.csv")
    cells = list(csv.reader((tmp_path / "o.csv").open(newline="")))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in cells for cell in row[:2])
    read, _ = outcome_matrix(load_outcomes([tmp_path / "o.csv"]).runs, None, outcomes.instances)
    assert set(read.models) == set(names)
    assert "=evil\x1b[2J|<b>" in read.instances


def test_a_comparison_holds_hostile_names_as_text() -> None:
    names = [name for name in HOSTILE if "\ud800" not in name]
    base = RunOutcomes(HOSTILE[0], matrix(names), failures=tuple(HOSTILE), notes=tuple(HOSTILE))
    flipped = OutcomeMatrix.build(base.matrix.instances, names, 1 - base.matrix.resolved)
    comparison = compare_sides(base, RunOutcomes(HOSTILE[4], flipped, failures=tuple(HOSTILE)), BUILT_IN)
    text = render_comparison(comparison, [Broken(HOSTILE[5], HOSTILE[4])], HOSTILE)
    assert not meant(text)
    assert not STEERING & set(text)
    rows = [row for row in text.splitlines() if row.startswith("| ")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {12}


def test_findings_and_routes_hold_hostile_text_on_one_line() -> None:
    from router.checkpoint import Header, RoutedModel
    from router.memory import Neighbour
    from router.router import ModelEstimate, Route

    for text in HOSTILE:
        findings = render_findings([Finding(Level.OK, "images", text, text)])
        assert len(findings.splitlines()) == 3
        assert not STEERING & set(findings)
        route = Route(
            model=text,
            score=0.5,
            cost_usd=None,
            scores=(ModelEstimate(text, 0.5, None),),
            cluster=None,
            reason=text,
            words=(text,),
            neighbours=(Neighbour(text, 0.5),),
        )
        shown = render_route(route, text)
        assert len(shown.splitlines()) == 4
        assert not STEERING & set(shown)
        header = Header.model_construct(
            policy=text, embedder=text, models=[RoutedModel.model_construct(name=text, mean_cost_usd=None)], figures={},
            clusters=[], instances=[], provenance={"tasks": text}, params={},
        )  # fmt: skip
        assert not STEERING & set(render_explanation(header))


def test_one_is_singular():
    assert counted(1, "row is", "rows are") == "1 row is"
    assert [counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]


def test_a_part_agrees_with_its_verb_and_a_whole_with_its_number() -> None:
    assert counted_part(1, 1, "verdict", "is", "are") == "1 of 1 verdict is"
    assert counted_part(1, 24, "verdict", "is", "are") == "1 of 24 verdicts is"
    assert counted_part(0, 24, "verdict", "is", "are") == "0 of 24 verdicts are"
