"""One difficulty, one slope and one size per instance, read off its text; one ability and one price per model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.special import expit

from router.arrays import Features, FloatArray, IntArray, as_features, mean_known
from router.irt import ItemResponse, Priors, fit_irt
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyNotFittedError, choose, fill_costs, known_rates
from router.ridge import RidgeFit, TextRidge

NEVER = -50.0
"""ability of a model without any verdict: it is never chosen on no evidence"""
ABILITY_SD = 0.5
"""of a model's calibrated ability around its item-response one, in logits: decides with few labels, fades with many"""
LEAST_SLOPE = 0.1
"""abler models are never predicted to do worse"""
EVIDENCE = 1.0
"""heads must lower the held-out error of their residuals by this many standard errors over instances"""
TOLERANCE = 1e-2
"""of item parameters, in logits: text tells them a hundred times less precisely"""


@dataclass(eq=False)
class SharedDifficultyPolicy(OneShotPolicy):
    """A two-parameter item-response model whose items are read off the text: argmax over models h of P − λ·cost.

        P(h resolves x) = σ(a(x)·θ_h − b(x)),   cost of h on x ∝ exp(γ_h·s(x) + a ridge of what is left)

    1. Items: slope a_i and difficulty b_i of the training instances by `router.irt` (Birnbaum in Lord and Novick 1968;
       for routing: IRT-Router, arXiv 2506.01048), from the auxiliary runs first, then from the pool around these.
    2. Text: a, b and the size s_i (mean log cost relative to each run's own mean) by ridge on the embedding. Slopes are
       steeper than their shrunken estimates: what text tells of them counts `slope_gain` times.
    3. What text does not tell (variance v) flattens: b(x) and θ are multiplied by 1/√(1 + π·v/8) (MacKay, Neural
       Computation 4:720, 1992). Then θ_h is moved until the mean P over training instances is h's known rate, with a
       normal prior around its item-response ability that matters when labels are few.
    4. Heads: a ridge of every model's y − P, one penalty for all models; added only if that lowers the held-out
       error of the residuals. On recorded runs it does not.

    Fitted, all linear in the text: `difficulty_`, `slope_` (d,) and their biases (1,); `heads_`, `log_cost_` (m, d) and
    their biases (m,). `ability_` (m,) θ; `cost_`, `seconds_` (m,) means, NaN when unknown.
    """

    name: ClassVar[str] = "shared-difficulty"
    fitted: ClassVar[dict[str, str]] = {
        "ability_": "m",
        "difficulty_": "d",
        "difficulty_bias_": "o",
        "slope_": "d",
        "slope_bias_": "o",
        "heads_": "md",
        "head_bias_": "m",
        "log_cost_": "md",
        "log_cost_bias_": "m",
        "cost_": "m",
        "seconds_": "m",
    }

    heads: bool = True
    """whether models may get heads of their own (step 4)"""
    slope_sd: float = 1.0
    """spread of item slopes around the common one; 0 for one-parameter items"""
    slope_gain: float = 2.0
    """weight of what text tells of slopes; 0 gives every text the common slope"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD; ∞ takes the model that is cheapest on average"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Decompose X (n, d) for the ridges. `corpus` is not used: without outcomes it tells nothing of difficulty."""
        self._ridge = TextRidge(as_features(X))
        self._others: tuple[OutcomeMatrix, ItemResponse] | None = None
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        """Learn items, models and prices from the outcomes of the rows `fit_features` saw, in the same order."""
        if not hasattr(self, "_ridge"):
            raise PolicyNotFittedError(f"policy {self.name!r}: fit_features(X) comes before fit_outcomes(outcomes)")
        if len(outcomes) != len(self._ridge.X):
            raise OutcomeError(f"{len(outcomes)} instances for {len(self._ridge.X)} rows of X")
        rates = known_rates(outcomes)
        self.models_ = outcomes.models
        self.cost_ = outcomes.mean_cost()
        self.seconds_ = outcomes.mean_seconds()

        items = self._items(outcomes, auxiliary)
        difficulty = self._ridge.fit(items.difficulty)
        flatten = 1.0 / np.sqrt(1.0 + np.pi * difficulty.error / 8.0)
        self.difficulty_: FloatArray = flatten * difficulty.weights
        self.difficulty_bias_: FloatArray = np.array([flatten * difficulty.bias])
        relative = self._ridge.fit(items.slope / items.slope.mean())
        self.slope_: FloatArray = self.slope_gain * relative.weights
        self.slope_bias_: FloatArray = np.array([1.0 + self.slope_gain * (relative.bias - 1.0)])
        # held-out predictions, as uncertain as those of new texts
        slope = np.maximum(1.0 + self.slope_gain * (relative.held_out - 1.0), LEAST_SLOPE)
        hardness = flatten * difficulty.held_out
        centre = flatten * items.slope.mean() * items.ability
        self.ability_: FloatArray = _calibrate(slope, hardness, centre, outcomes.resolved, rates)
        self._fit_heads(outcomes.resolved - expit(np.outer(slope, self.ability_) - hardness[:, None]))
        self._fit_costs(outcomes, auxiliary)
        return self

    def _items(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None) -> ItemResponse:
        """Of the training rows. What auxiliary runs tell is kept, for the next fit to other outcomes of these rows."""
        priors = Priors(slope_sd=self.slope_sd)
        if auxiliary is None or np.isnan(auxiliary.resolved).all():
            return fit_irt(outcomes.resolved, priors, tolerance=TOLERANCE)
        if self._others is None or self._others[0] is not auxiliary or self._others[1].priors != priors:
            self._others = auxiliary, fit_irt(auxiliary.resolved, priors, tolerance=TOLERANCE)
        return fit_irt(outcomes.resolved, priors, around=self._others[1], tolerance=TOLERANCE)

    def _fit_heads(self, residual: FloatArray) -> None:
        m, d = residual.shape[1], self._ridge.X.shape[1]
        self.heads_: FloatArray = np.zeros((m, d))
        self.head_bias_: FloatArray = np.zeros(m)
        if not self.heads:
            return
        residual = residual - mean_known(residual, axis=0)
        weights, bias, held_out = self._ridge.fit_together(residual)
        gain = mean_known(residual**2 - (residual - held_out) ** 2, axis=1)
        gain = gain[~np.isnan(gain)]
        if gain.mean() > EVIDENCE * gain.std() / np.sqrt(len(gain)):
            self.heads_, self.head_bias_ = weights.T, bias

    def _fit_costs(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None) -> None:
        """Log cost of every model, linear in the text; a model without a positive known cost costs its mean."""
        own = _log_ratio(outcomes.cost)
        every = own if auxiliary is None else np.hstack([own, _log_ratio(auxiliary.cost)])
        size = mean_known(every, axis=1)
        size_fit: RidgeFit = self._ridge.fit(size)
        both = np.where(np.isnan(own), 0.0, np.nan_to_num(size)[:, None])
        power = (both**2).sum(axis=0)
        scale = np.where(power > 0, (both * np.nan_to_num(own)).sum(axis=0) / np.maximum(power, 1e-300), 0.0)
        weights, bias, held_out = self._ridge.fit_together(own - scale * np.nan_to_num(size)[:, None])
        self.log_cost_: FloatArray = np.outer(scale, size_fit.weights) + weights.T
        # scaled so that the mean predicted cost of new instances is the mean cost
        predicted = mean_known(np.exp(np.outer(size_fit.held_out, scale) + held_out), axis=0)
        mean = np.log(np.maximum(fill_costs(self.cost_), 1e-300))
        self.log_cost_bias_: FloatArray = scale * size_fit.bias + bias + mean - np.log(predicted)

    def difficulties(self, X: Features) -> FloatArray:
        """(n,) b(x): predicted difficulty in logits, flattened for what the text does not tell."""
        self.check_fitted()
        return np.asarray(as_features(X) @ self.difficulty_ + self.difficulty_bias_[0])

    def slopes(self, X: Features) -> FloatArray:
        """(n,) a(x): how much ability matters on x, 1 on average."""
        self.check_fitted()
        return np.asarray(np.maximum(as_features(X) @ self.slope_ + self.slope_bias_[0], LEAST_SLOPE))

    def scores(self, X: Features) -> FloatArray:
        p = expit(np.outer(self.slopes(X), self.ability_) - self.difficulties(X)[:, None])
        return np.asarray(np.clip(p + as_features(X) @ self.heads_.T + self.head_bias_, 0.0, 1.0))

    def costs(self, X: Features) -> FloatArray:
        self.check_fitted()
        return np.asarray(np.exp(as_features(X) @ self.log_cost_.T + self.log_cost_bias_))

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        choices = super().sweep(X, cost_weights)
        frugal = [(self.cost_weight if weight is None else weight) == np.inf for weight in cost_weights]
        if any(frugal):
            # among the cheapest, errors of predicted costs would only cost
            means = np.broadcast_to(fill_costs(self.cost_), (len(X), len(self.models_)))
            choices[frugal] = choose(self.scores(X), means, np.inf, self.seconds(X), self.time_weight)
        return choices

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        rows = zip(self.difficulties(X), self.scores(X), self.costs(X), choices, strict=True)
        return [
            Explanation(None, f"difficulty {b:+.2f} logits: expected {p[h]:.1%} resolved at ${c[h]:.3f}")
            for b, p, c, h in rows
        ]


