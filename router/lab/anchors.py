"""A new model's overall rate from few labels: which instances to run it on, and what to conclude from them.

Anchors: instances in order of difficulty are cut into n strata of equal outcome spread, and from each the instance that
tells most about ability is taken (Fisher information a²·p·(1 − p), averaged over plausible abilities): informative and
spread out (cf. tinyBenchmarks, arXiv 2402.14992, which clusters item parameters).

Estimate: ability by maximum a posteriori against the items of the reference runs; the labelled outcomes count as they
are, the others are predicted. Instances whose residuals go together over the reference runs then correct each other: a
normal model of the new run's standardised residuals with covariance I + τ·(residual covariance of the reference runs).

The interval is approximate: it takes item parameters as known. It covered 86 % in simulations with 49 reference runs
and 92–100 % of the recorded runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from router.arrays import Z95, FloatArray, IntArray
from router.irt import ItemResponse, fit_irt

NEWCOMER_SD = 1.0
"""prior standard deviation, in logits, of a new model's ability around that of the able reference runs"""
ABLE = 0.55
"""reference runs with at least this rate tell what to expect of a newcomer (all of them, where none has it)"""
COUPLING = 2.0
"""τ where instances are spread over all difficulties"""
OTHERS_WEIGHT = 0.3
"""how much of what runs of other agents tell of the instances counts: they fail for other reasons"""
FLOOR = 0.02
"""added to Bernoulli variances: no prediction is certain"""


@dataclass(frozen=True, eq=False)
class RateEstimate:
    """A new model's share resolved of all instances."""

    rate: float
    low: float
    """2.5 % bound"""
    high: float
    """97.5 % bound"""
    ability: float
    """in the logits of the reference runs' item-response model"""
    probability: FloatArray
    """(n,) P(resolved): the label where there is one, else the estimate"""
    labels: int
    """how many outcomes it rests on"""


