"""The default: route where the training rows show that it pays, else the price-aware best fixed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, cast

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features
from router.attempt import FinishedAttempt
from router.decision import Decision, SequentialPolicy, decide
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.policies.base import OneShotPolicy, check_numbers, fill_costs, known_rates
from router.policies.fixed import BestFixedPolicy
from router.policies.partition import check_rows
from router.policy import Explanation, FittedArrays, Policy, PolicyNotFittedError, PolicyParameterError
from router.signals import has_signals

PERMUTATIONS = 199
"""of the gate"""
LEAST_ROWS = 40
"""fewer training instances cannot tell a router from luck: the best fixed model it is"""
EXTRAS = (0.0, 1.0, 4.0)
"""weights of cost at which a candidate is tried, in units of the tolerance per mean cost of the fallback"""


@dataclass(frozen=True, eq=False)
class _Trial:
    """A candidate's held-out decisions on the training rows at one weight of cost."""

    number: int
    extra: float
    choices: IntArray
    """(n,)"""
    more: float
    """what all decisions are worth less than the cells they chose: a cascade pays for every attempt"""
    ahead: float
    """advantage over the fallback per instance, after caution"""


@dataclass(eq=False)
class AutoPolicy(OneShotPolicy):
    """Chooses among policies by nested validation inside the training rows; does no harm where nothing can be gained.

    1. Fallback: `best-fixed` with a tolerance, the cheapest of the models as good as the leader.
    2. Each candidate policy decides the training rows held out, in inner folds, at a few weights of cost. A decision is
       worth resolved − w·cost − μ·seconds, w = λ + `tolerance` / the fallback's mean cost: saving the whole cost is
       worth `tolerance`. The best candidate is ahead of the fallback by most after `caution` standard errors of the
       difference; the fallback is chosen on all training rows, so in doubt it is favoured.
    3. It is taken only if it is ahead at all, and if the permutation gate passes (p <= `alpha`): all trials' decisions
       are dealt at random, by one permutation, to the instances of the same inner fold, and the best dealt trial is
       compared with the best trial, which pays for having tried several. If the text told nothing, a fold's decisions
       were exchangeable given what was fitted on the others: exact in each fold and without a refit. Over the folds
       together it is approximate, as each trains on the outcomes of the others.

    Given another λ at a decision, whatever was taken decides with that λ.

    Fitted: `taken_` (1,), 0 for the fallback, else the number of the candidate; `extra_` (1,) the λ it adds to the
    user's; and the arrays of what was taken.
    """

    name: ClassVar[str] = "auto"
    fitted: ClassVar[dict[str, str]] = {"taken_": "o", "extra_": "o"}

    candidates: str = "shared-difficulty,select"
    """short names of the policies to choose among, separated by commas; they have their default parameters. One that
    chooses among finished attempts is no candidate where no signal that it chooses by is known, or where an attempt has
    no cost"""
    tolerance: float = 0.03
    """share resolved that may be given up for the whole cost of the best fixed model"""
    caution: float = 1.0
    """standard errors by which a candidate must be ahead"""
    alpha: float = 0.05
    """level of the permutation gate"""
    inner_folds: int = 5
    """of the nested validation"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second"""
    seed: int = 0
    """seed of the inner folds, of the gate, and of candidates that have one"""

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        from sklearn.base import clone

        if self.inner_folds < 2:
            raise PolicyParameterError(f"inner_folds must be at least 2, got {self.inner_folds}")
        self._X, self._corpus = as_features(X), corpus
        rows = np.arange(len(self._X))
        tests = np.array_split(np.random.default_rng(self.seed).permutation(rows), self.inner_folds)
        self._parts = [(np.setdiff1d(rows, test), np.sort(test)) for test in tests] if len(rows) >= LEAST_ROWS else []
        self._inner = [
            [clone(self._make(number)).fit_features(self._X[train], corpus) for train, _ in self._parts]
            for number in range(1, len(self._names()) + 1)
        ]
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        if not hasattr(self, "_inner"):
            raise PolicyNotFittedError("policy 'auto': fit_features(X) comes before fit_outcomes(outcomes)")
        check_rows(outcomes, len(self._X))
        self.models_ = outcomes.models
        fallback = self.fallback().fit(self._X, outcomes)
        trials, worth = self._trials(outcomes, auxiliary, fallback)
        trial = max(trials, key=lambda trial: trial.ahead, default=None)
        passed = trial is not None and trial.ahead > 0 and self._gate(trials, worth) <= self.alpha
        number, extra = (trial.number, trial.extra) if trial is not None and passed else (0, 0.0)
        self.taken_: IntArray = np.array([number])
        self.extra_: FloatArray = np.array([extra])
        if number:
            self._taken = self._make(number).fit(self._X, outcomes, self._corpus, auxiliary)
        else:
            self._taken = fallback
        return self

    def _names(self) -> list[str]:
        return [name.strip() for name in self.candidates.split(",") if name.strip()]

    def fallback(self) -> Policy:
        """What is taken where no candidate passes, unfitted."""
        return BestFixedPolicy(self.tolerance, time_weight=self.time_weight)

    def _make(self, number: int) -> Policy:
        """The fallback (0) or a candidate, unfitted."""
        if number == 0:
            return self.fallback()
        name = self._names()[number - 1]
        if name == self.name:
            raise PolicyParameterError("policy 'auto' cannot be its own candidate")
        policy = make_policy(name)
        has = policy.get_params()
        own = {"seed": self.seed, "time_weight": self.time_weight}
        return policy.set_params(**{key: value for key, value in own.items() if key in has})

    def _trials(
        self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None, fallback: Policy
    ) -> tuple[list[_Trial], FloatArray]:
        """Every candidate on rows held out, at every weight of cost; and what each cell (n, m) is worth."""
        if len(outcomes.models) < 2 or not self._parts or np.isinf(self.cost_weight):
            return [], np.zeros(outcomes.resolved.shape)
        usual = int(fallback.predict(self._X[:1], self.cost_weight)[0])
        price = fill_costs(outcomes.mean_cost())[usual]
        unit = self.tolerance / price if price > 0 else 0.0
        extras = [unit * times for times in EXTRAS] if unit else [0.0]
        worth = _worth(outcomes, self.cost_weight + unit, self.time_weight)
        rows = np.arange(len(outcomes))
        unpriced = bool((np.isnan(outcomes.cost) & ~np.isnan(outcomes.resolved)).any())
        trials: list[_Trial] = []
        for number, policies in enumerate(self._inner, 1):
            if not has_signals(outcomes, policies[0].chooses_by):
                continue
            if policies[0].is_sequential and unpriced:  # several attempts would look as cheap as one
                continue
            choices = np.zeros((len(extras), len(rows)), dtype=np.int64)
            paid, took = np.full((2, len(extras), len(rows)), np.nan)
            for (train, test), policy in zip(self._parts, policies, strict=True):
                policy.fit_outcomes(outcomes.take(train), None if auxiliary is None else auxiliary.take(train))
                weights = [self.cost_weight + extra for extra in extras]
                choices[:, test], (_, paid[:, test], took[:, test]) = decide(policy, self._X, outcomes, test, weights)
            for extra, line, cost, seconds in zip(extras, choices, paid, took, strict=True):
                # a cascade pays and waits for more than the run it hands in
                more = np.nan_to_num(cost - outcomes.cost[rows, line]) * (self.cost_weight + unit)
                more += np.nan_to_num(seconds - outcomes.seconds[rows, line]) * self.time_weight
                value = worth[rows, line] - more
                ahead = value - worth[rows, usual]
                cautious = float(ahead.mean() - self.caution * ahead.std() / np.sqrt(len(rows)))
                trials.append(_Trial(number, extra, line, float(more.sum()), cautious))
        return trials, worth

    def _gate(self, trials: Sequence[_Trial], worth: FloatArray) -> float:
        """p of the best trial against the best of the same decisions dealt at random within each inner fold.

        What the fallback is worth is the same for all, so it cancels.
        """
        rng = np.random.default_rng([self.seed, 1])
        rows = np.arange(len(worth))
        choices = np.stack([trial.choices for trial in trials])
        more = np.array([trial.more for trial in trials])

        def best(order: IntArray) -> float:
            return float((worth[rows, choices[:, order]].sum(axis=1) - more).max())

        observed = best(rows)
        reached = 0
        for _ in range(PERMUTATIONS):
            order = np.array(rows)
            for _, test in self._parts:
                order[test] = rng.permutation(test)
            reached += best(order) >= observed - 1e-9
        return (1 + reached) / (1 + PERMUTATIONS)

    @property
    def taken(self) -> Policy:
        """What it decided to be. PolicyNotFittedError before it is fitted."""
        self.check_fitted()
        return self._taken

    def scores(self, X: Features) -> FloatArray:
        return self.taken.scores(X)

    def costs(self, X: Features) -> FloatArray:
        return self.taken.costs(X)

    def seconds(self, X: Features) -> FloatArray:
        return self.taken.seconds(X)

    def utilities(self, X: Features) -> FloatArray:
        return self.taken.utilities(X)

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        return self.taken.sweep(X, [self.effective_cost_weight(weight) for weight in cost_weights])

    def effective_cost_weight(self, cost_weight: float | None) -> float:
        """The user's λ, or the policy's own and what was found to be worth adding to it."""
        self.check_fitted()
        return self.cost_weight + float(self.extra_[0]) if cost_weight is None else cost_weight

    @property
    def is_nested(self) -> bool:
        return True

    @property
    def is_sequential(self) -> bool:
        """Where it is fitted and a cascade was taken."""
        return hasattr(self, "_taken") and self._taken.is_sequential

    def next_step(
        self, x: FloatArray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None
    ) -> Decision:
        """What the cascade that was taken decides; only where `is_sequential`."""
        taken = cast(SequentialPolicy, self.taken)
        return taken.next_step(x, attempts, self.effective_cost_weight(cost_weight))

    def roll_out_recorded(
        self, X: FloatArray, outcomes: OutcomeMatrix, cost_weights: Sequence[float | None]
    ) -> tuple[IntArray, FloatArray]:
        """`next_step` to the end on recorded rows, as what was taken decides them."""
        weights: list[float | None] = [self.effective_cost_weight(weight) for weight in cost_weights]
        return decide(self.taken, X, outcomes, np.arange(len(outcomes)), weights)

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        explanations = self.taken.explain(X, choices, self.effective_cost_weight(cost_weight))
        return [Explanation(why.cluster, f"{why.reason} ({self.taken.name}, chosen by auto)") for why in explanations]

    def fitted_arrays(self) -> FittedArrays:
        self.check_fitted()
        return super().fitted_arrays() | {f"taken.{key}": array for key, array in self.taken.fitted_arrays().items()}

    def restore(self, models: tuple[str, ...], arrays: FittedArrays) -> Self:
        super().restore(models, arrays)
        check_numbers(self.name, "taken_", self.taken_, 0, len(self._names()))
        if len(self.extra_) != 1 or not 0 <= self.extra_[0] < np.inf:
            raise PolicyParameterError("policy 'auto': array 'extra_' needs one finite weight of cost >= 0")
        number = int(self.taken_[0])
        prefix = "taken."
        own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
        self._taken = self._make(number).restore(models, own)
        return self


def _worth(outcomes: OutcomeMatrix, weight: float, time_weight: float) -> FloatArray:
    """(n, m) resolved − weight·cost − time_weight·seconds; what is unknown counts as the model's mean."""
    resolved = np.where(np.isnan(outcomes.resolved), known_rates(outcomes), outcomes.resolved)
    costs = np.where(np.isnan(outcomes.cost), fill_costs(outcomes.mean_cost()), outcomes.cost)
    worth = resolved - weight * costs
    if time_weight:
        worth -= time_weight * np.where(
            np.isnan(outcomes.seconds), fill_costs(outcomes.mean_seconds()), outcomes.seconds
        )
    return np.asarray(worth)
