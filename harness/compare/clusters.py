"""Kinds of problems: where a model newly fails, and where the routing table changed its mind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.stats import holm, mcnemar_exact
from harness.evaluation.verdict import SIGNIFICANT

if TYPE_CHECKING:
    from router.arrays import Features, FloatArray, IntArray
    from router.outcomes import OutcomeMatrix


@dataclass(frozen=True)
class FailingCluster:
    """A cluster in which a model resolves clearly less than before."""

    cluster: int
    size: int
    model: str
    base_resolved: int
    new_resolved: int
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    p_value: float
    """exact McNemar within the cluster"""
    p_holm: float
    """over all clusters and models"""


@dataclass(frozen=True)
class RoutingChange:
    """A cluster whose model changed: between tables fitted on either side's outcomes, or between live routings."""

    cluster: int
    size: int
    base_model: str
    new_model: str
    why: str
    examples: tuple[str, ...]


def failing_clusters(
    labels: IntArray, instances: Sequence[str], pairs: Sequence[tuple[str, FloatArray, FloatArray]]
) -> list[FailingCluster]:
    """Clusters with p < 0.05 for a loss; `pairs` are (model, base (n,), new (n,)), NaN where unknown."""
    found: list[FailingCluster] = []
    tests: list[float] = []
    for model, base, new in pairs:
        for cluster in np.unique(labels):
            here = np.flatnonzero((labels == cluster) & ~np.isnan(base) & ~np.isnan(new)).tolist()
            lost = tuple(instances[i] for i in here if base[i] > new[i])
            gained = tuple(instances[i] for i in here if new[i] > base[i])
            tests.append(mcnemar_exact(len(gained), len(lost)))
            sums = int(base[here].sum()), int(new[here].sum())
            found.append(FailingCluster(int(cluster), len(here), model, *sums, lost, gained, tests[-1], 1.0))
    corrected = holm(tests)
    return [
        FailingCluster(**{**vars(cell), "p_holm": p})
        for cell, p in zip(found, corrected, strict=True)
        if cell.new_resolved < cell.base_resolved and cell.p_value < SIGNIFICANT
    ]


def routing_changes(
    X: Features, base: OutcomeMatrix, new: OutcomeMatrix, k: int, cost_weight: float = 0.0, seed: int = 0
) -> tuple[IntArray, list[RoutingChange]]:
    """Labels (n,) and the clusters that route differently, both tables over the same clusters of the same instances."""
    from router.clustering import nearest
    from router.policies.cluster import ClusterPolicy

    policy = ClusterPolicy(n_clusters=k, cost_weight=cost_weight, seed=seed).fit_features(X)
    tables = []
    for side in (base, new):
        policy.fit_outcomes(side)
        tables.append((policy.profile_.copy(), policy.predict(policy.centroids_), policy.cost_.copy()))
    labels = nearest(X, policy.centroids_)
    changes = []
    for cluster in range(len(policy.centroids_)):
        a, b = base.models[tables[0][1][cluster]], new.models[tables[1][1][cluster]]
        here = np.flatnonzero(labels == cluster)
        if a == b or not len(here):
            continue
        rates = [
            dict(zip(side.models, table[0][cluster], strict=True))
            for side, table in zip((base, new), tables, strict=True)
        ]
        examples = tuple(base.instances[i] for i in here[:3])
        changes.append(RoutingChange(cluster, len(here), a, b, _why(a, b, rates[0], rates[1]), examples))
    return labels, changes


def cluster_labels(X: Features, k: int, seed: int = 0) -> IntArray:
    """(n,) clusters of the texts, without outcomes."""
    from router.clustering import CentroidClusters

    return CentroidClusters(k, seed).fit(X).assign(X)


def acted_changes(
    labels: IntArray, instances: Sequence[str], base: Mapping[str, str], new: Mapping[str, str]
) -> list[RoutingChange]:
    """Clusters in which most instances went to another model; `base` and `new` are what two live runs handed in."""
    changes = []
    for cluster in np.unique(labels):
        here = [instances[i] for i in np.flatnonzero(labels == cluster).tolist()]
        here = [i for i in here if i in base and i in new]
        before, after = Counter(base[i] for i in here), Counter(new[i] for i in here)
        if not here:
            continue
        a, b = (sorted(counts, key=lambda model: (-counts[model], model))[0] for counts in (before, after))
        # level shares are no change of mind
        if before[a] > before[b] and after[b] > after[a]:
            why = f"{a} took {before[a]} → {after[a]} of {len(here)}, {b} {before[b]} → {after[b]}"
            moved = [i for i in here if base[i] != new[i]]
            changes.append(RoutingChange(int(cluster), len(here), a, b, why, tuple(moved[:3])))
    return changes


def _why(a: str, b: str, before: dict[str, float], after: dict[str, float]) -> str:
    """The reason in rates of the cluster: who left, who came, who fell, who rose."""
    if a not in after:
        return f"{a} is not in the new pool; {b} resolves {after[b]:.0%} here"
    if b not in before:
        return f"{b} is new and resolves {after[b]:.0%} here, {a} {after[a]:.0%}"
    fell, rose = after[a] - before[a], after[b] - before[b]
    moved = f"{a} {before[a]:.0%} → {after[a]:.0%}, {b} {before[b]:.0%} → {after[b]:.0%}"
    if abs(after[a] - after[b]) < 1e-9:
        return f"level now, {b} is the cheaper ({moved})"
    if abs(before[a] - before[b]) < 1e-9:
        return f"they were level and {a} the cheaper ({moved})"
    return f"{a if -fell >= rose else b} {'fell' if -fell >= rose else 'rose'} ({moved})"
