"""What a routing gain looks like when there is nothing to route on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.arrays import Features, FloatArray, as_features
from router.clustering import one_thread
from router.decision import decide
from router.lab.crossfit import Folds, check_auxiliary, check_folds, fit_features
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policy import Policy


@dataclass(frozen=True, eq=False)
class RandomClusterNull:
    """In-sample resolved counts of a cluster router whose clusters are random."""

    draws: FloatArray
    """(draws,) instances resolved"""

    @property
    def mean(self) -> float:
        return float(self.draws.mean())

    @property
    def sd(self) -> float:
        return float(self.draws.std(ddof=1))


@dataclass(frozen=True, eq=False)
class PermutationNull:
    """A policy's held-out gain beside the gains it finds in outcomes without model × instance interaction."""

    observed: float
    """instances resolved, cross-fitted mean over repeats, minus the hindsight-best single model's"""
    null: FloatArray
    """(B,) the same on permuted outcomes; fewer than asked for where it stopped early"""
    stopped: bool = False
    """whether it stopped because enough permutations had reached what was observed"""

    @property
    def p_value(self) -> float:
        """One-sided: (1 + #{null >= observed}) / (1 + B); #{null >= observed} / B where it stopped at the last of them
        (Besag and Clifford, Biometrika 78:301, 1991).
        """
        reached = int((self.null >= self.observed - 1e-9).sum())
        return float(reached / len(self.null) if self.stopped else (1 + reached) / (1 + len(self.null)))


def random_cluster_null(
    outcomes: OutcomeMatrix, sizes: Sequence[int], draws: int = 1000, min_count: int = 3, seed: int = 0
) -> RandomClusterNull:
    """In-sample resolved count of "best model per cluster" over random partitions into clusters of `sizes`.

    Clusters smaller than `min_count` fall back to the best single model, as the cluster policy's do. Raises
    OutcomeError when verdicts are missing, ValueError when the sizes do not sum to the number of instances.
    """
    resolved = _complete(outcomes)
    n = len(outcomes)
    if sum(sizes) != n or min(sizes) < 0:
        raise ValueError(f"cluster sizes sum to {sum(sizes)}, but there are {n} instances")
    if draws < 2:
        raise ValueError(f"a spread needs at least 2 draws, got {draws}")
    # reduceat has no notion of an empty slice
    filled = np.array([size for size in sizes if size > 0])
    starts = np.concatenate([[0], np.cumsum(filled)[:-1]])
    rng = np.random.default_rng(seed)
    totals = np.empty(draws)
    # in blocks, so that memory stays small however many draws there are
    for first in range(0, draws, 256):
        block = slice(first, min(first + 256, draws))
        shuffles = rng.permuted(np.tile(np.arange(n), (block.stop - block.start, 1)), axis=1)
        sums = np.add.reduceat(resolved[shuffles], starts, axis=1)  # (draws, clusters, m)
        chosen = np.where(filled < max(min_count, 1), sums[:, :, outcomes.best_single()], sums.max(axis=2))
        totals[block] = chosen.sum(axis=1)
    return RandomClusterNull(totals)


def permutation_null(
    policy: Policy,
    X: Features,
    outcomes: OutcomeMatrix,
    splits: Folds,
    permutations: int = 200,
    *,
    trades: int | None = None,
    seed: int = 0,
    corpus: Features | None = None,
    auxiliary: OutcomeMatrix | None = None,
    stop_after: int | None = None,
) -> PermutationNull:
    """Test a policy's held-out gain against outcomes redrawn with every model's and every instance's total kept.

    Such outcomes keep which models are strong and which instances are hard, and nothing else. Outcomes are refitted in
    every fold of every permutation; features do not depend on outcomes and are fitted once per fold. Costs stay as
    recorded, and so do `auxiliary` outcomes: with every instance's total its hardness is kept, too.

    With `stop_after`, it ends at that many permutations as good as what was observed: a p value that is clearly not
    small need not be known precisely, and the test keeps its level (Besag and Clifford 1991).

    Raises OutcomeError when verdicts are missing: take `outcomes.complete_rows()` and its rows of X.
    """
    resolved = _complete(outcomes)
    n = len(outcomes)
    X = as_features(X, rows=n)
    check_folds(splits, n)
    check_auxiliary(auxiliary, outcomes)
    policies = fit_features(policy, X, splits, corpus)
    fitted = [
        (train, test, outcomes.take(train), None if auxiliary is None else auxiliary.take(train), fold_policy)
        for parts, part_policies in zip(splits, policies, strict=True)
        for (train, test), fold_policy in zip(parts, part_policies, strict=True)
    ]
    best_single = resolved.sum(axis=0).max()

    def gain(verdicts: FloatArray) -> float:
        redrawn = outcomes.with_resolved(verdicts)
        hits = 0.0
        for train, test, training, others, fold_policy in fitted:
            fold_policy.fit_outcomes(training.with_resolved(verdicts[train]), others)
            hits += decide(fold_policy, X, redrawn, test, [None])[1][0].sum()
        return float(hits / len(splits) - best_single)

    rng = np.random.default_rng(seed)
    verdicts, null, reached = resolved, np.empty(permutations), 0
    with one_thread():
        observed = gain(resolved)
        for b in range(permutations):
            verdicts = curveball(verdicts, rng, trades)
            null[b] = gain(verdicts)
            reached += int(null[b] >= observed - 1e-9)
            if reached == stop_after:
                return PermutationNull(observed, null[: b + 1], stopped=True)
    return PermutationNull(observed, null)


def curveball(matrix: FloatArray, rng: np.random.Generator, trades: int | None = None) -> FloatArray:
    """A random 0/1 matrix (n, m) with the row and column sums of `matrix`, by curveball trades.

    A trade takes two columns and deals the rows on which exactly one of them is 1 out anew between the two, each
    keeping its total (Strona et al., Nature Communications 5:4114, 2014; uniform in the limit: Carstens, Physical
    Review E 91:042812, 2015). The default is 10 trades per column, at least 50.
    """
    columns = np.array(matrix.T, order="C")
    m = len(columns)
    if m < 2:
        return np.array(matrix)
    trades = max(50, 10 * m) if trades is None else trades
    first = rng.integers(m, size=trades)
    second = (first + rng.integers(1, m, size=trades)) % m
    for a, b in zip(first, second, strict=True):
        tradable = np.flatnonzero(columns[a] != columns[b])
        dealt = rng.permutation(columns[a, tradable])
        columns[a, tradable], columns[b, tradable] = dealt, 1.0 - dealt
    return np.array(columns.T, order="C")


def _complete(outcomes: OutcomeMatrix) -> FloatArray:
    if not outcomes.complete():
        missing = int(np.isnan(outcomes.resolved).sum())
        raise OutcomeError(
            f"{missing} {'verdict is' if missing == 1 else 'verdicts are'} unknown; "
            "this null needs a complete matrix: use complete_rows()"
        )
    return outcomes.resolved
