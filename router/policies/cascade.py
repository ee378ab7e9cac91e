"""Run a cheap model first; what its run looks like says whether a second one is worth its price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from router.arrays import Features, FloatArray, IntArray, as_features, mean_known
from router.attempt import FinishedAttempt
from router.decision import NOT_ON_RECORD, Accept, Decision, Run
from router.logistic import fit_logistic, with_constant
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies import make_policy
from router.policies.base import (
    TIE,
    Explanation,
    FittedArrays,
    OneShotPolicy,
    PolicyNotFittedError,
    PolicyParameterError,
    check_numbers,
    fill_costs,
)
from router.signals import (
    OF_INSTANCE,
    OF_TESTS,
    SignalHistory,
    attempt_signals,
    features,
    pair_signal,
    signal_table,
)

BoolArray = NDArray[np.bool_]

NONE = -1
"""end of a chain that is shorter than the longest"""


@dataclass(eq=False)
class CascadePolicy(OneShotPolicy):
    """Chains of two or more models with fall-back to the earlier patch; everything fitted on training outcomes.

    1. Candidates: the models on the cost–quality front (or at most `slack` below it), at most `candidates` of them: the
       most accurate, and always the cheapest. Chains are the ordered choices of up to `stages` of them that end in
       the most accurate (`last`: with all of them to choose from, the choice overfits), and each one alone.
    2. Signals z of a finished run (calls, cost, seconds and whatever else is recorded), relative to what that model
       usually does (`router.signals`), with their squares.
    3. For each chain and its last model b, after the runs before it: logistic regressions P(the patch accepted so far
       is right | z) and P(the patch accepted after b is right | z), and the log cost of b, linear in z.
    4. Escalate when P(after | z) − P(so far | z) > λ·E[cost of b | z]: expected resolved − λ·cost, one step ahead.
    5. After b: its patch, unless P(the earlier one is right | all z) exceeds P(b is right | all z) by `fall_back`.
    6. The chain for λ is the one with the best mean of resolved − λ·cost over the training instances when played;
       one model alone is a chain, too, so the cascade never escalates for the sake of it. A chain of several models
       that reads tests of attempts pays for the instance's tests, whether it escalates or not.

    With `prior`, the text has a say: the named one-shot policy's estimates P(h resolves x), cost(h, x) choose the chain
    for each instance, and their logits are signals in 3 (held out, from `PRIOR_FOLDS` parts of the training rows).

    An attempt without a patch is never preferred; one whose change another attempt repeats (signal `patch_agrees`) is
    accepted at once. Recorded columns of that kind (`router.signals.LIVE_ONLY`) are not fitted on; a replay knows them
    where they are recorded for each pair of models.

    Fitted arrays: `chains_` (c, l) model numbers, −1 behind the end; `so_far_`, `after_`, `price_` (c, f) and
    `earlier_`, `latest_` (c, g) weights of 3 and 5 of each chain's last model; `gain_`, `asked_`, `change_`, `paid_`
    (c, n) what each chain's last model promised, was thought to cost, changed and cost on training row n; `tests_` (2,)
    mean USD and seconds of an instance's tests, 0 where no signal comes from tests.

    Source: eth-sri's cascade routing (arXiv 2410.10347) states the rule; the signals and the fall-back are ours.
    """

    name: ClassVar[str] = "cascade"
    fitted: ClassVar[dict[str, str]] = {
        "overall_": "m",
        "cost_": "m",
        "seconds_": "m",
        "signal_names_": "b",
        "signal_mean_": "ms",
        "signal_spread_": "ms",
        "chains_": "cl",
        "so_far_": "cf",
        "after_": "cf",
        "price_": "cf",
        "earlier_": "cg",
        "latest_": "cg",
        "gain_": "cn",
        "asked_": "cn",
        "change_": "cn",
        "paid_": "cn",
        "tests_": "t",
    }

    may_be_unknown: ClassVar[frozenset[str]] = OneShotPolicy.may_be_unknown | {"change_"}

    stages: int = 2
    """models that may run on one instance"""
    candidates: int = 4
    """models that chains are made of"""
    slack: float = 0.02
    """share resolved by which a candidate may be below the cost–quality front"""
    last: str = "leader"
    """`leader`: chains end in the candidate that resolves most in training, or are one model alone; `any`: in any"""
    penalty: float = 5.0
    """ridge penalty of the logistic regressions; much more would also shrink signals that decide, such as no patch"""
    fall_back: float = 0.2
    """how much likelier right an earlier patch must look to be preferred to the last one"""
    carry: str = "none"
    """what a later model starts from: `none`, a fresh repository; `patch`, the repository with the diff of the attempt
    before it, submitted or not. Fitted on fresh attempts all the same, and live only: records cannot show it"""
    prior: str = ""
    """short name of a one-shot policy that reads the text; empty for none"""
    seed: int = 0
    """of the folds of the prior"""
    cost_weight: float = 0.03
    """λ, resolved instances per USD"""
    time_weight: float = 0.0
    """μ, resolved instances per second; it chooses the chain and weighs on every escalation"""

    @property
    def is_nested(self) -> bool:
        return bool(self.prior)

    @property
    def is_sequential(self) -> bool:
        return True

    def check_parameters(self) -> None:
        if self.stages < 1 or self.candidates < 1:
            raise PolicyParameterError("policy 'cascade' needs stages >= 1 and candidates >= 1")
        if self.last not in ("leader", "any"):
            raise PolicyParameterError(f"policy 'cascade': last must be 'leader' or 'any', got {self.last!r}")
        if self.carry not in ("none", "patch"):
            raise PolicyParameterError(f"policy 'cascade': carry must be 'none' or 'patch', got {self.carry!r}")

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Keep X (n, d) for the prior; without one, the texts are not used."""
        self.check_parameters()
        self._X = as_features(X)
        return self

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        if not hasattr(self, "_X"):
            raise PolicyNotFittedError(f"policy {self.name!r}: fit_features(X) comes before fit_outcomes(outcomes)")
        if len(outcomes) != len(self._X):
            raise OutcomeError(f"{len(outcomes)} instances for {len(self._X)} rows of X")
        self.learn_means(outcomes)
        history = SignalHistory.fit(outcomes)
        self.signal_names_ = np.frombuffer("\n".join(history.names).encode(), dtype=np.uint8)
        self.signal_mean_, self.signal_spread_ = history.mean, history.spread
        self.tests_: FloatArray = np.zeros(len(OF_INSTANCE))
        if not OF_TESTS.isdisjoint(history.names):
            unknown = np.zeros(outcomes.resolved.shape)
            each = [np.nan_to_num(outcomes.signals.get(name, unknown)).max(axis=1) for name in OF_INSTANCE]
            self.tests_ = np.mean(each, axis=1)
        self._fit_prior(outcomes, auxiliary)
        self._fit_chains(outcomes)
        return self

    # ---- fitting ----

    def _fit_chains(self, outcomes: OutcomeMatrix) -> None:
        z = self._features(outcomes, self._held_out_prior)
        n, _, s = z.shape
        members = self._front()
        longest = max(1, min(self.stages, len(members)))
        f, g = 1 + (longest - 1) * s, 1 + longest * s
        chains: list[tuple[int, ...]] = [(h,) for h in members]
        rows: dict[str, list[FloatArray]] = {
            "so_far_": [np.zeros((len(members), f))],
            "after_": [np.zeros((len(members), f))],
            "price_": [np.zeros((len(members), f))],
            "earlier_": [np.zeros((len(members), g))],
            "latest_": [np.zeros((len(members), g))],
        }
        for name in ("gain_", "asked_", "change_", "paid_"):
            rows[name] = [np.zeros((len(members), n))]
        # what is accepted before the chain's last model runs, by prefix
        accepted: dict[tuple[int, ...], FloatArray] = {(h,): outcomes.resolved[:, h] for h in members}
        costs = fill_costs(self.cost_)
        for length in range(2, longest + 1):
            level: list[tuple[int, ...]] = list(permutations(members, length))
            if length == longest and self.last == "leader":  # shorter ones are beginnings of longer ones
                level = [chain for chain in level if chain[-1] == members[0]]
            last = [chain[-1] for chain in level]
            before = _padded(np.stack([_side_by_side(z, chain[:-1]) for chain in level]), f)
            everything = _padded(np.stack([_side_by_side(z, chain) for chain in level]), g)
            so_far_right = np.stack([accepted[chain[:-1]] for chain in level])
            last_right = outcomes.resolved[:, last].T
            both = ~np.isnan(so_far_right) & ~np.isnan(last_right)
            so_far_right, last_right = np.where(both, so_far_right, np.nan), np.where(both, last_right, np.nan)

            earlier = fit_logistic(everything, so_far_right, self.penalty)
            latest = fit_logistic(everything, last_right, self.penalty)
            falls_back = _p(everything, earlier) > _p(everything, latest) + self.fall_back
            after_right = np.where(falls_back, so_far_right, last_right)
            so_far = fit_logistic(before, so_far_right, self.penalty)
            after = fit_logistic(before, after_right, self.penalty)
            paid = np.where(np.isnan(outcomes.cost[:, last]), costs[last], outcomes.cost[:, last]).T
            price = _fit_price(before, paid)
            accepted |= dict(zip(level, after_right, strict=True))
            chains += level
            for name, values in {
                "so_far_": so_far,
                "after_": after,
                "price_": price,
                "earlier_": earlier,
                "latest_": latest,
                "gain_": _p(before, after) - _p(before, so_far),
                "asked_": np.exp(_dot(before, price)),
                "change_": after_right - so_far_right,
                "paid_": paid,
            }.items():
                rows[name].append(values)
        self.chains_: IntArray = np.array(
            [[*chain, *[NONE] * (longest - len(chain))] for chain in chains], dtype=np.int64
        )
        whole = {name: np.concatenate(parts) for name, parts in rows.items()}
        self.so_far_, self.after_, self.price_ = whole["so_far_"], whole["after_"], whole["price_"]
        self.earlier_, self.latest_ = whole["earlier_"], whole["latest_"]
        self.gain_, self.asked_ = whole["gain_"], whole["asked_"]
        self.change_, self.paid_ = whole["change_"], whole["paid_"]

    def _front(self) -> list[int]:
        """The candidates' numbers, most accurate first."""
        rates, costs = self.overall_, fill_costs(self.cost_)

        def beaten(h: int) -> bool:
            cheaper = (costs < costs[h]) | ((costs == costs[h]) & (rates > rates[h]))
            return bool((cheaper & (rates >= rates[h] - TIE) & (rates - self.slack >= rates[h])).any())

        members = sorted((h for h in range(len(rates)) if not beaten(h)), key=lambda h: (-rates[h], costs[h]))
        cheapest = min(members, key=lambda h: (costs[h], -rates[h]))
        kept = members[: self.candidates]
        return kept if cheapest in kept else [*kept[:-1], cheapest]

    def _fit_prior(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None) -> None:
        """The prior on all training rows, and its held-out logits (n, m) on them."""
        self._prior: OneShotPolicy | None = None
        self._held_out_prior: FloatArray | None = None
        if not self.prior:
            return
        n = len(outcomes)
        held_out = np.empty((n, len(outcomes.models)))
        parts = np.array_split(np.random.default_rng(self.seed).permutation(n), min(PRIOR_FOLDS, n))
        for part in parts:
            rest = np.setdiff1d(np.arange(n), part)
            others = None if auxiliary is None else auxiliary.take(rest)
            inner = make_policy(self.prior).fit(self._X[rest], outcomes.take(rest), auxiliary=others)
            held_out[part] = inner.scores(self._X[part])
        self._held_out_prior = _logit(held_out)
        self._prior = make_policy(self.prior).fit(self._X, outcomes, auxiliary=auxiliary)  # type: ignore[assignment]

    # ---- deciding ----

    def scores(self, X: Features) -> FloatArray:
        """(n, m) P(resolved) of each model alone: the prior's, or the training rates."""
        self.check_fitted()
        if self._prior_policy() is not None:
            return self._prior_policy().scores(X)  # type: ignore[union-attr]
        return np.broadcast_to(self.overall_, (len(X), len(self.overall_)))

    def costs(self, X: Features) -> FloatArray:
        prior = self._prior_policy()
        return super().costs(X) if prior is None else prior.costs(X)

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        """(w, n) the first model of each instance's chain."""
        self.check_fitted()
        return np.stack([self.chains_[self._choose(X, weight), 0] for weight in cost_weights])

    def _choose(self, X: Features, cost_weight: float | None) -> IntArray:
        """(n,) number of each instance's chain."""
        weight = self.effective_cost_weight(cost_weight)
        first = self.chains_[:, 0]
        seconds = fill_costs(self.seconds_)
        scores, costs = self.scores(X)[:, first], self.costs(X)[:, first]
        if np.isinf(weight):
            # escalating costs more than nothing
            value = np.where(self._lengths() == 1, -costs, -np.inf)
            tie_break = -scores
        else:
            value = scores - weight * costs - self.time_weight * seconds[first] + self._bonus(weight)
            value = value - (self._lengths() > 1) * (weight * self.tests_[0] + self.time_weight * self.tests_[1])
            tie_break = np.broadcast_to(fill_costs(self.cost_)[first] + 1e-9 * self._lengths(), value.shape)
        value = np.where(self._may_be_chosen(), value, -np.inf)
        tied = value >= value.max(axis=1, keepdims=True) - TIE
        return np.asarray(np.where(tied, tie_break, np.inf).argmin(axis=1), dtype=np.int64)

    def _may_be_chosen(self) -> BoolArray:
        """(c,) which chains are whole; the others are only beginnings."""
        ends = np.array([self._last(c) for c in range(len(self.chains_))])
        # candidates are in order: the first chain is the most accurate alone
        return np.asarray((self._lengths() == 1) | (ends == self.chains_[0, 0]) | (self.last == "any"))

    def _bonus(self, weight: float) -> FloatArray:
        """(c,) what escalating along each chain added to resolved − λ·cost per training instance."""
        seconds = fill_costs(self.seconds_)
        bonus = np.zeros(len(self.chains_))
        escalates: dict[int, BoolArray] = {}
        for c in range(len(self.chains_)):
            above = self._parent(c)
            if above is None:
                escalates[c] = np.ones(self.gain_.shape[1], dtype=np.bool_)
                continue
            wait = self.time_weight * seconds[self._last(c)]
            escalates[c] = escalates[above] & (self.gain_[c] > weight * self.asked_[c] + wait)
            added = escalates[c] * (self.change_[c] - weight * self.paid_[c] - wait)
            bonus[c] = bonus[above] + float(np.nan_to_num(mean_known(added)))
        return bonus

    def next_step(
        self, x: FloatArray, attempts: Sequence[FinishedAttempt], cost_weight: float | None = None
    ) -> Decision:
        """Decide for one embedding x (d,) and the attempts so far, oldest first.

        Attempts that do not follow the instance's chain are taken as they are: a chain that begins with them is
        followed, and without one the model that resolves most in training is accepted.
        """
        self.check_fitted()
        X = np.asarray(x)[None, :]
        chain = int(self._choose(X, cost_weight)[0])
        if not attempts:
            return Run(self.models_[self.chains_[chain, 0]])
        if agreed := [attempt.model for attempt in attempts if attempt.signals.get("patch_agrees", 0.0) > 0]:
            return Accept(agreed[-1], *self._tests_paid(chain, attempts))
        made = tuple(self.models_.index(attempt.model) for attempt in attempts)
        if self._prefix(chain, len(made)) != made:
            possible = [c for c in range(len(self.chains_)) if self._prefix(c, len(made)) == made]
            if not possible:
                return Accept(self.models_[max(made, key=lambda h: self.overall_[h])])
            chain = possible[0]
        weight = self.effective_cost_weight(cost_weight)
        prior = self._prior_logits(X)
        z = np.zeros((1, len(self.models_), self._width()))
        empty = np.zeros((1, len(self.models_)), dtype=np.bool_)
        history = self._history()
        for h, attempt in zip(made, attempts, strict=True):
            relative = history.relative(attempt_signals(attempt, history.names), h)
            z[0, h] = self._with_prior(features(relative), None if prior is None else prior[0, h])
            empty[0, h] = attempt.patch == "" or attempt.signals.get("patch_present") == 0
        accepted = np.array([made[0]])
        for c in self._path(chain)[1:]:
            if self._length(c) > len(made):
                escalates = self._escalates(c, z, accepted, empty, weight)[0]
                if escalates:
                    return Run(self.models_[self._last(c)], carry=self.carry == "patch")
                break
            accepted = self._accept(c, z, accepted, empty)
        return Accept(self.models_[int(accepted[0])], *self._tests_paid(chain, attempts))

    def _tests_paid(self, chain: int, attempts: Sequence[FinishedAttempt]) -> list[float]:
        """USD and seconds for the instance's tests, where the chain reads any."""
        if not self._reads_tests(chain):
            return [0.0, 0.0]
        return [float(np.nan_to_num([one.signals.get(name, 0.0) for one in attempts]).max()) for name in OF_INSTANCE]

    def _reads_tests(self, chain: int) -> bool:
        """Whether it depends on tests what a chain runs or accepts: one of a single model accepts that unseen."""
        return self._length(chain) > 1 and not OF_TESTS.isdisjoint(self._history().names)

    def roll_out_recorded(
        self, X: FloatArray, outcomes: OutcomeMatrix, cost_weights: Sequence[float | None]
    ) -> tuple[IntArray, FloatArray]:
        """`next_step` to the end on recorded rows X (t, d): models (w, t); verdict, USD, seconds (3, w, t)."""
        self.check_fitted()
        if self.carry == "patch":
            raise PolicyParameterError(NOT_ON_RECORD)
        z = self._features(outcomes, self._prior_logits(X))
        # unknown is not empty
        empty = outcomes.signals.get("patch_present", outcomes.resolved * np.nan) == 0
        pairs = pair_signal(outcomes, "patch_agrees")
        agrees: BoolArray | None = None if pairs is None else np.asarray(np.nan_to_num(pairs) > 0)
        rows = np.arange(len(outcomes))
        models = np.zeros((len(cost_weights), len(rows)), dtype=np.int64)
        paid = np.zeros((2, len(cost_weights), len(rows)))
        tests = np.zeros(paid.shape)
        tables = (outcomes.cost, outcomes.seconds)
        unknown = np.zeros(outcomes.resolved.shape)
        of_tests = [np.nan_to_num(outcomes.signals.get(name, unknown)) for name in OF_INSTANCE]
        for w, cost_weight in enumerate(cost_weights):
            chosen = self._choose(X, cost_weight)
            for chain in np.unique(chosen):
                mine = rows[chosen == chain]
                first = self.chains_[chain, 0]
                accepted = np.full(len(mine), first)
                reads_tests = self._reads_tests(int(chain))
                for total, table in zip(paid, tables, strict=True):
                    total[w, mine] = table[mine, first]
                for total, table in zip(tests, of_tests, strict=True):
                    total[w, mine] = table[mine, first] * reads_tests
                open_ = np.ones(len(mine), dtype=np.bool_)
                for c in self._path(int(chain))[1:]:
                    open_ &= self._escalates(c, z[mine], accepted, empty[mine], self.effective_cost_weight(cost_weight))
                    for total, table in zip(paid, tables, strict=True):
                        total[w, mine] += np.where(open_, table[mine, self._last(c)], 0.0)
                    for total, table in zip(tests, of_tests, strict=True):  # the same on each attempt, where known
                        last = np.where(open_, table[mine, self._last(c)], 0.0) * reads_tests
                        total[w, mine] = np.maximum(total[w, mine], last)
                    accepted = np.where(open_, self._accept(c, z[mine], accepted, empty[mine]), accepted)
                    if agrees is not None:
                        made = list(self._prefix(c, self._length(c)))
                        pair = np.where(np.eye(len(made)), False, agrees[np.ix_(mine, made, made)])
                        agreed = np.asarray(pair.any(axis=2))
                        ends = open_ & agreed.any(axis=1)
                        latest = len(made) - 1 - agreed[:, ::-1].argmax(axis=1)
                        accepted = np.where(ends, np.array(made)[latest], accepted)
                        open_ &= ~ends
                models[w, mine] = accepted
        return models, np.concatenate([outcomes.resolved[rows, models][None], paid + tests])

    def _escalates(self, c: int, z: FloatArray, accepted: IntArray, empty: BoolArray, weight: float) -> BoolArray:
        """(t,) whether chain c's last model is worth running after those before it."""
        if np.isinf(weight):
            return np.zeros(len(z), dtype=np.bool_)
        before = _padded(_side_by_side(z, self._prefix(c, self._length(c) - 1)), self.so_far_.shape[1])
        so_far = np.where(empty[np.arange(len(z)), accepted], 0.0, _p(before, self.so_far_[c]))
        gain = _p(before, self.after_[c]) - so_far
        wait = self.time_weight * fill_costs(self.seconds_)[self._last(c)]
        return np.asarray(gain > weight * np.exp(_dot(before, self.price_[c])) + wait)

    def _accept(self, c: int, z: FloatArray, accepted: IntArray, empty: BoolArray) -> IntArray:
        """(t,) what to accept after all of chain c has run, where `accepted` was the choice before its last model."""
        rows = np.arange(len(z))
        last = self._last(c)
        everything = _padded(_side_by_side(z, self._prefix(c, self._length(c))), self.latest_.shape[1])
        earlier = _p(everything, self.earlier_[c]) > _p(everything, self.latest_[c]) + self.fall_back
        earlier = np.where(empty[rows, accepted] != empty[rows, last], empty[:, last], earlier)
        return np.asarray(np.where(earlier, accepted, last), dtype=np.int64)

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        chosen = self._choose(X, cost_weight)
        return [Explanation(None, self._sentence(int(c), int(h))) for c, h in zip(chosen, choices, strict=True)]

    def _sentence(self, c: int, first: int) -> str:
        names = [self.models_[h] for h in self._prefix(c, self._length(c))]
        alone = f"{self.overall_[first]:.1%} resolved in training"
        if names[0] != self.models_[first] or len(names) == 1:
            return f"{alone}, without a second model behind it"
        return f"{alone}; when its run looks bad enough for the price, {' then '.join(names[1:])} follows"

    # ---- chains, signals, prior ----

    def _check_chains(self) -> None:
        """PolicyParameterError unless restored chains are of the pool's models, end once, and begin with others."""
        check_numbers(self.name, "chains_", self.chains_, NONE, len(self.models_) - 1)
        chains = [tuple(chain) for chain in self.chains_.astype(np.int64).tolist()]
        whole = {chain[: chain.index(NONE)] if NONE in chain else chain for chain in chains}
        ended = all(NONE not in chain or set(chain[chain.index(NONE) :]) == {NONE} for chain in chains)
        begun = all(len(set(chain)) == len(chain) > 0 and (len(chain) == 1 or chain[:-1] in whole) for chain in whole)
        if not ended or not begun:
            raise PolicyParameterError("policy 'cascade': array 'chains_' has chains that no fit makes")
        self.chains_ = self.chains_.astype(np.int64)

    def _length(self, c: int) -> int:
        return int((self.chains_[c] != NONE).sum())

    def _lengths(self) -> IntArray:
        return np.asarray((self.chains_ != NONE).sum(axis=1), dtype=np.int64)

    def _last(self, c: int) -> int:
        return int(self.chains_[c, self._length(c) - 1])

    def _prefix(self, c: int, length: int) -> tuple[int, ...]:
        """The chain's first models; shorter than asked when the chain is."""
        return tuple(int(h) for h in self.chains_[c, :length] if h != NONE)

    def _parent(self, c: int) -> int | None:
        """The chain without its last model; None for a single model."""
        length = self._length(c)
        if length == 1:
            return None
        matches = (self.chains_[:, : length - 1] == self.chains_[c, : length - 1]).all(axis=1)
        return int(np.flatnonzero(matches & (self._lengths() == length - 1))[0])

    def _path(self, c: int) -> list[int]:
        """The chain's beginnings, from its first model alone to itself."""
        above = self._parent(c)
        return [c] if above is None else [*self._path(above), c]

    def _history(self) -> SignalHistory:
        names = tuple(name for name in bytes(self.signal_names_).decode().split("\n") if name)
        return SignalHistory(names, self.signal_mean_, self.signal_spread_)

    def _features(self, outcomes: OutcomeMatrix, prior: FloatArray | None) -> FloatArray:
        """(n, m, s) of every recorded attempt."""
        history = self._history()
        return self._with_prior(features(history.relative(signal_table(outcomes, history.names))), prior)

    def _with_prior(self, z: FloatArray, prior: FloatArray | float | None) -> FloatArray:
        return z if prior is None else np.concatenate([z, np.asarray(prior)[..., None]], axis=-1)

    def _width(self) -> int:
        return 3 * int(self.signal_mean_.shape[1]) + (1 if self.prior else 0)

    def _prior_policy(self) -> OneShotPolicy | None:
        return getattr(self, "_prior", None)

    def _prior_logits(self, X: Features) -> FloatArray | None:
        prior = self._prior_policy()
        return None if prior is None else _logit(prior.scores(X))

    def effective_cost_weight(self, cost_weight: float | None) -> float:
        weight = self.cost_weight if cost_weight is None else cost_weight
        if not weight >= 0:
            raise PolicyParameterError(f"cost_weight must be a number >= 0, got {weight}")
        return weight

    def fitted_arrays(self) -> FittedArrays:
        prior = self._prior_policy()
        inner = {} if prior is None else prior.fitted_arrays()
        return super().fitted_arrays() | {PRIOR_PREFIX + name: array for name, array in inner.items()}

    def restore(self, models: tuple[str, ...], arrays: FittedArrays) -> Self:
        # checkpoints of earlier versions do not know the price of tests and choose their chains without it
        arrays = {"tests_": np.zeros(len(OF_INSTANCE))} | dict(arrays)
        super().restore(models, arrays)
        self._check_chains()
        if len(self.tests_) != len(OF_INSTANCE):
            raise PolicyParameterError("policy 'cascade': array 'tests_' needs USD and seconds")
        inner = {name.removeprefix(PRIOR_PREFIX): a for name, a in arrays.items() if name.startswith(PRIOR_PREFIX)}
        self._prior = make_policy(self.prior).restore(models, inner) if self.prior else None  # type: ignore[assignment]
        return self


