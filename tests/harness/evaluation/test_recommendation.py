"""The recommendation: the choice of policy `auto`, and sentences that say no more than the numbers allow."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.evaluation.results import build_results
from harness.evaluation.schema import Recommendation, Results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.evaluation.stats import detectable_difference, mcnemar_exact
from router.outcomes import OutcomeMatrix

QUICK = EvaluationSettings(
    policies=["cluster"], repeats=1, folds=4, permutations=19, params={"cluster": {"n_clusters": 2}}
)


def texts(n: int) -> np.ndarray:
    """Of two kinds that alternate."""
    return np.where(np.arange(n)[:, None] % 2 == 0, [1.0, 0.0], [0.0, 1.0])


def near_equals(n: int = 500) -> np.ndarray:
    """dear resolves one instance in a hundred more than cheap, on which it differs often; weak is far behind."""
    rng = np.random.default_rng(3)
    dear = rng.random(n) < 0.75
    cheap = np.where(rng.random(n) < 0.1, ~dear, dear)
    rows = np.flatnonzero(dear & cheap) if cheap.sum() > dear.sum() - 5 else np.flatnonzero(dear & ~cheap)
    wanted = int(dear.sum()) - 5
    cheap[rows[: abs(int(cheap.sum()) - wanted)]] = cheap.sum() < wanted
    return np.stack([dear, cheap, rng.random(n) < 0.4], axis=1).astype(float)


def results_of(
    resolved: Any, cost: Any = None, models: tuple[str, ...] = ("dear", "cheap", "weak"), **changes: Any
) -> Results:
    resolved = np.asarray(resolved, dtype=float)
    n, m = resolved.shape
    names = [f"i{k}" for k in range(n)]
    prices = None if cost is None else np.broadcast_to(np.asarray(cost, dtype=float), (n, m))
    inputs = {key: changes.pop(key) for key in ("evaluation", "scripted") if key in changes}
    outcomes = OutcomeMatrix.build(names, models[:m], resolved, prices)
    return build_results(EvaluationInputs(outcomes, texts(n), "toy", **inputs), replace(QUICK, **changes))


def recommended(*given: Any, **more: Any) -> Recommendation:
    recommendation = results_of(*given, **more).recommendation
    assert recommendation is not None
    return recommendation


def text_of(recommendation: Recommendation, label: str) -> str:
    return next((statement.text for statement in recommendation.statements if statement.label == label), "")


def test_the_news_is_the_cheap_model_that_is_as_good():
    found = recommended(near_equals(), [0.75, 0.07, 0.01])
    assert found.use is not None
    assert found.most_resolved is not None
    assert (found.use.name, found.most_resolved.name, found.use.delta) == ("cheap", "dear", -5)
    assert found.headline.startswith("Use cheap: ")
    low, high = (f"{'+' if end > 0 else '−'}{abs(end):g}" for end in found.use.delta_ci95 or ())
    assert f"5 fewer than the best model [{low}, {high}], at 9% of its cost ($0.0700 per instance)." in found.headline
    assert "within 3 points of the best (the rule of policy auto)" in text_of(found, "Why")
    assert text_of(found, "Most resolved").startswith(f"dear: {found.most_resolved.resolved:.0f} of 500")
    assert not found.provisional
    assert " p " not in found.headline + text_of(found, "How sure"), "no p for a difference that is not positive"


def test_the_choice_is_that_of_the_policy_with_its_own_parameters():
    strict = recommended(near_equals(), [0.75, 0.07, 0.01], params={"auto": {"tolerance": 0.001}}, policies=["random"])
    assert strict.use is not None
    assert (strict.use.name, strict.tolerance) == ("dear", 0.001)
    assert "no cheaper model's estimated rate is within 0.1 points" in text_of(strict, "Why")
    assert text_of(strict, "Runner-up").startswith("cheap: ")


def specialists(n: int = 200) -> np.ndarray:
    """Each of two models resolves one kind of text, and a tenth of the other."""
    k = np.arange(n)
    return np.stack([(k % 2 == 0) | (k % 20 == 1), (k % 2 == 1) | (k % 20 == 0), k % 5 == 0], axis=1).astype(float)


def test_a_router_is_recommended_where_its_gate_passes():
    found = recommended(specialists(), [1, 1, 1], policies=["auto:candidates=knn"], permutations=39)
    assert found.use is not None
    assert (found.use.kind, found.use.evaluation) == ("policy", "cross-fitted")
    assert found.headline.startswith("Use the router auto:candidates=knn: 200 of 200 resolved held out, 90 more than")
    assert "policy knn was ahead of the best fixed model" in text_of(found, "Why")
    assert text_of(found, "Routing").startswith("Pays: ")
    assert "(test that the text helps: p 0.025)" in text_of(found, "Routing")


def test_a_router_without_a_held_out_row_is_named_and_not_recommended():
    params = {"auto": {"candidates": "knn"}, "cluster": {"n_clusters": 2}}
    found = recommended(specialists(), [1, 1, 1], policies=["cluster"], params=params)
    assert found.use is not None
    assert found.use.kind == "single"
    assert "would route with knn; add --policy auto to measure that held out" in text_of(found, "Why")


@pytest.mark.parametrize(
    ("cost", "why"),
    [
        (None, "It resolved most. The cost of the best model is not fully known, so cost had no part in the choice."),
        ([np.nan, 0.07, 0.01], "so cost had no part in the choice"),
        ([0.75, np.nan, 0.01], "Not considered as cheaper, because their cost is not fully known: cheap."),
    ],
)
def test_incomplete_costs_are_named_and_never_become_a_claim(cost: Any, why: str):
    found = recommended(near_equals(), cost)
    assert found.use is not None
    assert found.use.name == "dear"
    assert why in text_of(found, "Why")
    everything = found.headline + " ".join(statement.text for statement in found.statements)
    assert ("$" in everything) is (cost is not None)
    assert "of its cost" not in everything


def test_few_instances_and_unfinished_runs_are_provisional():
    few = recommended(near_equals()[:15], [3, 2, 1])
    assert few.provisional
    assert few.headline.startswith("Provisional: use ")
    assert "15 instances are too few to tell models apart." in text_of(few, "Caution")
    mixed = recommended(specialists(20), [1, 1, 1])
    assert text_of(mixed, "Routing").startswith("Cannot be judged on 20 instances: cluster resolves ")
    unfinished = near_equals(100)
    unfinished[:20, 2] = np.nan
    live = recommended(unfinished, [3, 2, 1], evaluation="live")
    assert live.headline.startswith("Provisional: use ")
    assert "20 of 100 instances lack a verdict of some model; models are compared on the other 80." in text_of(
        live, "Caution"
    )
    assert not recommended(unfinished, [3, 2, 1]).provisional, "a record does not become complete by waiting"


def test_stand_ins_are_no_models():
    found = recommended(near_equals(60), [3, 2, 1], scripted=True)
    assert text_of(found, "Caution") == "The models are scripted stand-ins: this says nothing about real models."


def test_one_model_nothing_resolved_and_nothing_complete_have_their_sentences():
    assert recommended([[1], [0], [1]], [0.5]).headline == "Only dear was run: 2 of 3 resolved, at $0.500 per instance."
    nothing = recommended(np.zeros((60, 3)), [3, 2, 1])
    assert nothing.headline == "No recommendation: no model resolved any instance."
    assert nothing.use is None
    apart = recommended([[1, np.nan], [np.nan, 0]], [1, 1])
    assert apart.headline == "No recommendation yet: no instance has a verdict from every model."
    assert [statement.label for statement in apart.statements] == ["Caution"]


def test_ties_go_to_the_cheaper_model_and_are_named():
    same = np.tile(near_equals(80)[:, :1], (1, 3))
    found = recommended(same, [3, 1, 2])
    assert found.use is not None
    assert found.use.name == "cheap"
    assert "as many as dear, weak" in found.headline
    assert text_of(found, "Why") == "It resolved most and costs least."
    assert "The two best models have the same verdict on every instance" in text_of(found, "How sure")
    assert text_of(found, "Routing").startswith("Nothing to gain: ")


@pytest.mark.parametrize("price", [2.0, 0.0])
def test_of_equal_models_one_without_a_price_is_not_called_the_cheapest(price: float):
    rows = near_equals(80)[:, [0, 0, 2]]
    cost = np.tile([np.nan, price, price / 2], (80, 1))
    cost[0, 0] = 0.001  # known of one instance only
    found = recommended(rows, cost, models=("plain", "priced", "weak"))
    assert found.use is not None
    assert found.most_resolved is not None
    assert found.use.name == found.most_resolved.name == "priced"
    assert "as many as plain" in found.headline
    why = text_of(found, "Why")
    assert why.startswith("It resolved most, and no cheaper model's")
    assert why.endswith("Not considered as cheaper, because their cost is not fully known: plain.")


def test_the_smallest_detectable_difference_is_found_in_four_of_five_simulated_runs():
    n, discordant = 300, 60
    points = detectable_difference(n, discordant)
    assert points is not None
    rng = np.random.default_rng(0)
    up = (discordant / n + points) / 2
    drawn = rng.multinomial(n, [up, discordant / n - up, 1 - discordant / n], size=2000)
    found = np.mean([mcnemar_exact(a, b) < 0.05 for a, b, _ in drawn.tolist()])
    assert found == pytest.approx(0.8, abs=0.03)
    assert detectable_difference(15, 4) is None
    assert detectable_difference(500, 0) is None


def test_every_number_of_a_sentence_is_in_the_figures():
    results = results_of(near_equals(), [0.75, 0.07, 0.01])
    found = results.recommendation
    assert found is not None
    rows = {row.name: row for row in results.rows if row.kind == "single"}
    assert found.use is not None
    assert found.most_resolved is not None
    for choice in (found.use, found.most_resolved):
        row = rows[choice.name]
        assert (choice.resolved, choice.cost_per_instance) == (row.resolved, row.cost_per_instance)
    counts = re.findall(r"(\d+) of 500", found.headline)
    assert counts == [f"{found.use.resolved:g}"]


def finished(n: int = 300, *, says_much: bool) -> OutcomeMatrix:
    """Three near-equal models, with generated tests that tell right patches from wrong, or nothing."""
    rng = np.random.default_rng(8)
    resolved = rng.random((n, 3)) < [0.72, 0.71, 0.7]
    noise = rng.integers(0, 4, (n, 3))
    fixed = np.where(resolved, 3, 0) + noise % 2 if says_much else noise
    names = [f"i{k}" for k in range(n)]
    prices = np.full((n, 3), [0.02, 0.021, 0.022])
    return OutcomeMatrix.build(names, ["a", "b", "c"], resolved, prices, signals={"tests_fixed": fixed})


@pytest.mark.parametrize("says_much", [True, False])
def test_selection_is_recommended_where_its_row_passes_the_gate_of_auto(says_much: bool):
    outcomes = finished(says_much=says_much)
    inputs = EvaluationInputs(outcomes, texts(300), "toy")
    advice = build_results(inputs, replace(QUICK, policies=["select", "cluster"])).recommendation
    assert advice is not None
    assert advice.use is not None
    assert advice.selection is not None
    row = text_of(advice, "Selection")
    if says_much:
        assert advice.use.name == "select"
        assert advice.headline.startswith("Use selection among finished attempts by tests, policy select: ")
        assert row.startswith("Pays: choosing among finished attempts by tests resolves ")
    else:
        assert advice.use.kind == "single"
        assert row.startswith("Not shown to pay: choosing among finished attempts")
    assert advice.selection.pays is says_much
    assert advice.selection.cost_share == pytest.approx(3, abs=0.3)
    by_rule = build_results(inputs, replace(QUICK, policies=["auto"])).recommendation
    assert by_rule is not None
    assert by_rule.use is not None
    assert by_rule.use.name == ("auto" if says_much else advice.use.name)
    assert text_of(by_rule, "Selection").startswith("Pays: " if says_much else "Not measured: ")


def test_without_tests_selection_is_said_to_be_possible_with_its_price_or_not_worth_trying():
    near = np.array(finished(says_much=False).resolved)
    text = text_of(recommended(near, [[0.4, 0.1, 0.1]]), "Selection")
    assert text.startswith("Not measured: choosing among the finished attempts of the 3 best models by tests (policy ")
    assert re.search(
        r"within \d\.\d points of each other; their attempts cost \d\.\d × as much as the best one's, plus the tests",
        text,
    )
    far = text_of(recommended(near_equals(), [[0.5, 0.05, 0.01]]), "Selection")
    assert far == (
        "Choosing among 3 finished attempts by tests is not worth trying: only 1 other model is within 4 points of the "
        "best."
    )
