"""The results document: right rows over the right instances, and a sentence that never claims too much."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.errors import InputError
from harness.evaluation.policy_rows import enough_permutations
from harness.evaluation.results import build_results
from harness.evaluation.schema import Results, Row, VsBestSingle, read_results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.evaluation.verdict import best_single, corrected, routing_rows, verdict
from harness.report.tables import render_csv, render_markdown, render_terminal
from router.curves import aiq, hull, qnc
from router.outcomes import OutcomeMatrix

QUICK = EvaluationSettings(policies=["cluster"], repeats=2, permutations=39, params={"cluster": {"n_clusters": 2}})


def results_of(outcomes: OutcomeMatrix, embeddings: np.ndarray, **changes: Any) -> Results:
    inputs = EvaluationInputs(outcomes=outcomes, embeddings=embeddings, dataset="toy")
    return build_results(inputs, replace(QUICK, **changes))


def matrix(resolved: Any, cost: Any = None, models: tuple[str, ...] = ("ant", "bee", "cat")) -> OutcomeMatrix:
    values = np.asarray(resolved, dtype=float)
    names = [f"i{k}" for k in range(len(values))]
    return OutcomeMatrix.build(names, models[: values.shape[1]], values, cost)


def two_kinds(n: int) -> np.ndarray:
    """Texts of two kinds, far apart and a little noisy."""
    rng = np.random.default_rng(0)
    points = np.where(np.arange(n)[:, None] % 2 == 0, [1.0, 0.0], [0.0, 1.0]) + rng.normal(0, 0.05, (n, 2))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def specialists(n: int = 80) -> OutcomeMatrix:
    """ant resolves even instances, bee odd ones, cat a third of all."""
    k = np.arange(n)
    return matrix(np.stack([k % 2 == 0, k % 2 == 1, k % 3 == 0], axis=1), np.full((n, 3), [0.9, 0.6, 0.1]))


def coins(n: int = 100, seed: int = 4) -> OutcomeMatrix:
    """Equally good models whose differences nothing in the text explains."""
    rng = np.random.default_rng(seed)
    return matrix(rng.random((n, 3)) < 0.6, rng.random((n, 3)))


def by(results: Results, name: str, evaluation: str | None = None) -> Row:
    return next(row for row in results.rows if row.name == name and evaluation in (None, row.evaluation))


def test_a_pool_of_specialists_is_worth_routing():
    results = results_of(specialists(), two_kinds(80))
    routed = by(results, "cluster", "cross-fitted")
    assert routed.resolved == 80
    assert routed.vs_best_single is not None
    assert routed.vs_best_single.delta == 40
    assert routed.vs_best_single.p_text == pytest.approx(1 / 40)
    assert routed.vs_best_single.p_value is not None
    assert routed.vs_best_single.p_value < 0.001
    assert routed.routing_share == pytest.approx({"ant": 0.5, "bee": 0.5, "cat": 0.0})
    assert routed.cost_per_instance == pytest.approx(0.75)
    assert results.verdict.startswith("Held out, cluster routing resolves 80 of 80 against 40 for bee (difference +40")
    assert "it beats the best single model" in results.verdict


def test_the_trade_off_is_that_of_the_curve_with_an_interval_around_it():
    results = results_of(specialists(), two_kinds(80))
    row = by(results, "cluster", "cross-fitted")
    assert row.trade_off is not None
    assert row.curve is not None
    cost, rate = (np.array([getattr(point, axis) for point in row.curve]) for axis in ("cost", "rate"))
    singles = [row for row in results.rows if row.kind == "single"]
    prices, rates = np.array([row.cost_per_instance for row in singles]), np.array([row.rate for row in singles])
    best = int(np.lexsort((prices, -rates))[0])
    span = float(prices.min()), float(prices[best])
    gain = aiq(cost, rate, *span) - aiq(prices, rates, *span)
    assert row.trade_off.hull_gain == pytest.approx(80 * gain, abs=1e-4)
    assert row.trade_off.parity == pytest.approx(qnc(*hull(cost, rate), span[1], float(rates[best])), abs=1e-4)
    low, high = row.trade_off.hull_gain_ci95
    assert low < row.trade_off.hull_gain < high


def test_a_claim_among_many_policies_stays_possible_and_power_is_stated():
    assert enough_permutations(["cluster", "best-fixed"]) == 200
    assert enough_permutations([f"knn:k={k}" for k in range(9)]) == 900
    assert enough_permutations([f"knn:k={k}" for k in range(99)]) == 2000
    results = results_of(coins(30), two_kinds(30), policies=["cluster:n_clusters=3", "knn"])
    assert {"cluster:n_clusters=3", "knn"} <= {row.name for row in results.rows}
    assert any("would probably be missed (estimate" in note for note in results.notes)


def test_coins_are_not_worth_routing_however_good_it_looks_in_sample():
    params = {"cluster": {"n_clusters": 25, "min_count": 1}}
    texts = np.random.default_rng(1).normal(size=(100, 8))
    results = results_of(coins(), texts, params=params)
    flattering = by(results, "cluster", "in-sample")
    assert flattering.vs_best_single is not None
    assert flattering.vs_best_single.delta > 5
    assert (flattering.vs_best_single.p_value, flattering.vs_best_single.p_text) == (None, None)
    assert flattering.null is not None
    assert results.null is not None
    assert results.null.in_sample_random_clusters == flattering.null
    assert "it beats" not in results.verdict
    assert "within the range that random clusters reach" in results.verdict


def test_singles_bounds_and_pairs_are_counted_right():
    outcomes = matrix([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0]], [[3, 2, 1]] * 4)
    results = results_of(outcomes, two_kinds(4))
    assert [row.resolved for row in results.rows if row.kind == "single"] == [3, 2, 0]
    assert by(results, "random").resolved == pytest.approx(5 / 3)
    assert by(results, "random").vs_best_single.p_value is None  # type: ignore[union-attr]
    oracle = by(results, "oracle")
    assert (oracle.resolved, results.complementarity.oracle) == (3, 3)
    assert oracle.cost_per_instance == (3 + 2 + 1 + 2) / 4  # the cheapest solver, the cheapest model where nobody is
    first = results.complementarity.pairs[0]
    assert (first.a, first.b, first.both, first.a_only, first.b_only, first.neither) == ("ant", "bee", 2, 1, 0, 1)


def test_the_best_single_is_compared_with_itself_and_others_by_mcnemar():
    resolved = np.zeros((30, 2))
    resolved[:20, 0] = 1
    resolved[15:22, 1] = 1  # 15 only ant, 2 only bee
    results = results_of(matrix(resolved), two_kinds(30))
    best, other = by(results, "ant").vs_best_single, by(results, "bee").vs_best_single
    assert best == VsBestSingle(delta=0, ci95=(0, 0), p_value=1)
    assert other is not None
    assert (other.delta, other.p_value) == (-13, pytest.approx(0.0023498535, rel=1e-6))


def test_unknown_cells_are_left_out_and_told():
    outcomes = specialists(40)
    resolved = np.array(outcomes.resolved)
    resolved[:4, 2] = math.nan
    resolved[4, 0] = math.nan
    results = results_of(outcomes.with_resolved(resolved), two_kinds(40))
    assert [row.n for row in results.rows] == [39, 40, 36, 35, 35, 35, 35]
    assert by(results, "bee").vs_best_single is not None
    notes = "\n".join(results.notes)
    assert "ant: 1 of 40 verdicts is unknown (i4); it resolved 19 if they all failed, 20 if none did" in notes
    assert "5 of 40 instances lack a verdict of some model" in notes


def test_without_a_complete_instance_there_are_singles_and_no_claim():
    results = results_of(matrix([[1, math.nan], [math.nan, 0]]), two_kinds(2))
    assert [(row.name, row.n, row.vs_best_single) for row in results.rows] == [("ant", 1, None), ("bee", 1, None)]
    assert results.complementarity.oracle == 1
    assert "nothing can be compared" in results.verdict


def test_unknown_costs_leave_the_money_out():
    outcomes = specialists(20)
    results = results_of(outcomes.pool(["ant", "bee"]).take(np.arange(20)), two_kinds(20))
    free = results_of(matrix(outcomes.resolved), two_kinds(20))
    routed, blind = by(results, "cluster"), by(free, "cluster")
    assert routed.area is not None
    assert 0 < routed.area <= 1
    assert routed.qnc == pytest.approx(1)  # half the instances cost the least there is
    assert routed.aiq is not None
    assert (blind.cost_per_instance, blind.area, blind.qnc, blind.aiq) == (None, None, None, None)
    assert "$" not in free.verdict
    assert "cost of 20 of 20 attempts is unknown" in "\n".join(free.notes)


def test_a_cost_is_stated_only_where_every_choice_has_one():
    outcomes = specialists(80)
    cost = np.array(outcomes.cost)
    cost[:, 0] = math.nan  # ant, to which half of the instances are routed, is unpriced
    cost[3, 2] = math.nan  # cat lacks a single one
    matrix = OutcomeMatrix.build(outcomes.instances, outcomes.models, outcomes.resolved, cost)
    results = results_of(matrix, two_kinds(80))
    routed, ant, bee, cat = (by(results, name) for name in ("cluster", "ant", "bee", "cat"))
    assert (ant.cost_per_instance, ant.cost_at_least, ant.unpriced_share) == (None, None, 1)
    assert (bee.cost_per_instance, bee.cost_at_least, bee.unpriced_share) == (pytest.approx(0.6), None, 0)
    assert (cat.cost_per_instance, cat.cost_at_least) == (None, pytest.approx(0.1 * 79 / 80))
    assert routed.cost_per_instance is None
    assert (routed.cost_at_least, routed.unpriced_share) == (pytest.approx(0.3), pytest.approx(0.5))
    assert (routed.curve, routed.trade_off, routed.area) == (None, None, None)
    assert "it beats the best single model" in results.verdict
    assert "$" not in results.verdict
    for text in (render_terminal(results), render_markdown(results)):
        assert "≥ 0.3000" in text
        assert "50% of its choices have no cost" in text
    lines = {line.split(",")[0]: line for line in render_csv(results).splitlines() if "cross-fitted" in line}
    assert lines["cluster"].endswith(",0.3,0.5,,,,,")
    assert json.loads(results.to_json())["rows"][0]["cost_per_instance"] is None


def test_a_dozen_instances_fit_the_defaults_with_notes_and_no_claim():
    inputs = EvaluationInputs(
        outcomes=specialists(6), embeddings=two_kinds(6), dataset="toy", evaluation="live", scripted=True
    )
    results = build_results(inputs, EvaluationSettings(policies=["cluster"], permutations=19))
    assert results.folds == 6
    notes = "\n".join(results.notes)
    assert "6 folds instead of 10" in notes
    assert "cluster: 5 clusters, not 20" in notes
    assert results.verdict.startswith("The models are scripted stand-ins, so this says nothing about real models: ")
    assert "6 instances are too few to tell" in results.verdict
    assert {row.evaluation for row in results.rows if row.kind != "policy"} == {"live"}


def test_one_model_is_its_own_router():
    results = results_of(matrix([[1], [0], [1]]), two_kinds(3))
    assert {row.resolved for row in results.rows} == {2}
    assert results.verdict == "With one model there is nothing to route: ant resolves 2 of 3."


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"policies": ("clutser",)}, "did you mean 'cluster'"),
        ({"params": {"cluster": {"clusters": 3}}}, "no parameter 'clusters'"),
        ({"params": {"cluster": {"n_clusters": 0}}}, "n_clusters=0"),
        ({"folds": 1}, "at least 2 folds"),
    ],
)
def test_impossible_wishes_are_refused_in_one_line(change: dict[str, Any], complaint: str):
    with pytest.raises(InputError, match=complaint):
        results_of(specialists(20), two_kinds(20), **change)


def test_nothing_known_and_unpaired_embeddings_are_refused():
    with pytest.raises(InputError, match="no verdict is known"):
        results_of(matrix(np.full((3, 2), math.nan)), two_kinds(3))
    with pytest.raises(InputError, match="4 embeddings for 3 instances"):
        results_of(matrix(np.ones((3, 2))), two_kinds(4))


def test_the_same_seed_gives_the_same_document_byte_by_byte():
    outcomes, texts = coins(40), two_kinds(40)
    assert results_of(outcomes, texts).to_json() == results_of(outcomes, texts).to_json()


def test_results_json_keeps_its_contract_and_reads_back(tmp_path: Path):
    results = results_of(specialists(20), two_kinds(20))
    (tmp_path / "results.json").write_text(results.to_json())
    document = json.loads(results.to_json())
    assert document["schema"] == 1
    contract = "schema dataset instances pool seed folds repeats rows complementarity null verdict"
    assert set(contract.split()) <= document.keys()
    of_row = "name kind evaluation resolved rate rate_ci95 cost_per_instance seconds_per_instance vs_best_single"
    assert set(of_row.split()) | {"routing_share", "area", "qnc", "aiq"} <= document["rows"][0].keys()
    assert document["complementarity"]["repeatable_oracle"] is None
    assert document["null"].keys() == {"policy", "in_sample_random_clusters"}
    assert read_results(tmp_path) == results


def test_documents_of_earlier_versions_are_read_with_each_test_in_its_place():
    document = json.loads(results_of(specialists(20), two_kinds(20)).to_json())
    del document["recommendation"]
    for row in document["rows"]:
        if (versus := row["vs_best_single"]) is not None:
            p, holm = versus.pop("p_text"), versus.pop("p_text_holm")
            versus |= {"p_value": 0.25, "p_holm": 0.5} if row["evaluation"] == "cross-fitted" else {"p_holm": holm}
            assert p is None or row["evaluation"] == "cross-fitted"
    read = Results.model_validate(document)
    tests = [(row.kind, vs.p_value, vs.p_text, vs.p_text_holm) for row in read.rows if (vs := row.vs_best_single)]
    assert ("policy", None, 0.25, 0.5) in tests
    assert all(p_text is None for kind, _, p_text, _ in tests if kind == "single")
    assert "p (text)" in render_terminal(read)


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 2}', '{"schema": 1, "rows"'])
def test_a_damaged_document_is_named(tmp_path: Path, text: str):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=r"results\.json: not a results document of schema 1"):
        read_results(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_results(tmp_path / "nothing.json")


cells = st.sampled_from([0.0, 1.0, math.nan])


@settings(max_examples=40)
@given(st.tuples(st.integers(1, 7), st.integers(1, 3)).flatmap(lambda shape: arrays(np.float64, shape, elements=cells)))
def test_any_half_finished_matrix_gives_a_document_or_one_clear_line(resolved: np.ndarray):
    outcomes = matrix(resolved)
    if np.isnan(resolved).all():
        with pytest.raises(InputError):
            results_of(outcomes, two_kinds(len(resolved)))
        return
    results = results_of(outcomes, two_kinds(len(resolved)), permutations=2)
    complete = int((~np.isnan(resolved)).all(axis=1).sum())
    for row in results.rows:
        assert row.rate_ci95[0] <= row.rate <= row.rate_ci95[1]
        assert row.kind == "single" or row.n == complete
    assert json.loads(results.to_json())["instances"] == len(resolved)
    assert results.verdict.count("\n") == 0
    assert results.verdict.endswith(".")


def row(name: str, resolved: float, delta: float, ci: tuple[float, float], p: float, kind: Any = "policy") -> Row:
    vs = VsBestSingle(delta=delta, ci95=ci, p_value=p, p_text=p if kind == "policy" else None)
    evaluation: Any = "cross-fitted" if kind == "policy" else "recorded"
    n = 500
    return Row(
        name=name, kind=kind, evaluation=evaluation, n=n, resolved=resolved, rate=resolved / n,
        rate_ci95=(0, 1), vs_best_single=vs,
    )  # fmt: skip


LEADER = [row("Opus", 372, 0, (0, 0), 1, "single"), row("Sonnet", 353, -19, (-35, -3), 0.03, "single")]


@pytest.mark.parametrize(
    ("policies", "judgement"),
    [
        ([row("cluster", 390, 18, (4, 32), 0.01)], "it beats the best single model"),
        ([row("cluster", 375, 3, (-9, 15), 0.01)], "it beats the best single model"),
        ([row("select", 378, 6, (0, 12), 0.01)], "no evidence that it beats the best single model"),
        ([row("select", 378, 6, (1, 12), 0.01)], "): it beats the best single model"),
        ([row("cascade:stages=3", 378, 6, (0, 12), 0.01)], "its choice helps: p 0.010): no evidence"),
        ([row("cascade:stages=3", 378, 6, (1, 12), 0.01)], "): it beats the best single model"),
        ([row("cluster", 374, 2, (-9, 13), 0.2)], "no evidence"),
        # an unusual result of a policy that is still worse than the leader is no gain
        ([row("cluster", 371, -1, (-9, 7), 0.01)], "no evidence"),
        ([row("cluster", 350, -22, (-30, -14), 1.0)], "it does harm"),
        # the luckiest of three is judged with its p times three
        (
            [row("a", 380, 8, (1, 15), 0.03), row("b", 370, -2, (-9, 5), 1), row("c", 371, -1, (-9, 5), 1)],
            "no evidence",
        ),
    ],
)
def test_the_verdict_claims_what_both_tests_allow(policies: list[Row], judgement: str):
    sentence = verdict([*LEADER, *policies], scripted=False)
    assert judgement in sentence
    assert sentence.startswith("Held out, ")


def test_the_verdict_is_quotable():
    sentence = verdict([*LEADER, row("cluster", 371.6, -0.4, (-9.1, 8.2), 0.61)], scripted=False)
    assert sentence == (
        "Held out, cluster routing resolves 371.6 of 500 against 372 for Opus (difference −0.4, 95 % interval −9.1 to "
        "+8.2): no evidence that it beats the best single model."
    )
    sentence = verdict([*LEADER, row("cluster", 374, 2, (-7, 11), 0.2)], scripted=False)
    assert "(difference +2, 95 % interval −7 to +11; test that the text helps: p 0.20)" in sentence


def test_a_baseline_is_not_celebrated_as_a_router():
    rows = [*LEADER, row("best-fixed", 372, 0, (-1, 1), 0.5), row("cluster", 371, -1, (-9, 7), 0.4)]
    assert "cluster routing resolves 371" in verdict(rows, scripted=False)


def test_a_policy_that_does_not_read_the_text_is_no_router_and_costs_the_others_nothing():
    coins = [row("zero-router", 390, 18, (4, 32), 0.01), row("random", 380, 8, (1, 15), None)]
    assert routing_rows([*LEADER, *coins, row("cluster", 371, -1, (-9, 7), 0.02)])[0].name == "cluster"
    assert corrected(routing_rows([*LEADER, *coins, row("cluster", 371, -1, (-9, 7), 0.02)])) == {"cluster": 0.02}


def test_of_identical_models_the_one_that_differences_are_to_is_the_best_single():
    verdicts = np.random.default_rng(2).integers(0, 2, (40, 1))
    same = matrix(np.tile(verdicts, (1, 3)), np.tile([[3.0, 1.0, 2.0]], (40, 1)))
    results = results_of(same, two_kinds(40))
    best = best_single(results.rows)
    assert best is not None
    assert best.name == same.models[same.best_single()] == "bee"
    assert "for bee (difference" in results.verdict
    marked = [line for line in render_markdown(results).splitlines() if "best single |" in line]
    assert [line.split(" | ")[0] for line in marked] == ["| bee"]


def test_without_random_clusters_beside_it_there_is_no_in_sample_row():
    results = results_of(specialists(), two_kinds(80), policies=["linear", "cluster", "random"])
    in_sample = [row for row in results.rows if row.evaluation == "in-sample"]
    assert [row.name for row in in_sample] == ["cluster"]
    assert in_sample[0].null is not None
    assert by(results, "random", "cross-fitted").vs_best_single.p_text is None  # type: ignore[union-attr]


def test_the_laboratory_evaluates_every_policy_there_is():
    from router.policies import POLICIES

    rng = np.random.default_rng(0)
    matrix = OutcomeMatrix.build([f"i{k}" for k in range(40)], ["a", "b"], rng.integers(0, 2, size=(40, 2)))
    names = sorted(POLICIES)
    results = results_of(
        matrix, rng.normal(size=(40, 384)), policies=names, params={}, folds=4, repeats=1, permutations=1
    )
    kinds = {row.name: row.kind for row in results.rows if row.evaluation == "cross-fitted"}
    assert kinds == dict.fromkeys(names, "policy") | {"oracle": "oracle"}, "a bound must not pass for a policy"
    assert "oracle" not in results.verdict.split(":")[0]