PRIOR_FOLDS = 3
"""Parts of the training rows for the prior's held-out estimates."""
PRIOR_PREFIX = "prior."
"""Of the prior's arrays in a checkpoint."""


def _side_by_side(z: FloatArray, chain: Sequence[int]) -> FloatArray:
    """(n, 1 + l·s) a constant and the features of each of the chain's attempts, from (n, m, s)."""
    return with_constant(*(z[:, h] for h in chain))


def _padded(design: FloatArray, columns: int) -> FloatArray:
    """(…, n, columns) with zero columns behind; their weights stay 0."""
    missing = columns - design.shape[-1]
    return np.pad(design, [*[(0, 0)] * (design.ndim - 1), (0, missing)]) if missing else design


def _dot(design: FloatArray, weights: FloatArray) -> FloatArray:
    return np.asarray((design @ weights[..., None])[..., 0])


def _p(design: FloatArray, weights: FloatArray) -> FloatArray:
    return np.asarray(expit(_dot(design, weights)))


def _fit_price(design: FloatArray, paid: FloatArray) -> FloatArray:
    """(c, f) weights of log cost by ridge on designs (c, n, f), scaled so that the mean (c, n) `paid` is met."""
    logs = np.log(np.maximum(paid, 1e-6))
    ridge = np.full(design.shape[-1], 5.0)
    ridge[0] = 1e-9
    transposed = np.swapaxes(design, -1, -2)
    solved = np.linalg.solve(transposed @ design + np.diag(ridge), transposed @ logs[..., None])
    weights = np.array(solved[..., 0], dtype=np.float64)
    weights[:, 0] += np.log(np.maximum(paid.mean(axis=-1), 1e-12) / np.exp(_dot(design, weights)).mean(axis=-1))
    return weights


def _logit(p: FloatArray) -> FloatArray:
    p = np.clip(p, 0.01, 0.99)
    return np.asarray(np.log(p / (1 - p)))
