"""The policy to beat: the best model in training, or the cheapest of those as good as it, for every instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray, mean_known
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyParameterError, choose, fill_costs

PREFERENCE = 1e-9
"""what a place in the order among near-equals is worth: below any difference of rates, above the width of a tie"""


@dataclass(eq=False)
class BestFixedPolicy(OneShotPolicy):
    """Always the model with the best training rate minus λ times its mean cost.

    Cross-fitted, this is the honest "best single model": the choice of the best is made on training folds as well.
    With a `tolerance` price decides among near-equals: rates are shrunk towards the pool's mean (empirical Bayes,
    Efron and Morris, JASA 70:311, 1975), and of the models whose rate is within the tolerance of the leader's, with
    posterior probability `confidence`, the cheapest is taken. `auto` falls back to that.

    Fitted: `overall_` (m,) rates, shrunk if there is a tolerance; `valued_` (m,) rates that choices are made by, those
    of near-equals raised to the leader's; `cost_`, `seconds_` (m,) means, NaN when unknown.
    """

    name: ClassVar[str] = "best-fixed"
    is_baseline: ClassVar[bool] = True
    fitted: ClassVar[dict[str, str]] = {"overall_": "m", "valued_": "m", "cost_": "m", "seconds_": "m"}

    tolerance: float = 0.0
    """share resolved that may be given up for a cheaper model; 0 believes every difference"""
    confidence: float = 0.5
    """least posterior probability of being within the tolerance; without effect where that is 0"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        if not 0 <= self.tolerance < 1 or not 0 < self.confidence < 1:
            raise PolicyParameterError(
                f"tolerance must be in [0, 1) and confidence in (0, 1), got {self.tolerance} and {self.confidence}"
            )
        self.learn_means(outcomes)
        self.valued_: FloatArray = self.overall_
        if self.tolerance > 0:
            self.overall_, error = shrunken_rates(outcomes, self.overall_)
            self.valued_ = self._level(fill_costs(self.cost_), error)
        return self

    def _level(self, cost: FloatArray, error: FloatArray) -> FloatArray:
        """Rates where near-equals of the leader that are cheaper have its rate, and the cheapest a trifle more.

        Of equal models, one whose price is unknown comes after those whose price is known.
        """
        rates, unpriced = self.overall_, np.isnan(self.cost_)
        lead = int(np.lexsort((unpriced, cost, -rates))[0])
        least = NormalDist().inv_cdf(self.confidence)
        near = rates - rates[lead] + self.tolerance >= least * error[:, lead]
        near &= (cost < cost[lead]) & (rates > 0)
        near |= rates == rates[lead]
        order = np.lexsort((-rates, unpriced, cost))
        places = {model: place for place, model in enumerate(order[near[order]].tolist())}
        return np.array([rates[lead] - PREFERENCE * places[h] if near[h] else rates[h] for h in range(len(rates))])

    def scores(self, X: Features) -> FloatArray:
        self.check_fitted()
        return np.broadcast_to(self.overall_, (len(X), len(self.overall_)))

    def utilities(self, X: Features) -> FloatArray:
        self.check_fitted()
        return np.broadcast_to(self.valued_, (len(X), len(self.valued_)))

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        one = np.empty((1, 0))  # whatever the text, the choice is the same: made once
        values, costs, seconds = self.utilities(one), self.costs(one), self.seconds(one)
        weights = [self.cost_weight if weight is None else weight for weight in cost_weights]
        chosen = [choose(values, costs, weight, seconds, self.time_weight) for weight in weights]
        return np.repeat(np.stack(chosen), len(X), axis=1)

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        lead = int(self.overall_.argmax())
        return [Explanation(None, self._reason(int(choice), lead)) for choice in choices]

    def _reason(self, choice: int, lead: int) -> str:
        rate = f"resolved {self.overall_[choice]:.1%} of the training instances"
        if self.valued_[choice] <= self.overall_[choice] or choice == lead:
            return rate
        return f"{rate}, within {self.tolerance:.1%} of {self.models_[lead]} at a lower price"


def shrunken_rates(outcomes: OutcomeMatrix, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(m,) rates shrunk towards the pool's mean, and (m, m) the posterior standard errors of their differences.

    The noise of a difference is that of the instances on which two models differ: what is easy or hard for all of them
    cancels. With variance τ² of rates beyond that noise σ², differences shrink by τ² / (τ² + σ²).
    """
    m = len(rates)
    noise = np.zeros((m, m))
    for h in range(m):
        apart = outcomes.resolved - outcomes.resolved[:, [h]]
        count = (~np.isnan(apart)).sum(axis=0)
        # models that no instance knows both of differ by an unknown amount, as if by one whole rate
        spread = np.nan_to_num(mean_known(apart**2, axis=0) - mean_known(apart, axis=0) ** 2, nan=1.0)
        noise[h] = np.maximum(spread, 0.0) / np.maximum(count, 1)
    if m < 2:
        return rates, np.sqrt(noise)
    known = ~np.isnan(outcomes.rates())
    single = noise[np.ix_(known, known)].sum() / max(2 * known.sum() * (known.sum() - 1), 1)
    beyond = max(float(rates[known].var(ddof=1)) - single, 0.0) if known.sum() > 1 else 0.0
    share = beyond / (beyond + single) if beyond + single > 0 else 1.0
    mean = rates[known].mean()
    return np.where(known, mean + share * (rates - mean), rates), np.sqrt(share * noise)
