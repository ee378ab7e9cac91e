"""The rows of a policy: held out, with its permutation null; on unseen repositories; in-sample, by random clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.evaluation.rows import curve_figures, curve_points, make_row
from harness.evaluation.schema import ClusterProfile, RandomClusters, Row
from harness.evaluation.trade_off import trade_off
from harness.evaluation.verdict import BASELINES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.outcomes import OutcomeMatrix
    from router.policies.base import Policy

RANDOM_PARTITIONS = 1000
NULL_REPEATS = 2
"""repeats of the folds behind a p value, observed and permuted alike: the others would make it a little sharper"""
ENOUGH_REACHED = 10
"""permutations as good as what was observed after which a null ends: p is then far from small"""
NESTED_PERMUTATIONS = 200
"""for policies that cross-fit others inside every fold, over one repeat: seconds each, and enough for a claim among ten
policies"""
WORTH_WORKERS = 20_000
"""decisions per policy (instances × folds × repeats) from which on policies are evaluated side by side"""

Progress = Callable[[str], None]
"""Told, in a few words, what is computed next."""


def silent(message: str) -> None:
    """Progress for nobody."""


@dataclass(frozen=True)
class EvaluatedPolicy:
    """A policy's rows, its clusters, and what was changed to make it fit."""

    rows: tuple[Row, ...]
    """cross-fitted; leaving one repository out, where there are repositories; in-sample, where it decides by clusters:
    without random clusters to stand beside it, an in-sample row would only flatter"""
    clusters: tuple[ClusterProfile, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Laboratory:
    """One complete outcome matrix and one set of folds for all policies, so that they can be compared."""

    embeddings: NDArray[np.floating[Any]]
    """(n, d)"""
    outcomes: OutcomeMatrix
    """(n, m), every verdict known, n > 1"""
    folds: int
    repeats: int
    seed: int
    permutations: int
    progress: Progress = silent
    repositories: Sequence[str] | None = None
    """(n,) the repository of each instance; None leaves the rows on unseen repositories out"""
    auxiliary: OutcomeMatrix | None = None
    """(n, a) runs that may inform difficulty and are never chosen"""

    def evaluate_all(
        self, params: Mapping[str, dict[str, Any]], workers: int | None = None
    ) -> Iterator[tuple[str, EvaluatedPolicy]]:
        """The rows of every policy named, in the order given, by as many processes as there are cores for them.

        The numbers do not depend on the number of workers. A bar shows how many policies are done, unless `progress` is
        silent. Raises what `evaluate` raises.
        """
        from joblib import cpu_count
        from tqdm import tqdm

        if workers is None:
            large = len(self.outcomes) * self.folds * self.repeats >= WORTH_WORKERS
            workers = min(len(params), cpu_count()) if large else 1
        with tqdm(total=len(params), unit="policy", disable=self.progress is silent or len(params) < 2) as bar:
            for name, found in zip(params, self._evaluated(params, workers), strict=True):
                bar.set_postfix_str(name)
                bar.update(1)
                yield name, found

    def _evaluated(self, params: Mapping[str, dict[str, Any]], workers: int) -> Iterator[EvaluatedPolicy]:
        if workers < 2:
            return (self.evaluate(name, params[name]) for name in params)
        from joblib import Parallel, delayed

        self.progress(f"{len(params)} policies in {workers} processes")
        alone = replace(self, progress=silent)
        # loky starts clean interpreters and does not run the caller's script again
        side_by_side = Parallel(n_jobs=workers, batch_size=1, pre_dispatch="all", return_as="generator")
        found: Iterator[EvaluatedPolicy] = side_by_side(
            delayed(Laboratory.evaluate)(alone, name, params[name]) for name in params
        )
        return found

    def evaluate(self, name: str, params: dict[str, Any]) -> EvaluatedPolicy:
        """The rows of a policy by short name.

        Raises:
            InputError: no such policy or parameter, or an impossible value.
        """
        from threadpoolctl import threadpool_limits

        # thousands of small products: many threads are slower, and their sums come in another order on other machines
        with threadpool_limits(limits=1):
            try:
                policy, notes = self._made(name, params)
                rows = [self._held_out(policy, name)]
                if self.repositories is not None:
                    rows.append(self._on_unseen_repositories(policy, name, self.repositories))
                null, clusters = (None, ()) if name in BASELINES else self._clusters(policy)
                if null is None:
                    return EvaluatedPolicy(tuple(rows), notes=notes)
                return EvaluatedPolicy((*rows, self._in_sample(policy, name, null)), clusters, notes)
            except ValueError as error:  # the router's errors for names, parameters and values
                raise InputError(f"policy {name}: {error}") from error

    def _made(self, name: str, params: dict[str, Any]) -> tuple[Policy, tuple[str, ...]]:
        """Unfitted and seeded, with no more clusters than the smallest training fold has instances."""
        from router.policies import make_policy

        policy = make_policy(name, **params)
        has = policy.get_params()
        if "seed" in has and "seed" not in params:
            policy.set_params(seed=self.seed)
        n = len(self.outcomes)
        smallest = n - -(-n // self.folds)
        if self.repositories is not None:
            smallest = min(smallest, n - max(Counter(self.repositories).values()))
        asked = has.get("n_clusters", 0)
        if asked == "auto" or asked <= smallest:
            return policy, ()
        policy.set_params(n_clusters=smallest)
        return policy, (f"{name}: {smallest} clusters, not {has['n_clusters']}: a training fold has no more rows",)

    def _held_out(self, policy: Policy, name: str) -> Row:
        from router.decision import is_clairvoyant
        from router.lab.crossfit import DEFAULT_COST_WEIGHTS, crossfit, folds
        from router.lab.nulls import permutation_null
        from router.outcomes import single

        outcomes = self.outcomes
        splits = folds(len(outcomes), self.folds, self.repeats, self.seed)
        self.progress(f"{name}: {self.folds} folds × {self.repeats} repeats")
        replay = crossfit(
            policy, self.embeddings, outcomes, splits, cost_weights=DEFAULT_COST_WEIGHTS, auxiliary=self.auxiliary
        )
        # with one model there is one choice, and no permutation changes anything; what does not route claims nothing
        p = None if name in BASELINES else 1.0
        null_sd = None
        if len(outcomes.models) > 1 and name not in BASELINES:
            nested = name.startswith("auto") or bool(policy.get_params().get("prior"))
            permutations = min(self.permutations, NESTED_PERMUTATIONS) if nested else self.permutations
            tested = splits[: 1 if nested else NULL_REPEATS]
            self.progress(f"{name}: up to {permutations} permutations, each refitted in every fold")
            null = permutation_null(
                policy, self.embeddings, outcomes, tested, permutations, seed=self.seed,
                auxiliary=self.auxiliary, stop_after=ENOUGH_REACHED,
            )  # fmt: skip
            p, null_sd = null.p_value, round(float(null.null.std()), 6)
        return make_row(
            name,
            "oracle" if is_clairvoyant(policy) else "policy",  # a bound must not win the verdict
            "cross-fitted",
            replay,
            best=single(outcomes, outcomes.best_single()),
            p_value=p,
            models=outcomes.models,
            figures=curve_figures(replay, outcomes),
            curve=curve_points(replay, outcomes),
            trade_off=trade_off(replay, outcomes, seed=self.seed),
            null_sd=null_sd,
            seed=self.seed,
        )

    def _on_unseen_repositories(self, policy: Policy, name: str, repositories: Sequence[str]) -> Row:
        from router.decision import is_clairvoyant
        from router.lab.crossfit import crossfit, group_folds
        from router.outcomes import single

        self.progress(f"{name}: leaving each of {len(set(repositories))} repositories out")
        outcomes = self.outcomes
        splits = group_folds(repositories)
        replay = crossfit(policy, self.embeddings, outcomes, splits, auxiliary=self.auxiliary)
        return make_row(
            name,
            "oracle" if is_clairvoyant(policy) else "policy",
            "leave-one-repository-out",
            replay,
            best=single(outcomes, outcomes.best_single()),
            models=outcomes.models,
            seed=self.seed,
        )

    def _in_sample(self, policy: Policy, name: str, null: RandomClusters) -> Row:
        from router.decision import is_clairvoyant
        from router.lab.crossfit import in_sample
        from router.outcomes import single

        self.progress(f"{name}: in-sample, and random clusters")
        outcomes = self.outcomes
        return make_row(
            name,
            "oracle" if is_clairvoyant(policy) else "policy",
            "in-sample",
            in_sample(policy, self.embeddings, outcomes, auxiliary=self.auxiliary),
            best=single(outcomes, outcomes.best_single()),
            models=outcomes.models,
            null=null,
            seed=self.seed,
        )

    def _clusters(self, policy: Policy) -> tuple[RandomClusters | None, tuple[ClusterProfile, ...]]:
        """What random clusters of the sizes of the policy's own reach in-sample, and its own; None without clusters."""
        from sklearn.base import clone

        from router.decision import is_clairvoyant
        from router.lab.nulls import random_cluster_null

        if is_clairvoyant(policy):
            return None, ()
        fitted = clone(policy).fit(self.embeddings, self.outcomes, auxiliary=self.auxiliary)
        explained = fitted.explain(self.embeddings, fitted.predict(self.embeddings))
        clusters = [explanation.cluster for explanation in explained if explanation.cluster is not None]
        if len(clusters) < len(self.outcomes):
            return None, ()
        min_count = int(policy.get_params().get("min_count", 1))
        sizes = np.bincount(clusters).tolist()
        null = random_cluster_null(self.outcomes, sizes, RANDOM_PARTITIONS, min_count, self.seed)
        resolved, models = self.outcomes.resolved, self.outcomes.models
        profiles = [
            ClusterProfile(
                cluster=k,
                size=size,
                rates=dict(zip(models, resolved[np.array(clusters) == k].mean(axis=0).round(9).tolist(), strict=True)),
                instances=[self.outcomes.instances[i] for i in np.flatnonzero(np.array(clusters) == k)],
            )
            for k, size in enumerate(sizes)
            if size
        ]
        return RandomClusters(mean=null.mean, sd=null.sd), tuple(profiles)
