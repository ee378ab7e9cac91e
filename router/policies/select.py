"""Run several models, together or one after the other, and hand in the attempt that fixes most generated tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from router.arrays import Features, FloatArray, IntArray, mean_known
from router.attempt import FinishedAttempt
from router.confidence import design, published, refit
from router.decision import Accept, Decision, Run
from router.outcomes import OutcomeMatrix
from router.policies.base import Explanation, OneShotPolicy, PolicyParameterError, check_numbers, choose, fill_costs
from router.signals import (
    FROM_OTHERS,
    OF_INSTANCE,
    SignalHistory,
    attempt_signals,
    features,
    pair_signal,
    signal_table,
)

TESTS = ("tests_fixed", "own_tests_fixed")
"""Signals that count tests which fail on the unpatched repository and pass with the attempt's patch."""
BROKEN = ("existing_broken", "existing_obsolete")
"""Existing tests that the patch breaks, and those of them whose expectation the issue changes."""
PRESENT = ("patch_present", "patch_applies")
"""0: there is nothing to hand in."""
WRITTEN = TESTS[0]
"""Those of them that test writers wrote: known of an attempt whatever others have been made."""
READ = (*TESTS, *BROKEN, *PRESENT, *OF_INSTANCE)
AGREEMENT = ("patch_similarity", "patch_agrees")
"""Similarity and equality of the patch to the other attempts'."""
BoolArray = NDArray[np.bool_]


