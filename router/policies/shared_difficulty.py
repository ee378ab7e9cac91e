"""One difficulty and one size per instance, read off its text; one ability and one price per model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features, mean_known
from router.irt import ItemResponse, Priors, fit_irt, sigmoid
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyNotFittedError, fill_costs, known_rates
from router.ridge import RidgeFit, TextRidge, stack

NEVER = -50.0
"""ability of a model without any verdict: it is never chosen on no evidence"""
ABILITY_SD = 0.5
"""of a model's calibrated ability around its item-response one, in logits: decides with few labels, fades with many"""
EVIDENCE = 0.3
"""a model's head must lower the held-out error of its residuals by this many standard errors"""


@dataclass(eq=False)
class SharedDifficultyPolicy(OneShotPolicy):
    """A two-parameter item-response model whose items are read off the text (DESIGN §6; `router.irt`).

    1. Difficulty b_i of the training instances: item-response model over the pool and the auxiliary runs.
    2. Size s_i: mean log cost of instance i relative to each model's own mean, pool and auxiliary runs with known cost.
    3. Both from text by ridge; b̂(x) combines the two, since what is large is also hard.
    4. P(h resolves x) = σ(θ_h − k·b̂(x)): k = 1/√(1 + π·v/8) accounts for the variance v of what the text does not
       tell (MacKay, Neural Computation 4:720, 1992); θ_h is set so that the mean over training instances is the
       model's known rate, with a normal prior around its item-response ability that matters when labels are few.
    5. A head per model, ridge of y − P(true item) on the text, shrunk by its own held-out fit; taken only where it
       lowers the held-out error. Often it does not.
    6. Cost of h on x: exp(μ_h + γ_h·ŝ(x) + a ridge of what is left), scaled to the model's mean cost.

    Fitted arrays are linear in the text: `ability_` (m,) θ; `difficulty_` (d,) and `difficulty_bias_` (1,) of k·b̂;
    `heads_` (m, d) and `head_bias_` (m,); `log_cost_` (m, d) and `log_cost_bias_` (m,); `cost_`, `seconds_` (m,) means,
    NaN when unknown.
    """

    name: ClassVar[str] = "shared-difficulty"
    fitted: ClassVar[dict[str, str]] = {
        "ability_": "m",
        "difficulty_": "d",
        "difficulty_bias_": "o",
        "heads_": "md",
        "head_bias_": "m",
        "log_cost_": "md",
        "log_cost_bias_": "m",
        "cost_": "m",
        "seconds_": "m",
    }

    heads: bool = True
    """whether models may get heads of their own (step 5)"""
    near_tie: float = 0.0
    """a model whose training rate is less than this many standard errors above a cheaper one's is given the cheaper
    one's rate, so that price decides; 0 believes every difference"""
    slope_sd: float = 0.7
    """spread of item slopes around the common one; 0 for one-parameter items"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Decompose X (n, d) for the ridges. `corpus` is not used: without outcomes it tells nothing of difficulty."""
        self._ridge = TextRidge(as_features(X))
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
        m = len(self.models_)

        verdicts, costs = outcomes.resolved, outcomes.cost
        if auxiliary is not None:
            verdicts, costs = np.hstack([verdicts, auxiliary.resolved]), np.hstack([costs, auxiliary.cost])
        items = fit_irt(verdicts, Priors(slope_sd=self.slope_sd), tolerance=1e-2)
        size = self._ridge.fit(mean_known(_log_ratio(costs), axis=1))
        difficulty = stack(items.difficulty, [self._ridge.fit(items.difficulty), size])
        shrink = 1.0 / np.sqrt(1.0 + np.pi * difficulty.error / 8.0)

        self.difficulty_: FloatArray = shrink * difficulty.weights
        self.difficulty_bias_: FloatArray = np.array([shrink * difficulty.bias])
        hidden = shrink * difficulty.held_out
        centre = shrink * items.ability[:m] + _calibrate(hidden, shrink * items.ability, verdicts, None).mean()
        if self.near_tie > 0:
            rates = level_near_ties(outcomes, rates, self.near_tie)
        self.ability_: FloatArray = _calibrate(hidden, centre, outcomes.resolved, rates, ABILITY_SD)
        self._fit_heads(outcomes.resolved, items)
        self._fit_costs(outcomes, size)
        return self

    def _fit_heads(self, resolved: FloatArray, items: ItemResponse) -> None:
        m = resolved.shape[1]
        self.heads_: FloatArray = np.zeros((m, self._ridge.X.shape[1]))
        self.head_bias_: FloatArray = np.zeros(m)
        if not self.heads:
            return
        residual = resolved - items.probability()[:, :m]
        residual -= mean_known(residual, axis=0)
        for h in range(m):
            known = ~np.isnan(residual[:, h])
            head = self._ridge.fit(residual[:, h])
            power = float((head.held_out[known] ** 2).sum())
            if power == 0:
                continue
            y, fit = residual[known, h], head.held_out[known]
            share = float(np.clip(fit @ y / power, 0.0, 1.0))
            gain = y**2 - (y - share * fit) ** 2
            if gain.mean() > EVIDENCE * gain.std() / np.sqrt(len(gain)):
                self.heads_[h], self.head_bias_[h] = share * head.weights, share * head.bias

    def _fit_costs(self, outcomes: OutcomeMatrix, size: RidgeFit) -> None:
        """Log cost of every model, linear in the text; a model without a positive known cost costs its mean."""
        m, d = len(self.models_), self._ridge.X.shape[1]
        self.log_cost_: FloatArray = np.zeros((m, d))
        self.log_cost_bias_: FloatArray = np.log(np.maximum(fill_costs(self.cost_), 1e-300))
        ratio = _log_ratio(outcomes.cost)
        known = ~np.isnan(ratio)
        true_size = mean_known(ratio, axis=1)
        for h in np.flatnonzero(known.any(axis=0) & (np.nan_to_num(self.cost_) > 0)):
            rows = known[:, h]
            own, common = ratio[rows, h], true_size[rows]
            power = float(common @ common)
            scale = float(common @ own) / power if power > 0 else 0.0
            rest = self._ridge.fit(np.where(rows, ratio[:, h] - scale * np.nan_to_num(true_size), np.nan))
            # a rest that text does not tell is left out
            told = rest.error < float(np.var(own - scale * common)) and bool(rest.weights.any())
            weights = scale * size.weights + (rest.weights if told else 0.0)
            predicted = scale * size.held_out[rows] + (rest.held_out[rows] if told else 0.0)
            self.log_cost_[h] = weights
            # held-out predictions, so that the mean predicted cost of new instances is the mean cost
            bias = scale * size.bias + (rest.bias if told else 0.0)
            self.log_cost_bias_[h] = bias + np.log(self.cost_[h] / np.exp(predicted).mean())

    def difficulties(self, X: Features) -> FloatArray:
        """(n,) k·b̂(x): predicted difficulty in logits, shrunk for what the text does not tell."""
        self.check_fitted()
        return np.asarray(as_features(X) @ self.difficulty_ + self.difficulty_bias_[0])

    def scores(self, X: Features) -> FloatArray:
        hardness = self.difficulties(X)
        p = sigmoid(self.ability_ - hardness[:, None])
        return np.asarray(np.clip(p + as_features(X) @ self.heads_.T + self.head_bias_, 0.0, 1.0))

    def costs(self, X: Features) -> FloatArray:
        self.check_fitted()
        return np.asarray(np.exp(as_features(X) @ self.log_cost_.T + self.log_cost_bias_))

    def explain(self, X: Features, choices: IntArray) -> list[Explanation]:
        rows = zip(self.difficulties(X), self.scores(X), self.costs(X), choices, strict=True)
        return [
            Explanation(None, f"difficulty {b:+.2f} logits: expected {p[h]:.1%} resolved at ${c[h]:.3f}")
            for b, p, c, h in rows
        ]


