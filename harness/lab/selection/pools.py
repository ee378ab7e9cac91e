"""The policy `select` on every pool of k recorded models, averaged over the pools.

One rule is played throughout: of k attempts the one with the highest score, ties to the default model. What differs is
the score. It is given to the policy as its signal `tests_fixed`, so that every figure comes from the policy's own code.
Costs of the attempts are unknown, so each attempt costs 1: what the policy pays is the number of its attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from harness.evaluation.stats import paired_bootstrap
from harness.importers.finished import FinishedAttempts
from router.arrays import FloatArray, IntArray
from router.clustering import one_thread
from router.decision import decide
from router.lab.crossfit import Folds, crossfit, folds, group_folds, in_sample
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.policy import Policy

Signals = Callable[[IntArray], Mapping[str, FloatArray]]
"""Signals (n, k) of a pool's attempts by name, given the pool's columns (k,)."""
GAPS = ((0, 10), (11, 20), (21, None))
"""Instances between a pool's best and worst member, from and to."""


@dataclass(frozen=True, eq=False)
class Field:
    """The recorded attempts that a study plays on, and the folds of its cross-fitting."""

    attempts: FinishedAttempts
    models: tuple[str, ...]
    """candidates for pools"""
    splits: Folds
    orders: dict[tuple[int, ...], FloatArray] = field(default_factory=dict)
    """held-out verdicts (n,) of the best member in training, by pool: they do not depend on the score"""

    @classmethod
    def of(cls, attempts: FinishedAttempts, models: Sequence[str], *, parts: int, repeats: int, seed: int) -> Field:
        """With shuffled folds over the instances."""
        return cls(attempts, tuple(models), folds(len(attempts.instances), parts, repeats, seed))

    def by_repository(self) -> Field:
        """The same with every repository left out in turn."""
        return Field(self.attempts, self.models, group_folds([name.split("__")[0] for name in self.attempts.instances]))

    @cached_property
    def columns(self) -> IntArray:
        return np.array([self.attempts.models.index(model) for model in self.models])

    @cached_property
    def verdicts(self) -> FloatArray:
        """(n, models)"""
        return self.attempts.resolved[:, self.columns]

    @cached_property
    def texts(self) -> FloatArray:
        """(n, 1) in place of embeddings: the rule does not read the issue."""
        return np.zeros((len(self.attempts.instances), 1))

    def pools(self, k: int) -> list[IntArray]:
        """Columns of every pool of k models."""
        return [self.columns[list(chosen)] for chosen in combinations(range(len(self.models)), k)]

    def outcomes(self, pool: IntArray, signals: Mapping[str, FloatArray]) -> OutcomeMatrix:
        """The pool's matrix with these signals (n, k); an attempt costs 1."""
        attempts = self.attempts
        return OutcomeMatrix.build(
            attempts.instances,
            [attempts.models[h] for h in pool],
            attempts.resolved[:, pool],
            cost=np.ones((len(attempts.instances), len(pool))),
            signals={"patch_present": attempts.patch_present[:, pool], **signals},
        )

    def best_in_training(self, pool: IntArray) -> FloatArray:
        """(n,) held-out verdicts of the member that resolves most in the training folds."""
        key = tuple(pool.tolist())
        if key not in self.orders:
            played = crossfit(make_policy("best-fixed"), self.texts, self.outcomes(pool, {}), self.splits)
            self.orders[key] = played.resolved
        return self.orders[key]


@dataclass(frozen=True, eq=False)
class Played:
    """One rule on p pools: rows are pools, columns instances."""

    field: Field
    pools: Sequence[IntArray]
    held_out: FloatArray
    """(p, n) the default is the best member in training"""
    known: FloatArray
    """(p, n) the default is the best member in hindsight"""
    best: FloatArray
    """(p, n) of the best member in hindsight"""
    best_in_training: FloatArray
    """(p, n) of the best member in training, held out"""
    attempts: FloatArray
    """(p,) mean attempts an instance"""

    def record(self) -> dict[str, Any]:
        """Means over the pools, in instances, with intervals from resampling the instances, the same in every pool."""
        verdicts = [self.field.attempts.resolved[:, pool] for pool in self.pools]
        rates = np.array([table.sum(axis=0) for table in verdicts])
        return {
            "pools": len(self.pools),
            "members": len(self.pools[0]),
            "best_member": round(float(rates.max(axis=1).mean()), 1),
            "mean_member": round(float(rates.mean()), 1),
            "oracle": round(float(np.mean([table.max(axis=1).sum() for table in verdicts])), 1),
            "attempts_per_instance": round(float(self.attempts.mean()), 3),
            "held_out": compare(self.held_out, self.best)
            | {"vs_best_in_training": compare(self.held_out, self.best_in_training)},
            "best_in_training": compare(self.best_in_training, self.best),
            "known_default": compare(self.known, self.best),
        }

    def by_gap(self) -> list[dict[str, Any]]:
        """Pools by the instances between their best and their worst member."""
        found = []
        gaps = np.array([np.ptp(self.field.attempts.resolved[:, pool].sum(axis=0)) for pool in self.pools])
        for low, high in GAPS:
            rows = np.flatnonzero((gaps >= low) & (gaps <= (np.inf if high is None else high)))
            if len(rows):
                held_out = compare(self.held_out[rows], self.best[rows])
                held_out["vs_best_in_training"] = compare(self.held_out[rows], self.best_in_training[rows])
                known = compare(self.known[rows], self.best[rows])
                found.append(
                    {"from": low, "to": high, "pools": len(rows), "held_out": held_out, "known_default": known}
                )
        return found


