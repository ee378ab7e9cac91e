"""What people see: nothing may be cut so that a flattering row looks like an honest one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evaluation.schema import Complementarity, Null, Pair, RandomClusters, Results, Row, VsBestSingle
from harness.report.tables import WIDTH, render_csv, render_markdown, render_terminal, write_results

NAMES = ("Claude 4.5 Opus medium (20251101)", "Gemini | 3")


def results(names: tuple[str, str] = NAMES, scripted: bool = False) -> Results:
    def row(name: str, kind: str, evaluation: str, resolved: float, **more: object) -> Row:
        fields = {"name": name, "kind": kind, "evaluation": evaluation, "n": 500, "resolved": resolved}
        return Row.model_validate(fields | {"rate": resolved / 500, "rate_ci95": (0.7, 0.78)} | more)

    best = VsBestSingle(delta=0, ci95=(0, 0), p_value=1)
    null = RandomClusters(mean=378.84, sd=2.41)
    share = {names[0]: 0.6, names[1]: 0.4}
    return Results(
        dataset="verified",
        instances=500,
        pool=list(names),
        seed=0,
        folds=10,
        repeats=10,
        scripted=scripted,
        rows=[
            row(names[0], "single", "recorded", 372, vs_best_single=best, cost_per_instance=0.721245),
            row(names[1], "single", "recorded", 371, vs_best_single=VsBestSingle(delta=-1, ci95=(-16, 14), p_value=1)),
            row(
                "cluster", "policy", "cross-fitted", 371.6, routing_share=share, area=0.71,
                vs_best_single=VsBestSingle(delta=-0.4, ci95=(-9.1, 8.2), p_value=0.93, p_text=0.0004),
            ),
            row("cluster", "policy", "in-sample", 383, null=null, routing_share=share),
            row("random", "random", "recorded", 365.33),
            row("oracle", "oracle", "recorded", 414),
        ],
        complementarity=Complementarity(
            oracle=414, pairs=[Pair(a=names[0], b=names[1], both=342, a_only=30, b_only=29, neither=99)]
        ),
        null=Null(policy="cluster", in_sample_random_clusters=null),
        verdict="Held out, cluster routing resolves 371.6 of 500: no evidence.",
        notes=["a note that is long enough to be wrapped " * 4],
    )  # fmt: skip


def test_the_terminal_table_shows_the_numbers_and_ends_with_the_verdict():
    text = render_terminal(results())
    lines = text.splitlines()
    assert lines[-1] == "Held out, cluster routing resolves 371.6 of 500: no evidence."
    opus = next(line for line in lines if line.startswith("Claude 4.5 Opus medium (20251101) "))
    assert all(part in opus for part in ("372/500", "74.4%", "70.0% – 78.0%", "0.7212", "best single"))
    routed = next(line for line in lines if line.startswith("cluster (cross-fitted)"))
    assert all(part in routed for part in ("371.6/500", "−0.4 [−9.1, +8.2]", "0.93", "<0.001"))


def test_the_in_sample_row_is_labelled_and_followed_by_its_null():
    for text in (render_terminal(results()), render_markdown(results())):
        lines = text.splitlines()
        at = next(k for k, line in enumerate(lines) if "cluster (in-sample, not held-out)" in line and "383/" in line)
        assert "random clusters reach" in lines[at + 1]
        assert "378.8 ± 2.4" in lines[at + 1]


@settings(max_examples=50)
@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=150).filter(str.strip),
        min_size=2, max_size=2, unique=True,
    ),
    st.sampled_from([60, 80, 100, WIDTH]),
)  # fmt: skip
def test_no_line_of_the_table_is_wider_than_the_terminal(names: list[str], width: int):
    text = render_terminal(results((names[0], names[1])), width)
    table = text[: text.index("Routing share")]
    assert max(map(len, table.splitlines())) <= width


def test_a_terminal_of_80_columns_shows_whole_labels_and_names_what_it_leaves_out():
    text = render_terminal(results(), 80)
    lines = text.splitlines()
    routed = next(line for line in lines if line.startswith("cluster (cross-fitted) "))
    assert all(part in routed for part in ("371.6/500", "74.3%", "−0.4 [−9.1, +8.2]"))
    assert any(line.startswith("cluster (in-sample) ") for line in lines)
    assert "Left out on a terminal this narrow: 95 % interval, p (Δ), p (text)." in lines
    assert "p (Δ):" not in text


def test_a_shortened_name_keeps_its_label():
    text = render_terminal(results(("a model with a name that nobody should give to a model " * 3, "b"), scripted=True))
    assert "… (scripted)" in text
    assert "scripted stand-in models" in text


def test_markdown_is_a_table_whatever_the_names():
    table = [line for line in render_markdown(results()).splitlines() if line.startswith("|")]
    assert "Gemini \\| 3" in "\n".join(table)
    assert {line.replace("\\|", "").count("|") for line in table[:9]} == {9}


def test_csv_holds_every_row_unrounded():
    rows = list(csv.DictReader(io.StringIO(render_csv(results()))))
    assert [row["evaluation"] for row in rows[2:4]] == ["cross-fitted", "in-sample"]
    assert rows[0]["cost_per_instance"] == "0.721245"
    assert (rows[2]["delta_vs_best"], rows[2]["p_value"], rows[2]["area"]) == ("-0.4", "0.93", "0.71")
    assert rows[2]["p_text"] == "0.0004"
    assert (rows[3]["random_clusters_mean"], rows[3]["p_value"]) == ("378.84", "")


def test_files_are_written_whole_and_replaced(tmp_path: Path):
    out = tmp_path / "new" / "folder"
    write_results(results(), out)
    write_results(results(scripted=True), out)
    assert sorted(path.name for path in out.iterdir()) == ["results.csv", "results.json", "results.md"]
    assert json.loads((out / "results.json").read_text())["scripted"] is True


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_never_reach_the_file(value: float):
    broken = results().model_copy(update={"rows": [results().rows[0].model_copy(update={"area": value})]})
    with pytest.raises(ValueError, match="JSON compliant"):
        broken.to_json()