def level_near_ties(outcomes: OutcomeMatrix, rates: FloatArray, errors: float) -> FloatArray:
    """(m,) `rates`, where a model less than `errors` paired standard errors above a cheaper one has the cheaper's.

    From the cheapest up, a model takes the lead if it is clearly better than the leader so far; nobody is rated above
    the leader. Unknown prices count as the dearest.
    """
    levelled = np.array(rates)
    order = np.argsort(np.nan_to_num(outcomes.mean_cost(), nan=np.inf), kind="stable")
    lead = order[0]
    for h in order[1:]:
        apart = outcomes.resolved[:, h] - outcomes.resolved[:, lead]
        apart = apart[~np.isnan(apart)]
        error = np.sqrt((apart**2).mean() / len(apart)) if len(apart) else np.inf
        if rates[h] - rates[lead] > errors * error:
            lead = h
        else:
            levelled[h] = min(rates[h], rates[lead])
    return levelled


def _log_ratio(cost: FloatArray) -> FloatArray:
    """(n, m) log cost minus the model's mean log cost; a cost under 1 % of the model's mean counts as that."""
    mean = mean_known(cost, axis=0)
    # NaN throughout for models without a positive mean
    mean = np.where(np.nan_to_num(mean) > 0, mean, np.nan)
    logs = np.log(np.maximum(cost / mean, 0.01))
    return np.asarray(logs - mean_known(logs, axis=0))


def _calibrate(
    difficulty: FloatArray,
    centre: FloatArray,
    resolved: FloatArray,
    rates: FloatArray | None,
    spread: float | None = None,
) -> FloatArray:
    """Abilities such that predictions meet the known rates: one shift for all models, or (with `spread`) one each.

    The mode of Π_i p_i^y (1 − p_i)^(1 − y) · N(θ; centre, spread²) by Newton steps; `rates` replace the observed ones.
    """
    known = ~np.isnan(resolved)
    count = known.sum(axis=0)
    hits = np.where(known, resolved, 0.0).sum(axis=0) if rates is None else rates * count
    ability = np.array(centre)
    precision = 0.0 if spread is None else spread**-2
    for _ in range(20):
        p = sigmoid(ability - difficulty[:, None])
        gradient = hits - (known * p).sum(axis=0) - precision * (ability - centre)
        curvature = (known * p * (1 - p)).sum(axis=0) + precision
        if spread is None:
            gradient, curvature = gradient.sum(keepdims=True), curvature.sum(keepdims=True)
        ability = ability + np.clip(gradient / np.maximum(curvature, 1e-9), -2.0, 2.0)
    return np.asarray(ability - centre if spread is None else np.where(count > 0, ability, NEVER))