@dataclass(eq=False)
class SelectPolicy(OneShotPolicy):
    """Run the k best models in training, the best of them first (the default), and choose among finished attempts.

    1. An empty patch and one that does not apply are never handed in, unless all are.
    2. An attempt that breaks `broken_limit` existing tests or more (less those that the issue makes obsolete) comes
       after those that break fewer.
    3. Then the attempt that fixes most generated tests; ties go to the default, then to the better model in training.

    Nothing of this is fitted but the order of the models. Unknown signals count as no test fixed and none broken, so
    without any test the default is handed in: the policy then resolves what `best-fixed` does, at the price of all
    attempts.

    `sequential` runs the members one after the other. The next one runs while its expected gain is worth its cost:

        (1 − p)·rescue − p·harm > λ·(mean cost of the next model) + μ·(its mean seconds)

    p is the probability that the chosen attempt is right, from its agreement with the other attempts and from the
    course of its run, the tests it fixes included (`router.confidence`); rescue and harm are how often in training the
    choice with one more model was right where it had been wrong, and wrong where it had been right. With fewer than 100
    training outcomes p is the published one. Where p reads no tests (the published one, and one that is fitted on
    attempts without tests), it also stops as soon as the chosen attempt fixes at least one of the writers' tests and no
    attempt made so far fixes more of them. Attempts' own tests do not count for that: each says nothing of the attempt
    that wrote it, and a record does not know which of them there would have been.

    With λ > 0 fewer models may be run at all: of the first j members (j = 1 … k) and each model alone, the one with the
    best mean resolved − λ·cost on the training rows. λ = 0 never leaves a member out.

    A replay cannot know which tests the models that have not run would have written: recorded counts of tests that come
    from other attempts (`router.signals.FROM_OTHERS`) are not read before all models of the record have run, or at all.

    Fitted: `members_` (k,) model numbers, the default first; `gained_`, `paid_`, `waited_` (k,) mean resolved, USD
    (tests included) and seconds in training with the first j; `rescue_`, `harm_` (k,) and `right_` (k, f), the weights
    of p, after the first j; `signal_mean_`, `signal_spread_` (m, s), see `router.signals`.

    Source: of the rules that were tried on real patches of SWE-bench Verified, the one that held out does not fall
    below the best member (pools of three: +1.5 of 500, 95 % interval −1.5 to +4.5).
    """

    name: ClassVar[str] = "select"
    chooses_by: ClassVar[tuple[str, ...]] = TESTS
    fitted: ClassVar[dict[str, str]] = {
        "overall_": "m",
        "cost_": "m",
        "seconds_": "m",
        "members_": "k",
        "gained_": "k",
        "paid_": "k",
        "waited_": "k",
        "rescue_": "k",
        "harm_": "k",
        "right_": "kf",
        "signal_names_": "b",
        "signal_mean_": "ms",
        "signal_spread_": "ms",
    }
    may_be_unknown: ClassVar[frozenset[str]] = OneShotPolicy.may_be_unknown | {"right_"}

    members: int = 3
    """k, models that run on each instance; fewer where fewer are known"""
    sequential: bool = False
    """run one model after the other and stop early, instead of all at once; saves most where λ > 0"""
    broken_limit: int = 3
    """broken existing tests from which on an attempt comes last"""
    cost_weight: float = 0.0
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second, one attempt after the other"""

    @property
    def is_sequential(self) -> bool:
        return True

    def check_parameters(self) -> None:
        if self.members < 1 or self.broken_limit < 1:
            raise PolicyParameterError("policy 'select' needs members >= 1 and broken_limit >= 1")

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """The text is not used."""
        self.check_parameters()
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        self.learn_means(outcomes)
        costs, seconds = fill_costs(self.cost_), fill_costs(self.seconds_)
        known = np.flatnonzero(~np.isnan(outcomes.rates()))
        order = known[np.lexsort((costs[known], -self.overall_[known]))]
        self.members_: IntArray = order[: self.members]
        history = SignalHistory.fit(outcomes) if self.sequential else SignalHistory.fit(outcomes, ())
        self.signal_names_ = np.frombuffer("\n".join(history.names).encode(), dtype=np.uint8)
        self.signal_mean_, self.signal_spread_ = history.mean, history.spread
        recorded = self._read(outcomes)
        self._fit_stops(recorded, outcomes.resolved)
        table = np.where(np.isnan(outcomes.cost), costs, outcomes.cost)
        rows, gains = np.arange(len(outcomes)), []
        for j in range(1, len(self.members_) + 1):
            first = self.members_[:j]
            chosen, made, tests = self._play(recorded, first, 0.0)
            paid = (table[:, first] * made).sum(axis=1) + tests[0]
            waited = (seconds[first] * made).sum(axis=1) + tests[1]
            gains.append((float(mean_known(outcomes.resolved[rows, first[chosen]])), paid.mean(), waited.mean()))
        self.gained_: FloatArray
        self.paid_: FloatArray
        self.waited_: FloatArray
        self.gained_, self.paid_, self.waited_ = np.nan_to_num(np.array(gains)).T
        return self

    def _fit_stops(self, recorded: _Attempts, resolved: FloatArray) -> None:
        """What one more model changed in training after the first j, and how likely the choice among them is right."""
        k, rows = len(self.members_), np.arange(len(resolved))
        self.rescue_: FloatArray = np.zeros(k)
        self.harm_: FloatArray = np.zeros(k)
        self.right_: FloatArray = np.full((k, 1), np.nan)
        if not self.sequential:
            return
        weights, verdicts = [], []
        for j in range(1, k + 1):
            first = self.members_[:j]
            seen = recorded.take(first)
            verdicts.append(resolved[rows, first[self._chosen(seen)]])
            weights.append(refit(self._design(seen, first), verdicts[-1]))
        for j, (now, then) in enumerate(pairwise(verdicts)):
            self.rescue_[j] = _share((now == 0) & (then == 1), (now == 0) & ~np.isnan(then))
            self.harm_[j] = _share((now == 1) & (then == 0), (now == 1) & ~np.isnan(then))
        self.right_ = np.stack(weights)

    def scores(self, X: Features) -> FloatArray:
        """(n, m) training rates of each model alone."""
        self.check_fitted()
        return np.broadcast_to(self.overall_, (len(X), len(self.overall_)))

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        """(w, n) the model that runs first."""
        return np.stack([np.full(len(X), self._order(weight)[0]) for weight in cost_weights])

    def next_step(
        self, x: FloatArray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None
    ) -> Decision:
        """Run what is missing of the members, all at once unless `sequential`; then choose."""
        order = self._order(cost_weight)
        made = [attempt.model for attempt in attempts]
        wanted = [self.models_[h] for h in order]
        missing = [model for model in wanted if model not in made]
        if not self.sequential and missing:
            return Run(missing[0], tuple(missing[1:]))
        done = [model for model in wanted if model in made]
        if not done:
            return Run(wanted[0])
        seen = self._seen([attempts[made.index(model)] for model in done])
        if missing and not self._stops(seen, order[: len(done)], self.effective_cost_weight(cost_weight))[0]:
            return Run(missing[0])
        usd, took = _tests_paid(seen)[:, 0].tolist() if len(order) > 1 else (0.0, 0.0)
        return Accept(done[int(self._chosen(seen)[0])], usd, took)

    def roll_out_recorded(
        self, X: FloatArray, outcomes: OutcomeMatrix, cost_weights: Sequence[float | None]
    ) -> tuple[IntArray, FloatArray]:
        """`next_step` to the end on recorded rows X (t, d): models (w, t); verdict, USD, seconds (3, w, t)."""
        self.check_fitted()
        recorded, rows = self._read(outcomes), np.arange(len(outcomes))
        decided: dict[tuple[float, ...], tuple[IntArray, FloatArray]] = {}
        keys = []
        for weight in cost_weights:
            order = self._order(weight)
            own = self.effective_cost_weight(weight) if self.sequential else 0.0
            keys.append((own, *order.tolist()))
            if keys[-1] in decided:
                continue
            chosen, made, tests = self._play(recorded, order, own)
            models = order[chosen]
            cost = np.where(made, outcomes.cost[:, order], 0.0).sum(axis=1) + tests[0]
            seconds = np.where(made, outcomes.seconds[:, order], 0.0).sum(axis=1) + tests[1]
            decided[keys[-1]] = models, np.stack([outcomes.resolved[rows, models], cost, seconds])
        lines = [decided[key] for key in keys]
        return np.stack([models for models, _ in lines]), np.stack([gains for _, gains in lines], axis=1)

    def _play(self, recorded: _Attempts, order: IntArray, weight: float) -> tuple[IntArray, BoolArray, FloatArray]:
        """Recorded rows decided to the end: which of `order` is handed in (t,), what was run (t, j), tests' USD and
        seconds (2, t).
        """
        everything = recorded.take(order)
        chosen, tests = self._chosen(everything), _tests_paid(everything)
        made = np.ones((len(chosen), len(order)), dtype=np.bool_)
        if not self.sequential:
            return chosen, made, tests if len(order) > 1 else np.zeros(tests.shape)
        open_ = np.ones(len(chosen), dtype=np.bool_)
        for j in range(1, len(order)):
            seen = recorded.take(order[:j])
            stops = open_ & self._stops(seen, order[:j], weight)
            chosen = np.where(stops, self._chosen(seen), chosen)
            tests = np.where(stops, _tests_paid(seen), tests)
            open_ &= ~stops
            made[:, j] = open_
        return chosen, made, tests if len(order) > 1 else np.zeros(tests.shape)

    def _stops(self, seen: _Attempts, models: IntArray, weight: float) -> BoolArray:
        """(t,) whether the attempts (t, j) of `models` are enough."""
        j, rows = len(models), np.arange(len(seen))
        chosen = self._chosen(seen)
        refitted = not np.isnan(self.right_[j - 1]).any()
        if refitted:
            p = expit(self._design(seen, models) @ self.right_[j - 1])
        else:
            p = published(self.overall_[models[chosen]], *seen.agreement(chosen))
        done = np.zeros(len(seen), dtype=np.bool_)
        if not refitted or not set(TESTS) & set(self._history().names):
            done = seen.fixes_most(chosen)  # p knows nothing of tests: one that is fixed is believed
        p = np.where(seen.nothing()[rows, chosen], 0.0, p)
        following = self.members_[j]
        price = weight * fill_costs(self.cost_)[following] + self.time_weight * fill_costs(self.seconds_)[following]
        gain = (1 - p) * self.rescue_[j - 1] - p * self.harm_[j - 1]
        return np.asarray(done | (gain <= price))

    def _design(self, seen: _Attempts, models: IntArray) -> FloatArray:
        """(t, f) what the probability that the chosen attempt is right is computed from."""
        chosen, rows = self._chosen(seen), np.arange(len(seen))
        course = features(seen.course)[rows, chosen]
        return design(course, self.overall_[models[chosen]], *seen.agreement(chosen))

    def _read(self, outcomes: OutcomeMatrix) -> _Attempts:
        """Everything that is read of recorded rows."""
        unknown = np.full(outcomes.resolved.shape, np.nan)
        names = self._history().names
        pairs = [pair_signal(outcomes, name) for name in AGREEMENT]
        blank = np.full((len(outcomes), len(outcomes.models), len(outcomes.models)), np.nan)
        return _Attempts(
            {name: outcomes.signals.get(name, unknown) for name in READ},
            self._history().relative(signal_table(outcomes, names)),
            (blank if pairs[0] is None else pairs[0], blank if pairs[1] is None else pairs[1]),
        )

    def _seen(self, attempts: Sequence[FinishedAttempt]) -> _Attempts:
        """The same of one instance's finished attempts."""
        history = self._history()
        numbers = [self.models_.index(attempt.model) for attempt in attempts]
        course = [
            history.relative(attempt_signals(attempt, history.names), h)
            for attempt, h in zip(attempts, numbers, strict=True)
        ]
        means = [np.array([_signal(attempt, name) for attempt in attempts]) for name in AGREEMENT]
        return _Attempts(
            {name: np.array([[_signal(attempt, name) for attempt in attempts]]) for name in READ},
            np.array([course]),
            # the mean over the others is known: as good as each of them
            tuple(np.repeat(mean[None, :, None], len(attempts), axis=2) for mean in means),
        )

    def _history(self) -> SignalHistory:
        names = tuple(name for name in bytes(self.signal_names_).decode().split("\n") if name)
        return SignalHistory(names, self.signal_mean_, self.signal_spread_)

    def _order(self, cost_weight: float | None) -> IntArray:
        """(j,) the models that run, the default first."""
        self.check_fitted()
        weight = self.effective_cost_weight(cost_weight)
        alone = choose(self.scores(_ONE), self.costs(_ONE), weight, self.seconds(_ONE), self.time_weight)
        if np.isinf(weight):
            return alone
        if weight == 0 and self.time_weight == 0:
            return self.members_
        value = self.gained_ - weight * self.paid_ - self.time_weight * self.waited_
        j = int(np.argmax(value))
        h = int(alone[0])
        own = self.overall_[h] - weight * self.costs(_ONE)[0, h] - self.time_weight * self.seconds(_ONE)[0, h]
        return self.members_[: j + 1] if j > 0 and value[j] > own else alone

    def _chosen(self, seen: _Attempts) -> IntArray:
        """(t,) which of the attempts (t, j), the default's first, to hand in."""
        signals = seen.signals
        broken, obsolete = (np.nan_to_num(signals[name]) for name in BROKEN)
        breaks = broken - obsolete >= self.broken_limit
        # lexsort is stable: equals keep their order
        return np.asarray(np.lexsort((-seen.fixed(), breaks, seen.nothing()), axis=-1)[:, 0], dtype=np.int64)

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        others = [self.models_[h] for h in self._order(cost_weight)[1:]]
        return [Explanation(None, self._reason(int(choice), others)) for choice in choices]

    def _reason(self, choice: int, others: Sequence[str]) -> str:
        alone = f"{self.overall_[choice]:.1%} resolved in training"
        if not others:
            return f"{alone}, without another model beside it"
        return f"{alone}; {' and '.join(others)} run as well, and the attempt that fixes most tests is handed in"

    def restore(self, models: tuple[str, ...], arrays: dict[str, NDArray[np.generic]]) -> Self:
        super().restore(models, arrays)
        check_numbers(self.name, "members_", self.members_, 0, len(models) - 1)
        self.members_ = self.members_.astype(np.int64)
        if len(set(self.members_.tolist())) < len(self.members_):
            raise PolicyParameterError("policy 'select': array 'members_' names a model twice")
        return self


