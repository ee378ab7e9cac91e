"""Figures come from the results document alone, on a machine without a display, and stand in the page as they are."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.evaluation.results import build_results
from harness.evaluation.schema import RepeatableOracle, Results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.report.figures import ON_PAGE, draw, inline, write_figures
from harness.report.figures.drawing import COLOURS
from harness.report.html.assets import FOLDER
from harness.report.text import plain
from router.outcomes import OutcomeMatrix

NAMES = ["ant", "bee", "cat $ <&>"]
ENDINGS = (".png", ".svg")


def results(cost: bool = True, policies: tuple[str, ...] = ("cluster",), spread: float = 1.0) -> Results:
    rng = np.random.default_rng(0)
    price = np.array([1.0, 0.3, 0.1]) ** spread
    costs = price * np.exp(np.random.default_rng(1).normal(size=(60, 3))) if cost else None
    resolved = (rng.random((60, 3)) < 0.5).astype(float)
    outcomes = OutcomeMatrix.build([f"i{k}" for k in range(60)], NAMES, resolved, costs)
    params = {"cluster": {"n_clusters": 3}} if "cluster" in policies else {}
    inputs = EvaluationInputs(outcomes=outcomes, embeddings=rng.normal(size=(60, 4)), dataset="toy")
    settings = EvaluationSettings(policies=policies, params=params, folds=3, repeats=1, permutations=9)
    return build_results(inputs, settings)


@pytest.fixture(scope="module")
def document() -> Results:
    return Results.model_validate_json(results().to_json())


def renamed(document: Results, name: str, new: str) -> Results:
    return Results.model_validate_json(document.to_json().replace(json.dumps(name), json.dumps(new)))


def texts(svg: str) -> list[str]:
    """Every text of a drawing, as a reader sees it."""
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if "text" in element.tag]


def test_every_figure_is_written_and_the_same_again(document: Results, tmp_path: Path) -> None:
    written = write_figures(document, tmp_path / "a")
    names = ("clusters", "cost-quality", "pairs", "rates", "reliability", "shares", "what-it-takes")
    assert sorted(path.name for path in written) == [name + ending for name in names for ending in ENDINGS]
    assert all(path.stat().st_size > 5000 for path in written)
    for path in write_figures(document, tmp_path / "b"):
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_the_users_settings_of_matplotlib_do_not_matter(document: Results) -> None:
    svg = draw(document, ("rates",))["rates"].svg()
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "text.usetex": True}):
        assert draw(document, ("rates",))["rates"].svg() == svg
        assert matplotlib.rcParams["font.size"] == 30


def test_threads_draw_the_same(document: Results) -> None:
    alone = {name: inline(drawing) for name, drawing in draw(document, ON_PAGE).items()}
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: draw(document, ON_PAGE), range(4)))
    for drawn in together:
        assert {name: inline(drawing) for name, drawing in drawn.items()} == alone


def test_unknown_costs_and_policies_without_clusters_leave_a_figure_out() -> None:
    always = {"pairs", "rates", "shares"}
    assert set(draw(results(cost=False))) == {"clusters", *always}
    assert set(draw(results(policies=("best-fixed",)))) == {"cost-quality", "reliability", "what-it-takes", *always}


def test_names_are_no_formulas_and_clusters_carry_their_words(document: Results) -> None:
    name = "a $\\frac{$ b \x07"
    changed = renamed(document, NAMES[2], name)
    clusters = [cluster.model_copy(update={"words": ["$x^{$", "queryset"]}) for cluster in changed.clusters]
    drawn = draw(changed.model_copy(update={"clusters": clusters}))
    assert len(drawn) == 7
    for figure in ("rates", "clusters", "pairs"):
        assert any(plain(name) in text for text in texts(drawn[figure].svg()))
    assert any("$x^{$, queryset" in text for text in texts(drawn["clusters"].svg()))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1))
def test_any_name_can_be_drawn_and_put_into_a_page(document: Results, name: str) -> None:
    changed = renamed(document, NAMES[0], name)
    for drawing in draw(changed, ("rates", "shares")).values():
        ElementTree.fromstring(inline(drawing))


def test_drawings_in_one_page_share_no_id_and_refer_to_their_own(document: Results) -> None:
    seen: set[str] = set()
    for name, drawing in draw(document, ON_PAGE).items():
        content = str(inline(drawing))
        ids = re.findall(r' id="([^"]+)"', content)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', content)
        assert {first or second for first, second in references} == set(ids), name


def test_colours_follow_the_theme_of_the_page(document: Results) -> None:
    sheet = (FOLDER / "report.css").read_text(encoding="utf-8")
    for name, colour in COLOURS.items():
        assert re.search(rf"--{name}: light-dark\({colour}\b", sheet), name
    for drawing in draw(document, ON_PAGE).values():
        content = str(inline(drawing))
        assert not re.search(r"#[0-9a-f]{6}\b", content.replace("href=", "")), drawing.name
        assert "style=" not in content
        assert "<style" not in content


def test_marks_tell_their_numbers(document: Results) -> None:
    drawn = draw(document, ("rates", "cost-quality"))
    for row in document.rows:
        if row.kind == "single":
            for drawing in drawn.values():
                tips = [tip for tip in drawing.tips.values() if tip.startswith(f"{row.name}, recorded")]
                assert len(tips) == 1
                assert ElementTree.fromstring(inline(drawing)).find(f".//title[.='{tips[0]}']") is not None


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 4.0])
def test_cost_has_three_ticks_whatever_its_range(spread: float) -> None:
    axes = draw(results(spread=spread), ("cost-quality",))["cost-quality"].axes
    low, high = axes.get_xlim()
    assert len([tick for tick in axes.get_xticks() if low <= tick <= high]) >= 3


def test_the_oracle_does_not_stretch_the_axis(document: Results) -> None:
    """It resolves nearly all of these instances, the models half of them."""
    best = max(row.rate for row in document.rows if row.kind != "oracle")
    oracle = next(row for row in document.rows if row.kind == "oracle")
    assert oracle.rate > best + 0.2
    repeatable = RepeatableOracle(resolved=60 * oracle.rate, method="", repeatable_share=1)
    complementarity = document.complementarity.model_copy(update={"repeatable_oracle": repeatable})
    drawing = draw(document.model_copy(update={"complementarity": complementarity}), ("cost-quality",))["cost-quality"]
    high = drawing.axes.get_ylim()[1]
    assert high < best + 0.1
    shown = texts(drawing.svg())
    assert any(text.startswith("↑ oracle") for text in shown)
    assert any(text.startswith("↑ repeatable oracle") for text in shown)


def test_every_model_is_numbered_and_the_key_names_it(document: Results) -> None:
    shown = texts(draw(document, ("cost-quality",))["cost-quality"].svg())
    for number, name in enumerate(NAMES, 1):
        assert str(number) in shown
        assert any(re.fullmatch(rf"{number}\s+{re.escape(name)}", text) for text in shown)