def compare(a: FloatArray, b: FloatArray) -> dict[str, Any]:
    """Mean difference of two sides (p, n) over pools, and the share of pools in which it is above 0."""
    difference = paired_bootstrap(a.mean(axis=0), b.mean(axis=0))
    return {
        "delta": round(difference.delta, 2),
        "ci95": [round(difference.low, 2), round(difference.high, 2)],
        "share_of_pools_above": round(float(((a - b).sum(axis=1) > 1e-9).mean()), 3),
    }


def play(field: Field, pools: Sequence[IntArray], signals: Signals, params: Mapping[str, Any] | None = None) -> Played:
    """The rule on some pools; `params` are further parameters of the policy."""
    known, best = play_known(field, pools, signals, params)
    held_out, in_training = np.zeros((2, len(pools), len(field.texts)))
    attempts = np.zeros(len(pools))
    for p, pool in enumerate(pools):
        outcomes = field.outcomes(pool, signals(pool))
        played = crossfit(_policy(pool, params), field.texts, outcomes, field.splits)
        held_out[p], attempts[p] = played.resolved, played.cost.mean()
        in_training[p] = field.best_in_training(pool)
    return Played(field, pools, held_out, known, best, in_training, attempts)


def play_known(
    field: Field, pools: Sequence[IntArray], signals: Signals, params: Mapping[str, Any] | None = None
) -> tuple[FloatArray, FloatArray]:
    """(p, n) verdicts of the rule where the default is the best member in hindsight, and (p, n) that member's own."""
    known, best = np.zeros((2, len(pools), len(field.texts)))
    for p, pool in enumerate(pools):
        outcomes = field.outcomes(pool, signals(pool))
        known[p] = in_sample(_policy(pool, params), field.texts, outcomes).resolved
        best[p] = outcomes.resolved[:, outcomes.best_single()]
    return known, best


def _policy(pool: IntArray, params: Mapping[str, Any] | None = None) -> Policy:
    return make_policy("select", members=len(pool), **(params or {}))


@dataclass(frozen=True, eq=False)
class Shuffled:
    """Mean gains over pools with a score shuffled among the attempts of each instance."""

    held_out: list[float]
    known: list[float]


def play_shuffled(field: Field, pools: Sequence[IntArray], score: FloatArray, *, draws: int, seed: int) -> Shuffled:
    """The rule with scores (n, all models) that are shuffled among the candidates of each instance, `draws` times.

    Nothing of the score is fitted (λ = 0), so each fold's policy is fitted once.
    """
    held_out, known = np.zeros((2, draws))
    n = len(field.texts)
    shuffled = np.tile(score, (draws, 1, 1))
    for draw, table in enumerate(shuffled):
        rng = np.random.default_rng([seed, draw])
        table[:, field.columns] = rng.permuted(table[:, field.columns], axis=1)
    # all draws are decided together, as more instances of one matrix
    names = [f"{draw} {name}" for draw in range(draws) for name in field.attempts.instances]
    texts = np.zeros((draws * n, 1))
    starts = n * np.arange(draws)[:, None]
    with one_thread():
        for pool in pools:
            recorded = field.outcomes(pool, {"tests_fixed": score[:, pool]})
            best = recorded.resolved[:, recorded.best_single()].sum()
            many = OutcomeMatrix.build(
                names,
                recorded.models,
                np.tile(recorded.resolved, (draws, 1)),
                cost=np.ones((draws * n, len(pool))),
                signals={
                    "patch_present": np.tile(recorded.signals["patch_present"], (draws, 1)),
                    "tests_fixed": shuffled[:, :, pool].reshape(draws * n, len(pool)),
                },
            )
            rows = np.arange(n)
            parts = [(train, test, len(field.splits)) for part in field.splits for train, test in part]
            for train, test, repeats in [*parts, (rows, rows, 0)]:
                policy = _policy(pool).fit(field.texts[train], recorded.take(train))
                verdicts = decide(policy, texts, many, (starts + test).ravel(), [None])[1][0, 0]
                hits = verdicts.reshape(draws, len(test)).sum(axis=1) / len(pools)
                if repeats:
                    held_out += hits / repeats
                else:
                    known += hits
            held_out -= best / len(pools)
            known -= best / len(pools)
    return Shuffled([round(float(v), 4) for v in held_out], [round(float(v), 4) for v in known])
