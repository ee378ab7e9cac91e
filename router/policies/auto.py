"""The default: route where the training rows show that it pays, else the price-aware best fixed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features
from router.outcomes import OutcomeMatrix
from router.policies.base import (
    Explanation,
    FittedArrays,
    OneShotPolicy,
    Policy,
    PolicyNotFittedError,
    PolicyParameterError,
    fill_costs,
    known_rates,
)
from router.policies.fixed import BestFixedPolicy
from router.policies.partition import check_rows

if TYPE_CHECKING:
    from router.decision import Decision, FinishedAttempt

PERMUTATIONS = 199
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
    worth: FloatArray
    """(n, m) resolved − w·cost of every cell"""
    ahead: float
    """advantage over the fallback per instance, after caution"""


@dataclass(eq=False)
class AutoPolicy(OneShotPolicy):
    """Chooses among policies by nested validation inside the training rows; does no harm where nothing can be gained.

    1. Fallback: `best-fixed` with a tolerance, the cheapest of the models as good as the leader.
    2. Each candidate policy decides the training rows held out, in inner folds, at a few weights of cost. A decision is
       worth resolved − w·cost, w = λ + `tolerance` / the fallback's mean cost: saving the whole cost is worth
       `tolerance`. The best candidate is ahead of the fallback by most after `caution` standard errors of the
       difference; the fallback is chosen on all training rows, so in doubt it is favoured.
    3. It is taken only if it is ahead at all, and if the permutation gate passes: its decisions are worth more than the
       same decisions dealt at random to the instances of the same inner fold (p <= `alpha`). If the text told nothing
       these were exchangeable, whatever was fitted on the other folds: an exact test without a refit.

    Given another λ at a decision, whatever was taken decides with that λ.

    Fitted: `taken_` (1,), 0 for the fallback, else the number of the candidate; `extra_` (1,) the λ it adds to the
    user's; and the arrays of what was taken.
    """

    name: ClassVar[str] = "auto"
    fitted: ClassVar[dict[str, str]] = {"taken_": "o", "extra_": "o"}

    candidates: str = "shared-difficulty"
    """short names of the policies to choose among, separated by commas; they have their default parameters"""
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
        fallback = self._make(0).fit(self._X, outcomes)
        trial = self._best_trial(outcomes, auxiliary, fallback)
        passed = trial is not None and self._gate(trial) <= self.alpha
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

    def _make(self, number: int) -> Policy:
        """The fallback (0) or a candidate, unfitted."""
        from router.policies import make_policy

        if number == 0:
            return BestFixedPolicy(self.tolerance)
        name = self._names()[number - 1]
        if name == self.name:
            raise PolicyParameterError("policy 'auto' cannot be its own candidate")
        policy = make_policy(name)
        has = policy.get_params()
        own = {"seed": self.seed, "time_weight": self.time_weight}
        return policy.set_params(**{key: value for key, value in own.items() if key in has})

    def _best_trial(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None, fallback: Policy) -> _Trial | None:
        """The candidate most ahead of the fallback on rows held out; None where none is ahead."""
        from router.crossfit import decide

        if len(outcomes.models) < 2 or not self._parts or np.isinf(self.cost_weight):
            return None
        usual = int(fallback.predict(self._X[:1], self.cost_weight)[0])
        price = fill_costs(outcomes.mean_cost())[usual]
        unit = self.tolerance / price if price > 0 else 0.0
        extras = [unit * times for times in EXTRAS] if unit else [0.0]
        worth = _worth(outcomes, self.cost_weight + unit)
        rows = np.arange(len(outcomes))
        trials: list[_Trial] = []
        for number, policies in enumerate(self._inner, 1):
            choices = np.zeros((len(extras), len(rows)), dtype=np.int64)
            paid = np.full((len(extras), len(rows)), np.nan)
            for (train, test), policy in zip(self._parts, policies, strict=True):
                policy.fit_outcomes(outcomes.take(train), None if auxiliary is None else auxiliary.take(train))
                weights = [self.cost_weight + extra for extra in extras]
                choices[:, test], (_, paid[:, test], _) = decide(policy, self._X, outcomes, test, weights)
            for extra, line, cost in zip(extras, choices, paid, strict=True):
                # a cascade pays for more than the run it hands in
                more = np.nan_to_num(cost - outcomes.cost[rows, line]) * (self.cost_weight + unit)
                value = worth[rows, line] - more
                ahead = value - worth[rows, usual]
                cautious = float(ahead.mean() - self.caution * ahead.std() / np.sqrt(len(rows)))
                trials.append(_Trial(number, extra, line, worth, cautious))
        best = max(trials, key=lambda trial: trial.ahead, default=None)
        return best if best is not None and best.ahead > 0 else None

    def _gate(self, trial: _Trial) -> float:
        """p of a trial's decisions against the same ones dealt at random within each inner fold."""
        rng = np.random.default_rng([self.seed, 1])
        rows, worth = np.arange(len(trial.choices)), trial.worth
        observed = worth[rows, trial.choices].sum()
        reached = 0
        for _ in range(PERMUTATIONS):
            dealt = np.array(trial.choices)
            for _, test in self._parts:
                dealt[test] = trial.choices[rng.permutation(test)]
            reached += bool(worth[rows, dealt].sum() >= observed - 1e-9)
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

    def values(self, X: Features) -> FloatArray:
        return self.taken.values(X)

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        return self.taken.sweep(X, [self.weight(weight) for weight in cost_weights])

    def weight(self, cost_weight: float | None) -> float:
        """The user's λ, or the policy's own and what was found to be worth adding to it."""
        self.check_fitted()
        return self.cost_weight + float(self.extra_[0]) if cost_weight is None else cost_weight

    @property
    def next_step(self) -> Any:
        """Only where a cascade was taken: otherwise it is one-shot, and has no such attribute."""
        from router.decision import is_sequential

        taken = self.__dict__.get("_taken")
        if taken is None or not is_sequential(taken):
            raise AttributeError("next_step")

        def step(x: FloatArray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None) -> Decision:
            return taken.next_step(x, attempts, self.weight(cost_weight))

        return step

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        told = self.taken.explain(X, choices, self.weight(cost_weight))
        return [Explanation(why.cluster, f"{why.reason} ({self.taken.name}, chosen by auto)") for why in told]

    def fitted_arrays(self) -> FittedArrays:
        self.check_fitted()
        return super().fitted_arrays() | {f"taken.{key}": array for key, array in self.taken.fitted_arrays().items()}

    def restore(self, models: tuple[str, ...], arrays: FittedArrays) -> Self:
        super().restore(models, arrays)
        number = int(self.taken_[0])
        if not 0 <= number <= len(self._names()):
            raise PolicyParameterError(f"policy 'auto' has no candidate {number}; it has {self.candidates!r}")
        prefix = "taken."
        own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
        self._taken = self._make(number).restore(models, own)
        return self


def _worth(outcomes: OutcomeMatrix, weight: float) -> FloatArray:
    """(n, m) resolved − weight·cost; what is unknown counts as the model's mean."""
    resolved = np.where(np.isnan(outcomes.resolved), known_rates(outcomes), outcomes.resolved)
    costs = np.where(np.isnan(outcomes.cost), fill_costs(outcomes.mean_cost()), outcomes.cost)
    return np.asarray(resolved - weight * costs)