class ReferenceRuns:
    """Runs of other models over the same instances."""

    def __init__(self, resolved: FloatArray, others: FloatArray | None = None, *, coupling: float = COUPLING) -> None:
        """
        Args:
            resolved: (n, m) verdicts 1, 0 or NaN, best of the agent that is to be judged.
            others: (n, k) verdicts of runs of other agents; they inform slopes and difficulties only.
            coupling: τ, how far residuals of a new run follow the residual covariance of the reference runs; 0: not.

        Raises:
            ValueError: no verdict is known.
        """
        around = None
        if others is not None and others.shape[1]:
            around = fit_irt(others)
            around = replace(around, precision=OTHERS_WEIGHT * around.precision)
        self.items: ItemResponse = fit_irt(resolved, around=around)
        p = self.items.probability()
        known = ~np.isnan(resolved)
        residual = np.where(known, resolved - p, 0.0) / np.sqrt(p * (1 - p) + FLOOR)
        self.coupling: FloatArray = coupling * (residual @ residual.T) / resolved.shape[1]
        able = p.mean(axis=0) >= ABLE
        self.expected: float = float(self.items.ability[able].mean() if able.any() else self.items.ability.mean())
        self.spread: float = float(self.items.ability[able].std()) if able.sum() > 1 else NEWCOMER_SD

    def choose_anchors(self, n: int, clusters: IntArray | None = None) -> IntArray:
        """(n,) row numbers of the most useful instances to label, the most informative first.

        With `clusters` (rows,), the instances' clusters, each gives a number proportional to its size (largest
        remainders). ValueError unless 1 <= n <= rows.
        """
        items = self.items
        rows = len(items.slope)
        if not 1 <= n <= rows:
            raise ValueError(f"cannot choose {n} anchors among {rows} instances")
        variance = self._variance()
        information = self.information()
        order = np.argsort(items.difficulty / np.maximum(items.slope, 0.05), kind="stable")
        clusters = np.zeros(rows, dtype=np.int64) if clusters is None else clusters
        numbers, sizes = np.unique(clusters, return_counts=True)
        exact = n * sizes / sizes.sum()
        quota = np.floor(exact).astype(int)
        for at in np.argsort(quota - exact, kind="stable")[: n - quota.sum()]:
            quota[at] += 1
        chosen: list[int] = []
        for cluster, places in zip(numbers, quota.tolist(), strict=True):
            members = order[clusters[order] == cluster]
            chosen += _spread_over_difficulty(members, np.sqrt(variance[members]), information[members], places)
        anchors = np.array(chosen, dtype=np.int64)
        return anchors[np.argsort(-information[anchors], kind="stable")]

    def information(self) -> FloatArray:
        """(n,) Fisher information a²·p·(1 − p) of each instance on ability, averaged over plausible abilities."""
        return np.asarray(self.items.slope**2 * self._variance())

    def _variance(self) -> FloatArray:
        """(n,) how much verdicts of able models differ on each instance."""
        steps = np.linspace(-1.5, 1.5, 7)
        weight = np.exp(-0.5 * steps**2)
        p = self.items.probability(self.expected + max(self.spread, 0.1) * steps)
        return np.asarray((p * (1 - p)) @ (weight / weight.sum()))

    def estimate(self, labels: FloatArray) -> RateEstimate:
        """The rate of a model with outcomes `labels` (n,): 1, 0, or NaN where it was not run. ValueError if all are."""
        labelled = ~np.isnan(labels)
        if labels.shape != self.items.difficulty.shape or not labelled.any():
            raise ValueError(
                f"labels must be {self.items.difficulty.shape} with one known at least, got {labels.shape} with "
                f"{int(labelled.sum())} known"
            )
        y, a, b = labels[labelled], self.items.slope, self.items.difficulty
        theta, precision = self.expected, NEWCOMER_SD**-2
        curvature = precision
        for _ in range(50):
            p = expit(a[labelled] * theta - b[labelled])
            curvature = float(a[labelled] ** 2 @ (p * (1 - p))) + precision
            step = (float(a[labelled] @ (y - p)) - (theta - self.expected) * precision) / curvature
            theta += float(np.clip(step, -1.0, 1.0))
            if abs(step) < 1e-6:
                break
        p = expit(a * theta - b)
        sd = np.sqrt(p * (1 - p) + FLOOR)
        kernel = self.coupling[np.ix_(labelled, labelled)] + np.eye(len(y))
        cross = self.coupling[np.ix_(~labelled, labelled)]
        followed = cross @ np.linalg.solve(kernel, (y - p[labelled]) / sd[labelled])
        probability = np.array(labels)
        probability[~labelled] = np.clip(p[~labelled] + sd[~labelled] * followed, 0.0, 1.0)
        rate = float(probability.mean())
        # of the unlabelled: luck, what the residuals share beyond the labels, and the ability's own uncertainty
        u = sd[~labelled]
        shared = self.coupling[np.ix_(~labelled, ~labelled)] - cross @ np.linalg.solve(kernel, cross.T)
        tilt = float((a * p * (1 - p))[~labelled].sum())
        variance = float((u**2).sum() + u @ shared @ u) + tilt**2 / curvature
        half = Z95 * np.sqrt(max(variance, 0.0)) / len(labels)
        return RateEstimate(rate, max(rate - half, 0.0), min(rate + half, 1.0), theta, probability, int(labelled.sum()))


def _spread_over_difficulty(members: IntArray, spread: FloatArray, information: FloatArray, places: int) -> list[int]:
    """The most informative of each of `places` strata of equal outcome spread; `members` from easy to hard."""
    if not places:
        return []
    reached = np.cumsum(spread)
    stratum = np.minimum((reached / reached[-1] * places - 1e-9).astype(int), places - 1)
    best: dict[int, int] = {}
    for at, k in enumerate(stratum.tolist()):
        if k not in best or information[at] > information[best[k]]:
            best[k] = at
    # a member may fill more than its stratum; the most informative others take the empty places
    taken = list(best.values())
    others = [at for at in np.argsort(-information, kind="stable").tolist() if at not in set(taken)]
    return [int(members[at]) for at in [*taken, *others[: places - len(taken)]]]