def _log_ratio(cost: FloatArray) -> FloatArray:
    """(n, m) log cost minus the model's mean log cost; a cost under 1 % of the model's mean counts as that."""
    mean = mean_known(cost, axis=0)
    # NaN throughout for models without a positive mean
    mean = np.where(np.nan_to_num(mean) > 0, mean, np.nan)
    logs = np.log(np.maximum(cost / mean, 0.01))
    return np.asarray(logs - mean_known(logs, axis=0))


def _calibrate(
    slope: FloatArray, difficulty: FloatArray, centre: FloatArray, resolved: FloatArray, rates: FloatArray
) -> FloatArray:
    """(m,) abilities with which predictions meet the known rates, drawn to `centre` (m,) where few verdicts are known.

    First one shift of all abilities, for the rates' mean; then Newton steps of count·(rate − mean p) = (θ − c)/sd².
    """
    known = ~np.isnan(resolved)
    count = known.sum(axis=0)
    hits = rates * count

    def step(ability: FloatArray, together: bool) -> FloatArray:
        p = expit(np.outer(slope, ability) - difficulty[:, None])
        short = hits - (known * p).sum(axis=0)
        gain = (known * slope[:, None] * p * (1.0 - p)).sum(axis=0)
        if together:
            return np.full(len(ability), short.sum() / max(float(gain.sum()), 1e-9))
        short -= (ability - centre) / ABILITY_SD**2
        return np.asarray(short / (gain + ABILITY_SD**-2))

    ability = np.array(centre)
    for _ in range(8):
        ability = ability + np.clip(step(ability, together=True), -2.0, 2.0)
    centre = ability
    for _ in range(8):
        ability = ability + np.clip(step(ability, together=False), -2.0, 2.0)
    return np.where(count > 0, ability, NEVER)
