"""Costs predicted from texts, and the policy that spends money where the dearer model is predicted to be cheap."""

from __future__ import annotations

import numpy as np
import pytest

from router.cost_model import CostModel
from router.lab.crossfit import DEFAULT_COST_WEIGHTS, crossfit, folds
from router.outcomes import OutcomeMatrix
from router.policies import PolicyParameterError, make_policy
from router.ridge import TextRidge

N = 240
RNG = np.random.default_rng(3)
TOPIC = np.arange(N) % 2
X = np.eye(4)[TOPIC] + RNG.normal(scale=0.05, size=(N, 4))
COST = np.column_stack([np.full(N, 0.1), np.where(TOPIC, 4.0, 0.4) * np.exp(RNG.normal(scale=0.3, size=N))])
WORLD = OutcomeMatrix.build(
    [f"repo__{i}" for i in range(N)],
    ["cheap", "dear"],
    (RNG.random((N, 2)) < [0.5, 0.8]).astype(float),
    cost=COST,
)
"""The dear model is better by as much on both topics, and ten times as dear on one of them."""


def test_money_goes_where_the_dear_model_is_cheap() -> None:
    routed = crossfit(make_policy("cost-first", cost_weight=0.2), X, WORLD, folds(N, 5, 1))
    assert (routed.choices[0] == 1 - TOPIC).mean() > 0.95
    slope = (WORLD.rates()[1] - WORLD.rates()[0]) / (COST[:, 1].mean() - COST[:, 0].mean())
    mixture = WORLD.rates()[0] + slope * (routed.cost_per_instance - 0.1)
    assert routed.rate > mixture + 0.05, "half of the gain for a tenth of the money"


def test_without_a_price_on_money_it_is_the_best_model() -> None:
    assert set(make_policy("cost-first").fit(X, WORLD).predict(X)) == {1}


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.3, 1.0, 2.0, 100.0])
def test_a_budget_is_kept(budget: float) -> None:
    policy = make_policy("cost-first", budget=budget)
    spent = crossfit(policy, X, WORLD, folds(N, 5, 1)).cost_per_instance
    assert spent <= max(0.1, budget) * 1.15
    if budget in (1.0, 2.0):
        assert spent > 0.8 * budget, "what may be spent is spent"
    assert set(policy.fit(X, WORLD).predict(X, 0.0)) == {1}, "a cost weight given at a decision replaces the budget"


def test_a_budget_below_zero_is_refused() -> None:
    with pytest.raises(PolicyParameterError, match="budget must be a number >= 0, got -1"):
        make_policy("cost-first", budget=-1).fit(X, WORLD)


def test_costs_are_predicted_with_the_recorded_mean_and_within_the_recorded_range() -> None:
    model, held_out = CostModel.fit(TextRidge(X), COST)
    assert held_out.mean(axis=0) == pytest.approx(COST.mean(axis=0))
    assert np.corrcoef(np.log(held_out[:, 1]), np.log(COST[:, 1]))[0, 1] > 0.9
    far = model.predict(1e6 * np.ones((1, 4)) * np.sign(model.weights[:, 1]))
    assert COST[:, 1].max() * 0.9 < far[0, 1] < COST[:, 1].max() * 1.1


def test_costs_that_are_missing_nil_or_all_alike_are_no_obstacle() -> None:
    cost = np.column_stack([COST[:, 1], np.zeros(N), np.full(N, np.nan), np.full(N, 2.0), COST[:, 1]])
    cost[::7, 0] = np.nan
    cost[3, 4] = 0.0
    predicted = CostModel.fit(TextRidge(X), cost)[0].predict(X)
    assert (predicted[:, 1] == 0).all()
    assert np.isnan(predicted[:, 2]).all()
    assert predicted[:, 3] == pytest.approx(2.0)
    assert np.isfinite(predicted[:, [0, 4]]).all()
    assert predicted[TOPIC == 1, 0].mean() > 5 * predicted[TOPIC == 0, 0].mean()


def test_a_sweep_spends_less_and_less() -> None:
    curve = crossfit(make_policy("cost-first"), X, WORLD, folds(N, 5, 1), cost_weights=DEFAULT_COST_WEIGHTS).curve
    assert curve is not None
    assert (np.diff(curve.cost) <= 0.05).all()
    assert curve.cost[-1] == pytest.approx(0.1)
