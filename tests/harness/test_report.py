"""The report as a file: everything escaped, links that lead somewhere, and it is drawn again only where needed."""

from __future__ import annotations

import json
import re
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from hostile_run import ATTACK, INSTANCES, MODELS, hostile_results, write_hostile_run

from agents.leaks import KINDS, Flag
from harness.errors import InputError
from harness.evaluation.annotate import described
from harness.evaluation.breakdown import break_down
from harness.evaluation.cluster_words import with_words
from harness.evaluation.schema import ClusterProfile, Group, Results
from harness.importers.table import write_outcomes_csv
from harness.report.html import write_report
from harness.report.html.assets import data_block
from harness.report.html.cell_data import MANY_CELLS
from harness.report.tables import write_results
from harness.report.text import clipped, plain
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from router.outcomes import OutcomeMatrix


class Elements(HTMLParser):
    """Start tags with their attributes, as a browser's parser would take them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_hostile_run(tmp_path)


def cells_of(page: str) -> dict[str, Any]:
    block = re.search(r'<script type="application/json" id="cells-data">(.*?)</script>', page, re.DOTALL)
    assert block
    data: dict[str, Any] = json.loads(block.group(1))
    return data


def test_whatever_came_from_outside_is_text(run: RunFolder) -> None:
    pages = [write_report(run.path), *run.path.glob("instances/*/*/cell.html")]
    assert len(pages) == 1 + len(INSTANCES) * len(MODELS)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        elements = Elements(text).tags
        assert not [tag for tag, _ in elements if tag in ("img", "iframe", "object", "embed", "base", "textarea")]
        assert all(not name.startswith("on") and name != "style" for _, attributes in elements for name in attributes)
        scripts = [attributes.get("type") for tag, attributes in elements if tag == "script"]
        assert scripts == (["application/json", None] if page.name == "results.html" else [None])
        for tag, attributes in elements:
            for name in ("src", "href", "action", "data", "poster", "srcset"):
                assert not re.match(r"\s*([a-z]+:)?//|\s*javascript:", attributes.get(name) or ""), (tag, attributes)
        policy = next(a["content"] for _, a in elements if a.get("http-equiv") == "Content-Security-Policy")
        assert policy is not None
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy


def test_links_lead_to_the_cells_pages_and_to_their_files(run: RunFolder) -> None:
    write_report(run.path)
    for cell in (Cell("owner__repo-0", MODELS[0]), Cell("owner__repo-11", MODELS[1])):
        folder = run.cell_dir(cell)
        hrefs = [a["href"] or "" for tag, a in Elements((folder / "cell.html").read_text()).tags if tag == "a"]
        files = {href.split("#")[0] for href in hrefs} - {""}
        assert {"../../../results.html", "patch.diff", "test_output.txt", "trajectory.json"} <= files
        assert all((folder / href).exists() for href in files)


def test_a_selection_reaches_the_cells_of_the_run(run: RunFolder) -> None:
    part = run.path / "selection"
    part.mkdir()
    matrix = OutcomeMatrix.build(INSTANCES[:2], MODELS[:1], np.array([[1.0], [0.0]]))
    write_outcomes_csv(matrix, part / "outcomes.csv")
    write_results(hostile_results(), part)
    data = cells_of(write_report(part).read_text(encoding="utf-8"))
    assert data["cells"] == 2
    assert data["folders"]["root"] == "../instances/"  # type: ignore[call-overload]


def test_a_cells_page_is_drawn_again_only_when_something_changed(run: RunFolder) -> None:
    write_report(run.path)
    pages = {page: page.stat().st_mtime_ns for page in run.path.glob("instances/*/*/cell.html")}
    changed = run.cell_dir(Cell("owner__repo-3", MODELS[0]))
    (changed / "patch.diff").write_text("another patch, longer than the first one was " * 9)
    (run.cell_dir(Cell("owner__repo-4", MODELS[0])) / "cell.html").unlink()
    write_report(run.path)
    again = {page for page, stamp in pages.items() if page.stat().st_mtime_ns != stamp}
    assert again == {changed / "cell.html", run.cell_dir(Cell("owner__repo-4", MODELS[0])) / "cell.html"}
    assert "another patch" in (changed / "cell.html").read_text()


def test_a_cells_page_shows_the_issue_and_every_kind_of_flag(run: RunFolder) -> None:
    page = run.cell_dir(Cell("owner__repo-3", MODELS[0])) / "cell.html"
    rows = [json.loads(line) for line in (run.path / "dataset.jsonl").read_text().splitlines()]
    rows[3]["problem_statement"] = "Title\n\n    indented <b>code</b> &amp; more \x1b[31m\u202e"
    (run.path / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Store(run.store_path) as store:
        flags = [Flag("download", 4, "pip download repo"), Flag("of-a-later-version", 0, "conftest.py")]
        store.flagged(Cell("owner__repo-3", MODELS[0]), flags)
    report = write_report(run.path).read_text(encoding="utf-8")
    shown = page.read_text(encoding="utf-8")
    assert "Title\n\n    indented &lt;b&gt;code&lt;/b&gt; &amp;amp; more ⟦U+202E⟧" in shown
    assert KINDS["download"] in shown
    assert "step 4" in shown
    assert "of-a-later-version" in shown
    assert "conftest.py" in shown
    assert "download · of-a-later-version" in report
    assert "owner__repo-1 " in report.split('id="flags"')[1].split("</section>")[0]


def test_an_unfinished_run_says_so(run: RunFolder) -> None:
    whole = write_report(run.path).read_text(encoding="utf-8")
    assert "Not complete" not in whole
    assert re.search(r"<title>data .* · 2 models · \d{4}-\d\d-\d\d · run run · complete – polyswe</title>", whole)
    with Store(run.store_path) as store:
        store.agent_started(Cell("owner__repo-3", MODELS[0]))
    part = write_report(run.path).read_text(encoding="utf-8")
    assert "Not complete: 23 of 24 cells have a verdict." in part
    assert re.search(r"<title>.* · run run · 23 of 24 cells – polyswe</title>", part)


def test_the_recommendation_is_shown_as_it_is(tmp_path: Path) -> None:
    results = hostile_results()
    advice = results.recommendation
    assert advice is not None
    page = write_report(tmp_path, results).read_text()
    top = unescape(page.split('id="recommendation"')[1].split("<nav")[0])
    for text in (advice.headline, *(statement.text for statement in advice.statements)):
        assert text in top
    tiles = re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)<small>([^<]*)", page)
    assert [(name, rate) for name, rate, _ in tiles] == [
        ("Recommended", "40.0\u202f%"),
        ("Most resolved", "66.7\u202f%"),
        ("Best routing policy, held out", "63.3\u202f%"),
        ("Oracle (upper bound)", "80.0\u202f%"),
    ]
    scripted = write_report(tmp_path, results.model_copy(update={"scripted": True})).read_text()
    for place in ("pretended $1.20 per instance", "pretended $ / instance", "All costs are pretended"):
        assert place in scripted
        assert place not in page


def test_difficulties_are_in_the_order_of_effort(tmp_path: Path) -> None:
    names = ["15 min - 1 hour", "<15 min fix", ">4 hours", "1-4 hours"]
    groups = [Group(by="difficulty", name=name, size=9, rates=dict.fromkeys(MODELS, 0.5)) for name in names]
    others = [Group(by="language", name=name, size=9, rates=dict.fromkeys(MODELS, 0.5)) for name in ("go", "c")]
    page = write_report(tmp_path, hostile_results().model_copy(update={"groups": [*groups, *others]})).read_text()
    section = page.split('id="groups"')[1].split("</section>")[0]
    rows = [unescape(name) for name in re.findall(r'<th scope="row">([^<]*)</th>', section)]
    assert rows == ["<15 min fix", "15 min - 1 hour", "1-4 hours", ">4 hours", "go", "c"]


def test_the_same_folder_gives_the_same_page(run: RunFolder) -> None:
    first = write_report(run.path).read_bytes()
    assert write_report(run.path).read_bytes() == first


def test_no_name_reorders_the_page(tmp_path: Path) -> None:
    run = write_hostile_run(tmp_path)
    odd = "gpt-\u202e5\u2066"
    results = Results.model_validate_json(hostile_results().to_json().replace(json.dumps(MODELS[0])[1:-1], odd))
    page = write_report(run.path, results).read_text()
    assert "⟦U+202E⟧" in page
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)


@pytest.mark.parametrize(
    ("content", "explanation"),
    [
        ("not json", "damaged"),
        ('{"messages": 3}', "no messages"),
        ("[]", "no messages"),
        ("[" * 200_000, "damaged"),
        (None, "no trajectory"),
    ],
)
def test_a_damaged_trajectory_is_named_as_one(run: RunFolder, content: str | None, explanation: str) -> None:
    folder = run.cell_dir(Cell("owner__repo-0", MODELS[0]))
    (folder / "trajectory.json").unlink()
    if content is not None:
        (folder / "trajectory.json").write_text(content)
    (folder / "report.json").write_text('["neither a report"]')
    (folder / "patch.diff").write_bytes(b"\xff\xfe not text \x00")
    write_report(run.path)
    assert explanation in (folder / "cell.html").read_text(encoding="utf-8")


def test_a_replays_folder_needs_no_run_and_no_outcomes(tmp_path: Path) -> None:
    write_results(hostile_results(), tmp_path)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert 'id="cells-data"' not in page
    assert "How the numbers were made" in page
    with pytest.raises(InputError, match=r"results\.json"):
        write_report(tmp_path / "nothing")


def test_many_cells_stay_small_and_quick_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    instances, models = [f"owner__repository-{k}" for k in range(2294)], [f"model {k}" for k in range(40)]
    shape = (len(instances), len(models))
    cost = rng.random(shape)
    matrix = OutcomeMatrix.build(
        instances, models, (rng.random(shape) < 0.5).astype(float), cost, cost * 100, cost * 999
    )
    write_outcomes_csv(matrix, tmp_path / "outcomes.csv")
    write_results(hostile_results(), tmp_path)
    page = write_report(tmp_path)
    assert page.stat().st_size < 5_000_000
    data = cells_of(page.read_text(encoding="utf-8"))
    assert data["cells"] == 2294 * 40 > MANY_CELLS
    assert data["disagreements_first"]


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_data_in_the_page_ends_no_element_and_comes_back_equal(value: object) -> None:
    block = str(data_block([value, ATTACK]))
    assert not set("<>&\u2028\u2029") & set(block)
    assert json.loads(block) == [value, ATTACK]


@given(st.text())
def test_plain_text_holds_nothing_that_hides_or_reorders(text: str) -> None:
    shown = plain(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    assert plain(shown) == shown


def test_long_texts_keep_their_start_and_their_end() -> None:
    text = "".join(f"line {k}\n" for k in range(5000))
    short = clipped(text, 900)
    assert short.startswith("line 0\n")
    assert short.endswith("line 4999\n")
    assert "left out" in short
    assert len(short) < 1100


def test_clusters_are_described_by_words_of_their_own() -> None:
    texts = {f"a{k}": f"the parser fails on dates number {k}" for k in range(5)}
    texts |= {f"b{k}": f"the widget fails to render number {k}" for k in range(5)}
    clusters = [
        ClusterProfile(cluster=0, size=5, rates={}, instances=[f"a{k}" for k in range(5)]),
        ClusterProfile(cluster=1, size=5, rates={}, instances=[f"b{k}" for k in range(5)]),
    ]
    first, second = with_words(clusters, texts)
    assert {"parser", "dates"} <= set(first.words)
    assert {"widget", "render"} <= set(second.words)
    assert not set(first.words[:2]) & set(second.words[:2])
    assert with_words(clusters, {}) == clusters
    assert with_words(clusters, dict.fromkeys(texts, "!?")) == clusters


def test_breakdowns_know_only_what_is_known() -> None:
    resolved = np.array([[1, 0], [1, np.nan], [0, np.nan], [1, 1]])
    outcomes = OutcomeMatrix.build(["a", "b", "c", "d"], ["x", "y"], resolved)
    groups = break_down(
        outcomes, {"repository": ["r", "s", "s", "r"], "difficulty": ["", None, "", ""], "one": ["o"] * 4}
    )
    assert [(group.by, group.name, group.size) for group in groups] == [("repository", "r", 2), ("repository", "s", 2)]
    assert groups[0].rates == {"x": 1.0, "y": 0.5}
    assert groups[1].rates == {"x": 0.5}


def test_results_without_texts_hold_no_words_and_no_ids() -> None:
    outcomes = OutcomeMatrix.build(["a"], ["x"], np.array([[1.0]]))
    stripped = described(hostile_results(), outcomes, {}, {})
    assert all(not cluster.words and not cluster.instances for cluster in stripped.clusters)
    assert "owner__repo-0" not in stripped.to_json()


def test_sections_of_what_only_some_runs_record_are_shown(tmp_path: Path) -> None:
    more = {
        "failures": [
            {"kind": f"image {ATTACK}", "whose": "machine", "scored": False, "retried": "at the next start",
             "cells": {MODELS[0]: 3}, "earlier": {MODELS[1]: 2}},
        ],
        "flagged": [
            {"instance_id": "owner__repo-1", "model": MODELS[1], "kind": "later-history", "times": 2, "step": 3,
             "command": f"git log --all {ATTACK}", "failed": False},
        ],
        "verifier": {
            "signals": ["calls"], "attempts": 1000, "auc": 0.71, "auc_ci95": (0.68, 0.74), "auc_across_models": 0.75,
            "brier": 0.18, "brier_of_rates": 0.2,
            "reliability": [{"predicted": k / 5, "observed": k / 5, "n": 50} for k in range(6)],
        },
        "what_it_takes": [
            {"auc": auc, "budget": budget, "resolved": 300 + 100 * auc * budget, "cost_per_instance": 0.1}
            for auc in (0.5, 0.75, 1.0) for budget in (0.5, 1.0)
        ],
    }  # fmt: skip
    results = Results.model_validate(hostile_results().model_dump(by_alias=True) | more)
    write_results(results, tmp_path)
    page = write_report(tmp_path, results).read_text(encoding="utf-8")
    for part in ("0.710 [0.680, 0.740]", "at most 0.5 × the best single’s cost", "later-history", "at the next start"):
        assert part in page
    assert not [tag for tag, _ in Elements(page).tags if tag == "img"]
