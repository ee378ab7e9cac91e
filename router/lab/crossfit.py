"""Held-out evaluation of a policy: everything it learns, it learns inside the training fold."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features, mean_known
from router.clustering import one_thread
from router.curves import Curve
from router.decision import decide
from router.outcomes import OutcomeMatrix, Replay
from router.policy import Policy

Fold = tuple[IntArray, IntArray]
"""row numbers of (train, test)"""
Folds = list[list[Fold]]
"""per repeat, its folds"""

DEFAULT_COST_WEIGHTS = (0.0, *(float(w) for w in np.geomspace(1e-3, 1e3, 61)), float("inf"))
"""From "accuracy only" to "cheapest only", in resolved instances per USD."""


@dataclass(frozen=True, eq=False)
class CrossFit(Replay):
    """A policy's held-out replay, and its cost–quality curve where λ was swept."""

    curve: Curve | None = None
    """one point per λ asked for: mean USD per instance and share resolved, from the same fits"""


def folds(n: int, folds: int = 10, repeats: int = 10, seed: int = 0) -> Folds:
    """Repeated shuffled K-fold of n instances; fold sizes differ by at most one. ValueError when folds do not fit n."""
    if not 2 <= folds <= n:
        raise ValueError(f"{folds} folds of {n} instances: the number of folds must be between 2 and {n}")
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    rng = np.random.default_rng(seed)
    rows = np.arange(n)
    return [
        [(np.setdiff1d(rows, test), np.sort(test)) for test in np.array_split(rng.permutation(n), folds)]
        for _ in range(repeats)
    ]


def group_folds(groups: Sequence[Hashable]) -> Folds:
    """Leave-one-group-out (one repeat): a fold per distinct value of `groups` (n,), e.g. each instance's repository."""
    distinct = sorted(set(groups), key=str)
    if len(distinct) < 2:
        raise ValueError(f"leaving one group out needs at least 2 groups, got {len(distinct)}")
    codes = np.array([distinct.index(group) for group in groups])
    return [[(np.flatnonzero(codes != k), np.flatnonzero(codes == k)) for k in range(len(distinct))]]


def check_folds(splits: Folds, n: int) -> None:
    """ValueError unless each of n instances is tested exactly once per repeat, by a fold that does not train on it."""
    if not splits:
        raise ValueError("no folds to cross-fit on")
    for repeat, parts in enumerate(splits):
        tested = np.sort(np.concatenate([test for _, test in parts]))
        if not np.array_equal(tested, np.arange(n)):
            raise ValueError(f"repeat {repeat} does not test each of {n} instances exactly once")
        for k, (train, test) in enumerate(parts):
            if np.intersect1d(train, test).size:
                raise ValueError(f"repeat {repeat}, fold {k} trains on instances it tests")
            if train.size and (train.min() < 0 or train.max() >= n):
                raise ValueError(f"repeat {repeat}, fold {k} trains on rows outside 0…{n - 1}")


def check_auxiliary(auxiliary: OutcomeMatrix | None, outcomes: OutcomeMatrix) -> None:
    """ValueError unless `auxiliary` has the instances of `outcomes`, in order, and none of its models."""
    if auxiliary is None:
        return
    if auxiliary.instances != outcomes.instances:
        raise ValueError("auxiliary outcomes must be on the same instances as the pool's, in the same order")
    if both := set(auxiliary.models) & set(outcomes.models):
        raise ValueError(f"auxiliary outcomes contain models of the pool: {', '.join(sorted(both))}")


def crossfit(
    policy: Policy,
    X: Features,
    outcomes: OutcomeMatrix,
    splits: Folds,
    *,
    cost_weights: Sequence[float] | None = None,
    corpus: Features | None = None,
    auxiliary: OutcomeMatrix | None = None,
) -> CrossFit:
    """Decide every instance by a clone of `policy` fitted without it, once per repeat.

    X (n, d) are the instances' embeddings, `corpus` (c, d) embeddings of unlabelled texts that are no instances.
    With `cost_weights`, the curve over these λ comes from the same fits. Cascades pay for every attempt. Of
    `auxiliary`, outcomes of other models on the same instances, each fold sees its training rows only.
    """
    check_folds(splits, len(outcomes))
    with one_thread():
        return _replay(policy, X, outcomes, splits, cost_weights, corpus, auxiliary)


def in_sample(
    policy: Policy,
    X: Features,
    outcomes: OutcomeMatrix,
    *,
    cost_weights: Sequence[float] | None = None,
    corpus: Features | None = None,
    auxiliary: OutcomeMatrix | None = None,
) -> CrossFit:
    """Fit and decide on the same instances: flattering by construction, show it only beside its null."""
    everything = np.arange(len(outcomes))
    with one_thread():
        return _replay(policy, X, outcomes, [[(everything, everything)]], cost_weights, corpus, auxiliary)


def fit_features(policy: Policy, X: FloatArray, splits: Folds, corpus: Features | None = None) -> list[list[Policy]]:
    """Per repeat and fold a clone of `policy` with its features learned on the training rows, outcomes still unseen."""
    from sklearn.base import clone

    return [[clone(policy).fit_features(X[train], corpus) for train, _ in parts] for parts in splits]


def _replay(
    policy: Policy,
    X: Features,
    outcomes: OutcomeMatrix,
    splits: Folds,
    cost_weights: Sequence[float] | None,
    corpus: Features | None,
    auxiliary: OutcomeMatrix | None,
) -> CrossFit:
    n, m = outcomes.resolved.shape
    X = as_features(X, rows=n)
    check_auxiliary(auxiliary, outcomes)
    weights: list[float | None] = [None, *(cost_weights or ())]
    choices = np.zeros((len(weights), len(splits), n), dtype=np.int64)
    gains = np.full((3, len(weights), len(splits), n), np.nan)
    for repeat, (parts, policies) in enumerate(zip(splits, fit_features(policy, X, splits, corpus), strict=True)):
        for (train, test), fold_policy in zip(parts, policies, strict=True):
            fold_policy.fit_outcomes(outcomes.take(train), None if auxiliary is None else auxiliary.take(train))
            choices[:, repeat, test], gains[:, :, repeat, test] = decide(fold_policy, X, outcomes, test, weights)
    resolved, cost, seconds = mean_known(gains, axis=2)
    return CrossFit(
        choices=choices[0],
        resolved=resolved[0],
        cost=cost[0],
        seconds=seconds[0],
        share=np.bincount(choices[0].ravel(), minlength=m) / choices[0].size,
        unpriced=np.isnan(gains[1, 0]).mean(axis=0),
        curve=None
        if cost_weights is None
        else Curve(
            cost_weights=np.array(cost_weights, dtype=np.float64),
            cost=mean_known(cost[1:], axis=1),
            quality=mean_known(resolved[1:], axis=1),
            by_instance=(cost[1:], resolved[1:]),
        ),
    )
