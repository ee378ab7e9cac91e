"""Rows against constants: the line between single models, at the row's own cost, with an interval that holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evaluation.constants import against_constants
from harness.evaluation.live_rows import compared_with, live_rows
from harness.evaluation.results import build_results
from harness.evaluation.schema import Results, Row, VsBestSingle, VsConstants
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.evaluation.verdict import above_constants, beats, verdict
from harness.report.tables import render_csv, render_markdown
from router.curves import hull
from router.outcomes import OutcomeMatrix, Replay, replay_choices, single


def pool(n: int, rates: list[float], prices: list[float], seed: int = 0) -> OutcomeMatrix:
    rng = np.random.default_rng(seed)
    resolved = rng.random((n, 1)) * 0.5 + rng.random((n, len(rates))) * 0.5 < np.array(rates)
    cost = np.array(prices) * rng.gamma(4, 0.25, (n, len(prices)))
    return OutcomeMatrix.build([f"i{k}" for k in range(n)], [f"m{k}" for k in range(len(rates))], resolved, cost)


def coin(outcomes: OutcomeMatrix, shares: list[float]) -> Replay:
    """The expectation of sending shares of the instances to the models."""
    weights = np.array(shares)
    return Replay(
        choices=np.empty((0, len(outcomes)), dtype=np.int64),
        resolved=outcomes.resolved @ weights,
        cost=outcomes.cost @ weights,
        seconds=np.full(len(outcomes), np.nan),
        share=weights,
    )


def test_a_mixture_of_two_corners_is_on_the_hull_in_every_draw():
    outcomes = pool(200, [0.4, 0.6, 0.7], [0.1, 0.3, 1.0])
    found = against_constants(coin(outcomes, [0, 0.25, 0.75]), outcomes)
    assert found is not None
    assert (found.delta, *found.ci95) == pytest.approx((0, 0, 0), abs=1e-6)
    assert found.mixture == pytest.approx({"m1": 0.25, "m2": 0.75})
    assert found.p_value == 1


@pytest.mark.parametrize("seed", range(6))
def test_the_best_single_model_is_its_own_measure_where_prices_are_nearly_equal(seed: int):
    """In many draws it is cheaper than a corner before it, which must not make the line lower than the model itself."""
    outcomes = pool(60, [0.4, 0.6, 0.9], [0.9, 0.95, 1.05], seed)
    found = against_constants(single(outcomes, outcomes.best_single()), outcomes)
    assert found is not None
    assert (found.delta, found.ci95) == (0, (0, 0))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_mixture_is_the_hull_at_the_rows_cost(seed: int, models: int):
    rng = np.random.default_rng(seed)
    outcomes = pool(30, rng.random(models).tolist(), (0.1 + rng.random(models)).tolist(), seed)
    replay = replay_choices(outcomes, rng.integers(0, models, (1, 30)))
    found = against_constants(replay, outcomes, resamples=20)
    assert found is not None
    xs, ys = hull(outcomes.mean_cost(), outcomes.rates())
    assert found.resolved == pytest.approx(30 * np.interp(replay.cost.mean(), xs, ys), abs=1e-4)
    assert found.delta == pytest.approx(replay.resolved.sum() - found.resolved, abs=1e-4)
    assert sum(found.mixture.values()) == pytest.approx(1, abs=1e-5)
    assert len(found.mixture) <= 2
    paid = sum(share * outcomes.mean_cost()[outcomes.models.index(name)] for name, share in found.mixture.items())
    assert paid == pytest.approx(np.clip(replay.cost.mean(), xs[0], xs[-1]), abs=1e-4)


def test_the_interval_is_that_of_drawing_row_and_models_together():
    outcomes = pool(80, [0.5, 0.75], [0.2, 1.0])
    replay = replay_choices(outcomes, np.random.default_rng(1).integers(0, 2, (1, 80)))
    found = against_constants(replay, outcomes, resamples=4000)
    rng, drawn = np.random.default_rng(9), []
    for _ in range(4000):
        rows = rng.integers(0, 80, 80)
        (a, b), (low, high) = outcomes.cost[rows].mean(axis=0), outcomes.resolved[rows].mean(axis=0)
        mixed = low + (high - low) * (replay.cost[rows].mean() - a) / (b - a)
        drawn.append(80 * (replay.resolved[rows].mean() - mixed))
    assert found is not None
    assert found.ci95 == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.4)


def test_outside_the_models_prices_the_nearest_model_is_the_measure():
    outcomes = pool(100, [0.4, 0.7], [0.2, 1.0])
    cheap, dear = single(outcomes, 0), single(outcomes, 1)
    for factor, alone, name in ((0.1, cheap, "m0"), (3.0, dear, "m1")):
        other = Replay(alone.choices, alone.resolved, factor * alone.cost, alone.seconds, alone.share)
        found = against_constants(other, outcomes)
        assert found is not None
        assert (found.delta, found.mixture) == (0, {name: 1})


def test_routing_by_a_coin_is_rarely_called_worth_its_cost():
    """The corners are those of the record, so the claim is held to its level and the interval is not shifted."""
    above = below = 0
    for seed in range(200):
        outcomes = pool(120, [0.6, 0.62, 0.7], [0.2, 0.5, 1.0], seed)
        choices = np.random.default_rng([seed, 1]).integers(0, 2, (1, 120)) * 2
        found = against_constants(replay_choices(outcomes, choices), outcomes, resamples=300)
        assert found is not None
        above += found.ci95[0] > 0
        below += found.ci95[1] < 0
    assert above <= 14
    assert below <= 24  # the hull is the record's best: a coin between two of its models is a little below it


def results_of(cost: Any) -> Results:
    outcomes = pool(60, [0.5, 0.7, 0.55], [0.2, 1.0, 0.8])
    changed = OutcomeMatrix.build(outcomes.instances, outcomes.models, outcomes.resolved, cost(np.array(outcomes.cost)))
    texts = np.random.default_rng(0).normal(size=(60, 4))
    quick = EvaluationSettings(policies=["cluster:n_clusters=3"], folds=4, repeats=1, permutations=9)
    inputs = EvaluationInputs(changed, texts, "toy", repositories=["a", "b", "c"] * 20)
    return build_results(inputs, quick)


def test_every_row_has_its_difference_to_constants_in_every_table():
    results = results_of(lambda cost: cost)
    assert {row.evaluation for row in results.rows} >= {"cross-fitted", "leave-one-repository-out", "in-sample"}
    assert all(row.vs_constants is not None for row in results.rows)
    by_name = {row.name: row for row in results.rows if row.kind == "single"}
    assert by_name["m2"].vs_constants is not None
    assert by_name["m2"].vs_constants.delta < 0
    lines = render_markdown(results).splitlines()
    assert next(line for line in lines if line.startswith("| m0")).count("on hull") == 1
    assert "m0=" in render_csv(results).splitlines()[3]


def test_where_a_cost_is_unknown_no_row_is_compared_and_a_note_says_so():
    def without_one(cost: np.ndarray) -> np.ndarray:
        cost[5, 2] = math.nan
        return cost

    results = results_of(without_one)
    assert [row.vs_constants for row in results.rows] == [None] * len(results.rows)
    assert any("no row is compared with mixtures of single models" in note for note in results.notes)


def test_documents_without_the_field_are_read():
    document = results_of(lambda cost: cost).model_dump(by_alias=True)
    for row in document["rows"]:
        del row["vs_constants"]
    assert "–" in render_markdown(Results.model_validate(document))


def test_a_caption_of_the_test_says_whose_rows_do_not_test_the_text():
    def table(name: str) -> str:
        results = results_of(lambda cost: cost)
        row = next(row for row in results.rows if row.evaluation == "cross-fitted")
        return render_markdown(
            results.model_copy(update={"rows": [*results.rows, row.model_copy(update={"name": name})]})
        )

    assert "does reading the issue text help? Permutation test" in table("knn")
    for name in ("select", "cascade:prior=knn"):
        assert "(select, cascade) what is read of finished attempts? Permutation test" in table(name)


def judged(delta: float, low: float, high: float, p: float, *, best_delta: float = -2, name: str = "cluster") -> Row:
    return Row(
        name=name,
        kind="policy",
        evaluation="cross-fitted",
        n=500,
        resolved=382 + best_delta,
        rate=(382 + best_delta) / 500,
        rate_ci95=(0, 1),
        cost_per_instance=0.4,
        vs_best_single=VsBestSingle(delta=best_delta, ci95=(-9, 9), p_value=0.5, p_text=0.01),
        vs_constants=VsConstants(
            delta=delta, ci95=(low, high), p_value=p, resolved=380 - delta, mixture={"Mini": 0.4, "Opus": 0.6}
        ),
    )


LEADER = Row(
    name="Opus",
    kind="single",
    evaluation="recorded",
    n=500,
    resolved=382,
    rate=0.764,
    rate_ci95=(0, 1),
    cost_per_instance=0.75,
    vs_best_single=VsBestSingle(delta=0, ci95=(0, 0), p_value=1),
)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (judged(-6, -11, -1, 0.02), "resolves more, 386 (the policy's difference to that: −6, −11 to −1)"),
        (judged(5, 2, 8, 0.004), "resolves only 375 (the policy's difference to that: +5, +2 to +8)"),
        (judged(1, -5, 7, 0.7), "resolves 379 (the policy's difference to that: +1, −5 to +7)"),
    ],
)
def test_the_verdict_says_what_the_same_money_buys(row: Row, words: str):
    other = LEADER.model_copy(update={"name": "Mini", "vs_best_single": None})
    sentence = verdict([LEADER, other, row], scripted=False)
    assert f"beats the best single model; the same money sent to Mini and Opus at random {words}" in sentence


def test_a_policy_below_the_hull_beats_nobody_and_one_of_many_is_corrected():
    assert beats(judged(3, -2, 8, 0.2, best_delta=4), 0.01)
    assert not beats(judged(-6, -11, -1, 0.02, best_delta=4), 0.01)
    lucky, others = judged(5, 1, 9, 0.03), [judged(0, -4, 4, 0.9, name=name) for name in ("knn", "linear")]
    assert above_constants(lucky, [lucky])
    assert not above_constants(lucky, [lucky, *others])


def test_a_routed_run_is_compared_with_the_models_that_attempted_all_its_instances():
    outcomes = pool(80, [0.5, 0.7, 0.6], [0.2, 1.0, 0.5])
    resolved = np.array(outcomes.resolved)
    resolved[3, 2] = math.nan  # not every instance was given to m2
    accepted = replay_choices(outcomes, np.random.default_rng(2).integers(0, 2, (1, 80)))
    paid = Replay(
        accepted.choices, accepted.resolved, outcomes.cost[:, :2].sum(axis=1), accepted.seconds, accepted.share
    )
    routed, *members = live_rows(paid, outcomes.with_resolved(resolved), seed=0)
    assert [row.name for row in members] == ["m0", "m1"]
    assert routed.vs_constants is not None
    assert routed.vs_constants.mixture == {"m1": 1}  # two attempts cost more than the dearer one
    best = max(members, key=lambda row: row.resolved)
    assert f"{best.name} alone resolves {best.resolved:.0f} (difference " in compared_with([routed, *members])
    resolved[5, 1] = math.nan
    assert compared_with(live_rows(paid, outcomes.with_resolved(resolved), seed=0)).startswith("only the routed cells")
