"""Kinds of problems: where a model newly fails, and where the routing table chooses another model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.evaluation.stats import holm, mcnemar_exact
from harness.evaluation.verdict import SIGNIFICANT
from router.arrays import Features, FloatArray, IntArray
from router.clustering import CentroidClusters, nearest
from router.outcomes import OutcomeMatrix
from router.policies.cluster import ClusterPolicy

EXAMPLES = 3
"""Instances named of a cluster that routes otherwise."""


@dataclass(frozen=True)
class PairedVerdicts:
    """(n,) verdicts of a model on both sides; NaN where unknown."""

    model: str
    base: FloatArray
    new: FloatArray


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
    """Exact McNemar within the cluster."""
    p_holm: float
    """Over all clusters and models."""


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
    labels: IntArray, instances: Sequence[str], pairs: Sequence[PairedVerdicts]
) -> list[FailingCluster]:
    """Clusters in which a model loses with p < 0.05.

    Args:
        labels: (n,) cluster of each instance.
        instances: (n,) ids.
        pairs: A model's verdicts each.
    """
    tested = []
    for pair in pairs:
        for cluster in np.unique(labels):
            known = (labels == cluster) & ~np.isnan(pair.base) & ~np.isnan(pair.new)
            members = np.flatnonzero(known).tolist()
            lost = tuple(instances[i] for i in members if pair.base[i] > pair.new[i])
            gained = tuple(instances[i] for i in members if pair.new[i] > pair.base[i])
            p = mcnemar_exact(len(gained), len(lost))
            tested.append(
                FailingCluster(
                    cluster=int(cluster),
                    size=len(members),
                    model=pair.model,
                    base_resolved=int(pair.base[members].sum()),
                    new_resolved=int(pair.new[members].sum()),
                    lost=lost,
                    gained=gained,
                    p_value=p,
                    p_holm=p,
                )
            )
    corrected = holm([cell.p_value for cell in tested])
    return [
        replace(cell, p_holm=p)
        for cell, p in zip(tested, corrected, strict=True)
        if cell.new_resolved < cell.base_resolved and cell.p_value < SIGNIFICANT
    ]


def routing_changes(
    X: Features, base: OutcomeMatrix, new: OutcomeMatrix, k: int, cost_weight: float = 0.0, seed: int = 0
) -> tuple[IntArray, list[RoutingChange]]:
    """Labels (n,) and the clusters that route differently, both tables over the same clusters of the same instances."""
    policy = ClusterPolicy(n_clusters=k, cost_weight=cost_weight, seed=seed).fit_features(X)
    tables = []
    for side in (base, new):
        policy.fit_outcomes(side)
        tables.append((policy.profile_.copy(), policy.predict(policy.centroids_), policy.cost_.copy()))
    labels = nearest(X, policy.centroids_)
    changes = []
    for cluster in range(len(policy.centroids_)):
        a, b = base.models[tables[0][1][cluster]], new.models[tables[1][1][cluster]]
        members = np.flatnonzero(labels == cluster).tolist()
        if a == b or not members:
            continue
        rates = [
            dict(zip(side.models, table[0][cluster], strict=True))
            for side, table in zip((base, new), tables, strict=True)
        ]
        changes.append(
            RoutingChange(
                cluster=cluster,
                size=len(members),
                base_model=a,
                new_model=b,
                why=_why(a, b, rates[0], rates[1]),
                examples=tuple(base.instances[i] for i in members[:EXAMPLES]),
            )
        )
    return labels, changes


def cluster_labels(X: Features, k: int, seed: int = 0) -> IntArray:
    """(n,) clusters of the texts, without outcomes."""
    return CentroidClusters(k, seed).fit(X).assign(X)


def live_routing_changes(
    labels: IntArray, instances: Sequence[str], base: Mapping[str, str], new: Mapping[str, str]
) -> list[RoutingChange]:
    """Clusters in which most instances went to another model.

    Args:
        labels: (n,) cluster of each instance.
        instances: (n,) ids.
        base: By instance, whose attempt a live run accepted.
        new: The same of the new side.
    """
    changes = []
    for cluster in np.unique(labels):
        members = [instances[i] for i in np.flatnonzero(labels == cluster).tolist()]
        members = [i for i in members if i in base and i in new]
        before, after = Counter(base[i] for i in members), Counter(new[i] for i in members)
        if not members:
            continue
        a, b = (sorted(counts, key=lambda model: (-counts[model], model))[0] for counts in (before, after))
        # level shares are no change
        if before[a] > before[b] and after[b] > after[a]:
            changes.append(
                RoutingChange(
                    cluster=int(cluster),
                    size=len(members),
                    base_model=a,
                    new_model=b,
                    why=f"{a} took {before[a]} → {after[a]} of {len(members)}, {b} {before[b]} → {after[b]}",
                    examples=tuple(i for i in members if base[i] != new[i])[:EXAMPLES],
                )
            )
    return changes


def _why(a: str, b: str, before: dict[str, float], after: dict[str, float]) -> str:
    """The reason in rates of the cluster: who left, who is new, who fell, who rose."""
    if a not in after:
        return f"{a} is not in the new pool; {b} resolves {after[b]:.0%} of the cluster"
    if b not in before:
        return f"{b} is new and resolves {after[b]:.0%} of the cluster, {a} {after[a]:.0%}"
    fell, rose = after[a] - before[a], after[b] - before[b]
    moved = f"{a} {before[a]:.0%} → {after[a]:.0%}, {b} {before[b]:.0%} → {after[b]:.0%}"
    if abs(after[a] - after[b]) < 1e-9:
        return f"level now, {b} is the cheaper ({moved})"
    if abs(before[a] - before[b]) < 1e-9:
        return f"they were level and {a} the cheaper ({moved})"
    return f"{a if -fell >= rose else b} {'fell' if -fell >= rose else 'rose'} ({moved})"
