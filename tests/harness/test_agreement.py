"""One number, one place: terminal, Markdown, JSON and page say the same of the same replay."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.importers import write_outcomes_csv
from router.lab.simulation import random_embeddings, simulate_pool
from router.outcomes import OutcomeMatrix

THINGS = ("parser", "cache", "socket", "printer", "index", "clock")
SUFFIXES = {
    "recorded": "",
    "cross-fitted": " (cross-fitted)",
    "leave-one-repository-out": " (unseen repositories)",
    "in-sample": " (in-sample, not held-out)",
}


class Page(HTMLParser):
    """The text of every cell of the table of results, and all text of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.text = ""
        self._inside = self._cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "div" and (names.get("aria-label") or "").startswith("Results: every model"):
            self._inside = True
        if self._inside and tag == "tr":
            self.rows.append([])
        if self._inside and tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False
        if tag == "table":
            self._inside = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What `polyswe replay` prints of a simulated pool, and its folder."""
    folder = tmp_path_factory.mktemp("replay")
    rng = np.random.default_rng(5)
    pool = simulate_pool(random_embeddings(60, rng), rng, models=3).outcomes
    names = [f"simulated__{'ab'[k % 2]}-{k}" for k in range(len(pool))]
    outcomes = OutcomeMatrix.build(names, ("sim | one", "sim-two", "sim-three"), pool.resolved, pool.cost)
    write_outcomes_csv(outcomes, folder / "outcomes.csv")
    issues = [f"The {THINGS[k % 6]} fails {k} times when the {THINGS[k // 6 % 6]} is empty" for k in range(60)]
    tasks = ({"instance_id": i, "problem_statement": text} for i, text in zip(names, issues, strict=True))
    (folder / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    out = folder / "out"
    replay = ["replay", str(folder / "outcomes.csv"), "--tasks", str(folder / "tasks.jsonl"), "--out", str(out)]
    more = ["--folds", "3", "--repeats", "2", "--policy", "cluster", "--policy", "knn"]
    wide = {**os.environ, "COLUMNS": "160"}  # every column
    done = subprocess.run([sys.executable, "-m", "harness", *replay, *more], capture_output=True, text=True, env=wide)
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def numbers(text: str) -> list[float]:
    return [
        float(n.replace("−", "-")) for n in re.findall(r"(?<![\w.])[−+-]?\d+(?:\.\d+)?", text.replace("\u202f", ""))
    ]


def agrees(shown: list[str], row: dict[str, Any], best: str) -> None:
    """The cells after the name, in the order of the tables, against the row of results.json."""
    resolved, rate, interval, cost, delta, constants, p_value, p_text = shown
    assert numbers(resolved)[:2] == pytest.approx([row["resolved"], row["n"]], abs=0.051)
    assert numbers(rate) == pytest.approx([100 * row["rate"]], abs=0.051)
    assert numbers(interval) == pytest.approx([100 * end for end in row["rate_ci95"]], abs=0.051)
    assert numbers(cost) == pytest.approx([row["cost_per_instance"]], rel=0.01)
    against = row["vs_constants"]
    if constants == "on hull":
        assert (against["delta"], against["ci95"]) == (0, [0, 0])
    else:
        assert numbers(constants) == pytest.approx([against["delta"], *against["ci95"]], abs=0.051)
    versus = row["vs_best_single"]
    if row["name"] == best:
        assert delta.strip() == "best single"
        assert (p_value, p_text) == ("–", "–")
        return
    assert numbers(delta) == pytest.approx([versus["delta"], *versus["ci95"]], abs=0.051)
    text_test = versus["p_text"] if versus["p_text_holm"] is None else versus["p_text_holm"]
    for cell, value in ((p_value, versus["p_value"]), (p_text, text_test)):
        assert (cell == "–") is (value is None)
        if value is not None:
            assert numbers(cell) == pytest.approx([max(value, 0.001)], abs=0.0051)


def test_every_row_has_the_same_numbers_on_terminal_page_and_in_the_files(replayed: tuple[str, Path]) -> None:
    terminal, out = replayed
    document = json.loads((out / "results.json").read_text())
    best = document["recommendation"]["most_resolved"]["name"]
    markdown = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (out / "results.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    page = Page()
    page.feed((out / "results.html").read_text())
    shown = [[" ".join(cell.split()) for cell in row] for row in page.rows[1:]]
    assert len(shown) == len(document["rows"])
    for row, on_page in zip(document["rows"], shown, strict=True):
        label = row["name"] + SUFFIXES[row["evaluation"]]
        label = {"random": "random (expectation)", "oracle": "oracle (any model resolves)"}.get(row["name"], label)
        (line,) = [line for line in terminal.splitlines() if line.startswith(f"{label}  ") and "/" in line]
        agrees(re.split(r"\s{2,}", line)[1:], row, best)
        (cells,) = [cells for cells in markdown if (cells[0], len(cells)) == (label, 9)]
        agrees(cells[1:], row, best)
        assert on_page[0].startswith(row["name"])
        assert ("cross-fitted" in on_page[0]) == ("cross-fitted" in label), "one name for it everywhere"
        agrees(on_page[1:9], row, best)


def test_the_recommendation_is_the_same_everywhere_and_made_of_the_rows(replayed: tuple[str, Path]) -> None:
    terminal, out = replayed
    document = json.loads((out / "results.json").read_text())
    advice = document["recommendation"]
    page = Page()
    page.feed((out / "results.html").read_text())
    on_page, printed = (" ".join(text.split()) for text in (page.text, terminal))
    markdown = (out / "results.md").read_text().replace("\\", "")
    for text in (advice["headline"], *(statement["text"] for statement in advice["statements"])):
        assert text in printed
        assert text in markdown
        assert text in on_page
    assert terminal.split("\n\n")[1].startswith(advice["headline"][:60]), "the first lines after the title"
    labels = [statement["label"] for statement in advice["statements"]]
    assert {"Why", "Routing", "How sure", "Head-room"} <= set(labels)
    rows = {row["name"]: row for row in document["rows"] if row["kind"] == "single"}
    for choice in (advice["use"], advice["most_resolved"]):
        row = rows[choice["name"]]
        versus = (row["vs_best_single"]["delta"], row["vs_best_single"]["ci95"])
        assert (choice["resolved"], choice["cost_per_instance"], choice["delta"], choice["delta_ci95"]) == (
            row["resolved"], row["cost_per_instance"], *versus,
        )  # fmt: skip