@dataclass(frozen=True, eq=False)
class _Attempts:
    """What is read of the attempts of t instances by j models."""

    signals: Mapping[str, FloatArray]
    """(t, j) by name, NaN where unknown"""
    course: FloatArray
    """(t, j, s) signals relative to what the model usually does"""
    pairs: tuple[FloatArray, ...]
    """similarity and equality (t, j, j) of each attempt's patch to each other's"""

    def __len__(self) -> int:
        return len(self.course)

    def take(self, models: IntArray) -> _Attempts:
        """The attempts of some models, as they look when no others have been made."""
        signals = {name: values[:, models] for name, values in self.signals.items()}
        for name in FROM_OTHERS & signals.keys():
            if len(models) < max(2, self.course.shape[1]):
                signals[name] = np.full_like(signals[name], np.nan)
        pairs = tuple(pair[:, models][:, :, models] for pair in self.pairs)
        return _Attempts(signals, self.course[:, models], pairs)

    def nothing(self) -> BoolArray:
        """(t, j) whether an attempt has no patch that could be handed in."""
        return np.asarray(np.any([self.signals[name] == 0 for name in PRESENT], axis=0))

    def fixed(self) -> FloatArray:
        """(t, j) generated tests that each attempt fixes."""
        return np.asarray(np.sum([np.nan_to_num(self.signals[name]) for name in TESTS], axis=0))

    def fixes_most(self, chosen: IntArray) -> BoolArray:
        """(t,) whether the chosen attempt fixes at least one of the writers' tests, and no attempt fixes more."""
        fixed = np.nan_to_num(self.signals[WRITTEN])
        mine = fixed[np.arange(len(self)), chosen]
        return np.asarray((mine > 0) & (mine >= fixed.max(axis=1)))

    def agreement(self, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        """(t,) similarity and equality of the chosen attempt to the others, means over those known."""
        rows = np.arange(len(self))
        others = np.ones((len(self), self.course.shape[1]), dtype=np.bool_)
        others[rows, chosen] = False
        similar, equal = (mean_known(np.where(others, pair[rows, chosen], np.nan), axis=1) for pair in self.pairs)
        return similar, equal


_ONE: FloatArray = np.empty((1, 0))
"""A text: whatever it is, the choice is the same."""


def _signal(attempt: FinishedAttempt, name: str) -> float:
    if name == "patch_present" and attempt.patch is not None and not attempt.patch.strip():
        return 0.0
    return float(attempt.signals.get(name, np.nan))


def _tests_paid(seen: _Attempts) -> FloatArray:
    """(2, t) USD and seconds for the tests of each instance."""
    return np.stack([np.nan_to_num(seen.signals[name]).max(axis=1) for name in OF_INSTANCE])


def _share(some: BoolArray, of: BoolArray) -> float:
    """Share of `of` that is in `some`, with half a case on either side."""
    return float((some.sum() + 0.5) / (of.sum() + 1.0))
