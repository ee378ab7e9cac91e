"""`polyswe lab costs`: a planted effect is found, an absent one is not, and the recorded figures come out again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import InputError
from harness.lab.costs.pairs import Pair, held_out_costs, order_row, pairs_of
from harness.lab.costs.study import Records, measure, study_costs
from harness.lab.costs.text import render
from router.lab.crossfit import folds
from router.outcomes import OutcomeMatrix

N = 200
KIND = np.arange(N) % 2


def records(*, informative: bool) -> Records:
    """A dear model that is ten times as dear on one kind of issue; the text tells the kind, or nothing."""
    rng = np.random.default_rng(5)
    kind = KIND if informative else rng.permutation(KIND)
    text = np.eye(6)[kind] + rng.normal(scale=0.1, size=(N, 6))
    noise = np.exp(rng.normal(scale=0.3, size=(N, 1)) + rng.normal(scale=0.1, size=(N, 3)))
    outcomes = OutcomeMatrix.build(
        [f"owner__repo{i % 4}-{i}" for i in range(N)],
        ["Small 1", "Middle 2", "Large 3"],
        (rng.random((N, 3)) < [0.55, 0.65, 0.9]).astype(float),
        cost=noise * np.column_stack([np.full(N, 0.05), np.full(N, 0.2), np.where(KIND, 3.0, 0.3)]),
    )
    return Records(outcomes, text, tuple(f"owner__repo{i % 4}" for i in range(N)), ("mini-swe-agent 2.0.0",) * 3)


def test_a_planted_effect_is_found_and_an_absent_one_is_not() -> None:
    found, nothing = (measure(records(informative=informative), repeats=1, random=2) for informative in (True, False))
    assert found.pairs == 3
    assert found.gain > 7
    assert found.gain_ci95[0] > 3
    assert found.gain_unseen_repositories > 7, "every repository has both kinds"
    assert found.gain_true_cost > found.gain
    assert abs(found.gain_shuffled) < 3
    assert nothing.gain_ci95[0] < 0 < nothing.gain_ci95[1]
    pool = {(row.split, row.policy): row.hull_gain for row in found.pools}
    assert pool["by instance", "cost-first"] > pool["by instance", "best-fixed"] + 5
    forecasts = {(row.basis, row.targets, row.known): row for row in found.forecasts}
    alone, others = (forecasts[basis, "random", 100] for basis in ("mean", "other models' costs"))
    assert others.correlation > 0.3 > alone.correlation
    text = render(json.loads(found.to_json()))
    assert f"| issue text | by instance | {found.gain:+.1f} [" in text
    assert "Beside the published figures" not in text, "none of these pairs was published"


def test_a_mixture_at_the_same_cost_gains_nothing() -> None:
    """The measure itself has no bias: random orders come out at 0."""
    start, rng = records(informative=True), np.random.default_rng(0)
    row = order_row(start.outcomes, [Pair(0, 2)], lambda _: rng.random((400, N)), name=("random", "", ""))
    assert abs(row.gain) < 0.3
    assert row.gain_ci95[0] < 0 < row.gain_ci95[1]


def test_folds_of_dear_instances_are_not_predicted_cheap() -> None:
    start = records(informative=False)
    blind, splits = np.zeros((N, 2)), folds(N, 10, 5)
    cost = start.outcomes.cost
    level, apart = (held_out_costs(blind, cost, splits, level=level).mean(axis=0)[:, 2] for level in (True, False))
    assert np.corrcoef(apart, cost[:, 2])[0, 1] < -0.2
    assert level == pytest.approx(cost[:, 2].mean(), rel=1e-3)


def test_pairs_need_a_dear_model_that_is_better_and_another_one() -> None:
    start = records(informative=True).outcomes
    same = OutcomeMatrix.build(start.instances, ["GPT 5", "GPT-5 (high reasoning)", "o3"], start.resolved, start.cost)
    assert pairs_of(start) == [Pair(0, 1), Pair(0, 2), Pair(1, 2)]
    assert pairs_of(same) == [Pair(0, 2), Pair(1, 2)]
    with pytest.raises(InputError, match="no two of 3 runs"):
        measure(replace(records(informative=True), outcomes=start.with_resolved(np.zeros((N, 3)))))


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["lab", "costs", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert isinstance(ran.exception, InputError)
    assert "leaderboards-2025-12-10.json: no such file" in str(ran.exception)


@pytest.mark.slow
def test_the_recorded_figures_come_out_again(shared_data: Path, tmp_path: Path) -> None:
    study = json.loads(study_costs(shared_data, tmp_path, repeats=1, random=2).to_json())
    assert (tmp_path / "README.md").read_text() == render(study)
    committed = json.loads((Path(__file__).parents[3] / "results/costs/costs.json").read_text())
    # one repeat of the folds instead of ten
    for figure, off in {
        "gain": 0.8,
        "gain_leader": 2.0,
        "gain_unseen_repositories": 0.02,
        "gain_true_cost": 0.02,
    }.items():
        assert study[figure] == pytest.approx(committed[figure], abs=off), figure
    published, again = study["published"], study["reproduced"]
    assert len(again) == 6
    assert np.mean(list(again.values())) == pytest.approx(np.mean(list(published.values())), abs=2.0)
    ratings = {(row["predictor"], row["split"]): row["auc"] for row in study["difficulty"]}
    assert ratings["all 15 ratings", "by repository"] > ratings["issue text", "by repository"] + 0.05
