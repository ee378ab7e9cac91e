"""The rows of a policy: held out, with its permutation null; on unseen repositories; in-sample, by random clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.evaluation.constants import against_constants
from harness.evaluation.rows import TextTest, make_row, sweep_of
from harness.evaluation.schema import ClusterProfile, Kind, RandomClusters, Row, VsConstants
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.text import counted
from router.decision import is_clairvoyant
from router.lab.crossfit import DEFAULT_COST_WEIGHTS, CrossFit, Folds, crossfit, folds, group_folds, in_sample
from router.lab.nulls import permutation_null, random_cluster_null
from router.outcomes import OutcomeMatrix, Replay, single
from router.policies import is_baseline, make_policy
from router.policy import Policy
from router.signals import has_signals

RANDOM_PARTITIONS = 1000
"""Random partitions behind a policy's in-sample row."""
PERMUTATIONS = 200
"""Redrawn outcomes per policy at least; the smallest p they can give is 1/201."""
PERMUTATIONS_PER_POLICY = 100
"""With k routing policies, Holm asks the first for p < 0.05 / k: 20·k redrawn outcomes could just give that, five times
as many leave room for chance. Most nulls end early."""
MOST_PERMUTATIONS = 2000
"""However many policies there are."""
NULL_REPEATS = 2
"""Repeats of the folds behind a p value, observed and permuted alike: the others would make it a little sharper."""
ENOUGH_REACHED = 10
"""Permutations as good as what was observed after which a null ends: p is then far from small."""
NESTED_PERMUTATIONS = 200
"""For policies that cross-fit others inside every fold, over one repeat: seconds each, and enough for a claim among ten
policies."""
WORTH_WORKERS = 20_000
"""Decisions per policy (instances × folds × repeats) from which on policies are evaluated side by side."""

Progress = Callable[[str], None]
"""Called with a few words on what is computed next."""


def silent(message: str) -> None:
    """Progress for nobody."""


def enough_permutations(policies: Sequence[str]) -> int:
    """So many that one of the `policies` can be claimed to win although all were tried."""
    routing = sum(not is_baseline(name) for name in set(policies))
    return max(PERMUTATIONS, min(MOST_PERMUTATIONS, PERMUTATIONS_PER_POLICY * routing))


@dataclass(frozen=True)
class EvaluatedPolicy:
    """A policy's rows, its clusters, and what was changed to make it fit."""

    name: str
    rows: tuple[Row, ...]
    """Cross-fitted; leaving one repository out, where there are repositories; in-sample, where it decides by clusters:
    without random clusters to stand beside it, an in-sample row would only flatter."""
    clusters: tuple[ClusterProfile, ...] = ()
    notes: tuple[str, ...] = ()


class _Others(TypedDict):
    """What a fit may learn from beside the instances' texts and outcomes."""

    corpus: NDArray[np.floating[Any]] | None
    auxiliary: OutcomeMatrix | None


@dataclass(frozen=True)
class Laboratory:
    """One complete outcome matrix and one set of folds for all policies, so that they can be compared."""

    inputs: EvaluationInputs
    """With every verdict known, more than one instance, and more than one repository where repositories are known."""
    settings: EvaluationSettings
    """With no more folds than instances."""
    progress: Progress = silent

    def evaluate_all(self, workers: int | None = None) -> Iterator[EvaluatedPolicy]:
        """The rows of every policy of the settings, in their order, by as many processes as there are cores for them.

        The numbers do not depend on the number of workers. A bar shows how many policies are done, unless `progress` is
        silent.

        Args:
            workers: Processes; None takes as many as the work is worth.

        Raises:
            InputError: See `evaluate`.
        """
        from joblib import cpu_count
        from tqdm import tqdm

        settings, names = self.settings, list(dict.fromkeys(self.settings.policies))
        if workers is None:
            large = len(self.inputs.outcomes) * settings.folds * settings.repeats >= WORTH_WORKERS
            workers = min(len(names), cpu_count()) if large else 1
        # None: no bar where no terminal shows it
        with tqdm(total=len(names), unit="policy", disable=self.progress is silent or len(names) < 2 or None) as bar:
            for evaluated in self._evaluated(names, workers):
                bar.set_postfix_str(evaluated.name)
                bar.update(1)
                yield evaluated

    def _evaluated(self, names: Sequence[str], workers: int) -> Iterator[EvaluatedPolicy]:
        if workers < 2:
            return (self.evaluate(name) for name in names)
        from joblib import Parallel, delayed

        self.progress(f"{len(names)} policies in {workers} processes")
        alone = replace(self, progress=silent)
        # loky starts clean interpreters and does not run the caller's script again
        side_by_side = Parallel(n_jobs=workers, batch_size=1, pre_dispatch="all", return_as="generator")
        evaluated: Iterator[EvaluatedPolicy] = side_by_side(delayed(Laboratory.evaluate)(alone, name) for name in names)
        return evaluated

    def evaluate(self, name: str) -> EvaluatedPolicy:
        """The rows of a policy by short name.

        Raises:
            InputError: no such policy or parameter, or an impossible value.
        """
        with _policy_at_work(name):
            policy, notes = self._made(name)
            rows = [self._held_out(policy, name)]
            if self.inputs.repositories is not None:
                rows.append(self._on_unseen_repositories(policy, name, self.inputs.repositories))
            null, clusters = (None, ()) if policy.is_baseline else self._clusters(policy)
            if null is not None:
                rows.append(self._in_sample(policy, name, null))
            return EvaluatedPolicy(name, tuple(rows), clusters, notes)

    def fitted_on_all(self, name: str) -> Policy:
        """A policy by short name, fitted on every instance: what would be deployed.

        Raises:
            InputError: no such policy or parameter, or an impossible value.
        """
        with _policy_at_work(name):
            policy, _ = self._made(name)
            return policy.fit(self.inputs.embeddings, self.inputs.outcomes, **self._others())

    def cross_fitted(self, name: str) -> CrossFit:
        """What a policy by short name decides held out: the replay behind its cross-fitted row.

        Raises:
            InputError: no such policy or parameter, or an impossible value.
        """
        with _policy_at_work(name):
            return self._cross_fit(self._made(name)[0])

    def _others(self) -> _Others:
        return {"corpus": self.inputs.corpus, "auxiliary": self.inputs.auxiliary}

    def _splits(self) -> Folds:
        settings = self.settings
        return folds(len(self.inputs.outcomes), settings.folds, settings.repeats, settings.seed)

    def _cross_fit(self, policy: Policy, cost_weights: Sequence[float] | None = None) -> CrossFit:
        return crossfit(
            policy,
            self.inputs.embeddings,
            self.inputs.outcomes,
            self._splits(),
            cost_weights=cost_weights,
            **self._others(),
        )

    def _made(self, name: str) -> tuple[Policy, tuple[str, ...]]:
        """Unfitted and seeded, with no more clusters than the smallest training fold has instances."""
        given = self.settings.params_of(name)
        policy = make_policy(name, **given)
        params = policy.get_params()
        if "seed" in params and "seed" not in given:
            policy.set_params(seed=self.settings.seed)
        notes = self._missing_signals(policy, name)
        n = len(self.inputs.outcomes)
        smallest = n - -(-n // self.settings.folds)
        if self.inputs.repositories is not None:
            smallest = min(smallest, n - max(Counter(self.inputs.repositories).values()))
        clusters = params.get("n_clusters", 0)
        general = self.inputs.corpus is not None or "centroids" in params
        if general or clusters == "auto" or clusters <= smallest:
            return policy, notes
        policy.set_params(n_clusters=smallest)
        return policy, (
            *notes,
            f"{name}: {counted(smallest, 'cluster')}, not {clusters}: a training fold has no more rows",
        )

    def _missing_signals(self, policy: Policy, name: str) -> tuple[str, ...]:
        """A note where nothing is on record that the policy chooses attempts by."""
        if has_signals(self.inputs.outcomes, policy.chooses_by):
            return ()
        return (
            f"{name}: no test of an attempt is on record ({' and '.join(policy.chooses_by)}), so it resolves what "
            "best-fixed does, but for empty patches, and pays for every attempt",
        )

    def _held_out(self, policy: Policy, name: str) -> Row:
        outcomes, settings = self.inputs.outcomes, self.settings
        self.progress(f"{name}: {settings.folds} folds × {settings.repeats} repeats")
        replay = self._cross_fit(policy, DEFAULT_COST_WEIGHTS)
        # with one model there is one choice, and no permutation changes anything; what does not route claims nothing
        test = None if policy.is_baseline else TextTest(1.0)
        if len(outcomes.models) > 1 and not policy.is_baseline:
            permutations = enough_permutations(settings.policies)
            if settings.permutations is not None:
                permutations = settings.permutations
            if policy.is_nested:
                permutations = min(permutations, NESTED_PERMUTATIONS)
            self.progress(f"{name}: up to {permutations} permutations, each refitted in every fold")
            null = permutation_null(
                policy,
                self.inputs.embeddings,
                outcomes,
                self._splits()[: 1 if policy.is_nested else NULL_REPEATS],
                permutations,
                seed=settings.seed,
                **self._others(),
                stop_after=ENOUGH_REACHED,
            )
            test = TextTest(null.p_value, round(float(null.null.std()), 6))
        return make_row(
            name,
            _kind(policy),
            "cross-fitted",
            replay,
            best=self._best_single(),
            constants=self._against_constants(replay),
            text_test=test,
            models=outcomes.models,
            sweep=sweep_of(replay, outcomes, settings.seed),
            seed=settings.seed,
        )

    def _on_unseen_repositories(self, policy: Policy, name: str, repositories: Sequence[str]) -> Row:
        self.progress(f"{name}: leaving each of {len(set(repositories))} repositories out")
        outcomes = self.inputs.outcomes
        splits = group_folds(repositories)
        replay = crossfit(policy, self.inputs.embeddings, outcomes, splits, **self._others())
        return make_row(
            name,
            _kind(policy),
            "leave-one-repository-out",
            replay,
            best=self._best_single(),
            constants=self._against_constants(replay),
            models=outcomes.models,
            seed=self.settings.seed,
        )

    def _in_sample(self, policy: Policy, name: str, null: RandomClusters) -> Row:
        self.progress(f"{name}: in-sample, and random clusters")
        outcomes = self.inputs.outcomes
        replay = in_sample(policy, self.inputs.embeddings, outcomes, **self._others())
        return make_row(
            name,
            _kind(policy),
            "in-sample",
            replay,
            best=self._best_single(),
            constants=self._against_constants(replay),
            models=outcomes.models,
            null=null,
            seed=self.settings.seed,
        )

    def _best_single(self) -> Replay:
        return single(self.inputs.outcomes, self.inputs.outcomes.best_single())

    def _against_constants(self, replay: Replay) -> VsConstants | None:
        return against_constants(replay, self.inputs.outcomes, seed=self.settings.seed)

    def _clusters(self, policy: Policy) -> tuple[RandomClusters | None, tuple[ClusterProfile, ...]]:
        """What random clusters of the sizes of the policy's own reach in-sample, and its own; None without clusters."""
        from sklearn.base import clone

        if is_clairvoyant(policy):
            return None, ()
        outcomes, X = self.inputs.outcomes, self.inputs.embeddings
        fitted = clone(policy).fit(X, outcomes, **self._others())
        explained = fitted.explain(X, fitted.predict(X))
        clusters = [explanation.cluster for explanation in explained if explanation.cluster is not None]
        if len(clusters) < len(outcomes):
            return None, ()
        min_count = int(policy.get_params().get("min_count", 1))
        sizes = np.bincount(clusters).tolist()
        null = random_cluster_null(outcomes, sizes, RANDOM_PARTITIONS, min_count, self.settings.seed)
        profiles = [
            ClusterProfile(
                cluster=k,
                size=size,
                rates=_rates(outcomes.take(np.flatnonzero(np.array(clusters) == k))),
                instances=[outcomes.instances[i] for i in np.flatnonzero(np.array(clusters) == k)],
            )
            for k, size in enumerate(sizes)
            if size
        ]
        return RandomClusters(mean=null.mean, sd=null.sd), tuple(profiles)


@contextmanager
def _policy_at_work(name: str) -> Iterator[None]:
    """One thread, and the router's errors for names, parameters and values as ours.

    Thousands of small products: many threads are slower, and their sums come in another order on other machines.

    Raises:
        InputError: what the router refuses.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        try:
            yield
        except ValueError as error:
            raise InputError(f"policy {name}: {error}") from error


def _kind(policy: Policy) -> Kind:
    """A bound must not pass for a policy and win the verdict."""
    return "oracle" if is_clairvoyant(policy) else "policy"


def _rates(outcomes: OutcomeMatrix) -> dict[str, float]:
    return dict(zip(outcomes.models, outcomes.resolved.mean(axis=0).round(9).tolist(), strict=True))
