"""Smoke sets: the instances that say most per dollar, what they say of all instances, and the drop that they show.

Instances are taken by Fisher information on ability (`router.lab.anchors`) per cost: those of middle difficulty on
which abler models do better. They are harder to predict than most, so their plain mean says nothing of the whole
benchmark; the rate over all instances is estimated. The same estimate is made for each reference run in turn, without
it. What it is off by for runs of about the new model's rate corrects the estimate and widens its interval (a jackknife,
cf. Barber et al., "Predictive inference with the jackknife+", arXiv 1905.02928; with weights, cf. Barber et al.,
"Conformal prediction beyond exchangeability", arXiv 2202.13415).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.stats import binom

from router.arrays import Z95, FloatArray, IntArray
from router.lab.anchors import RateEstimate, ReferenceRuns
from router.lab.reruns import RerunModel, Shape, worsen

LEAST_RATE = 0.4
"""reference runs below this are no guide to how far estimates of able models are off"""
LEAST_RUNS = 8
"""fewer reference runs than this cannot widen an interval"""
NEAR = 0.08
"""standard deviation, in shares of all instances, of the weight of reference runs around the new model's rate: what an
estimate is off by depends on the rate"""
FAR_WEIGHT = 1e-3
"""added to each weight: where no reference run is near, all count alike"""
LEAST_WIDENING = 1.0
"""reference runs that happen to be met closely do not make an interval narrower"""
DROPS = tuple(points / 100 for points in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 25, 30, 40))
"""drops tried, shares of all instances"""
POWER = 0.8
ALPHA = 0.05


def choose(
    runs: ReferenceRuns,
    n: int,
    *,
    price: FloatArray | None = None,
    groups: Sequence[str] | None = None,
    most_of_a_group: float = 0.4,
) -> IntArray:
    """(n,) rows, the most informative per cost first.

    Args:
        runs: Reference runs over all instances.
        n: How many.
        price: (rows,) cost of running each instance, in any unit; unknown costs (NaN) count as the mean.
        groups: (rows,) of each instance, such as its repository.
        most_of_a_group: Share of the n that one group may have, so that one repository does not decide; given up when
            the instances would not suffice.

    Raises:
        ValueError: n is not between 1 and the number of instances.
    """
    value = runs.information()
    if not 1 <= n <= len(value):
        raise ValueError(f"cannot choose {n} of {len(value)} instances")
    if price is not None and np.isfinite(price).any():
        value = value / np.maximum(np.where(np.isfinite(price), price, np.nanmean(price)), 1e-9)
    order = np.argsort(-value, kind="stable")
    if groups is None:
        return order[:n]
    room = dict.fromkeys(groups, max(1, round(most_of_a_group * n)))
    taken, passed = [], []
    for row in order.tolist():
        if room[groups[row]] > 0:
            room[groups[row]] -= 1
            taken.append(row)
        else:
            passed.append(row)
    return np.array([*taken, *passed][:n], dtype=np.int64)


class RateEstimator:
    """Estimates of the rate over all instances from a subset, with an interval that held for the reference runs."""

    def __init__(
        self,
        resolved: FloatArray,
        others: FloatArray | None = None,
        *,
        price: FloatArray | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            resolved: (n, m) verdicts of the reference runs, best of the same agent.
            others: (n, k) verdicts of runs of other agents.
            price: As in `choose`.
            groups: As in `choose`.
        """
        self._price, self._groups = price, groups
        self._errors: dict[int, FloatArray] = {}
        # coupled residuals help with instances of all difficulties; with those of middle difficulty they add errors
        self.runs = ReferenceRuns(resolved, others, coupling=0.0)
        self._resolved, self._others = resolved, others
        rates = np.nanmean(resolved, axis=0)
        self._able = [
            j for j in range(resolved.shape[1]) if rates[j] >= LEAST_RATE and not np.isnan(resolved[:, j]).any()
        ]

    @cached_property
    def _without(self) -> list[ReferenceRuns]:
        """The reference runs without each able one in turn."""
        if len(self._able) < LEAST_RUNS:
            return []
        return [ReferenceRuns(np.delete(self._resolved, j, axis=1), self._others, coupling=0.0) for j in self._able]

    @property
    def checked_on(self) -> int:
        """Reference runs that intervals are checked on; 0 where they are too few."""
        return len(self._without)

    def choose(self, n: int) -> IntArray:
        """(n,) rows, see `choose`."""
        return choose(self.runs, n, price=self._price, groups=self._groups)

    def calibration(self, n: int, rate: float) -> tuple[float, float]:
        """How far too high estimates around `rate` from n chosen rows are, and the factor that widens their intervals.

        Both are measured on the reference runs, above all on those whose estimate is near `rate`. (0, 1) where the runs
        are too few to tell.
        """
        if n not in self._errors:
            self._errors[n] = self._measure_errors(n)
        if not len(self._errors[n]):
            return 0.0, 1.0
        off, half, estimated = self._errors[n].T
        weight = np.exp(-0.5 * ((estimated - rate) / NEAR) ** 2) + FAR_WEIGHT
        weight /= weight.sum()
        bias = float(weight @ off)
        # the bias itself is known from few runs only: their effective number is 1 / Σ weight²
        spread = float(weight @ ((off - bias) / half) ** 2) * (1 + float(weight @ weight))
        return bias, max(Z95 * spread**0.5, LEAST_WIDENING)

    def _measure_errors(self, n: int) -> FloatArray:
        """(able runs, 3): how far each run's estimate is too high, half its interval, and the estimate.

        For each, the rows are chosen and its rate is estimated without it: rows that it helped to choose would flatter
        it.
        """
        errors = []
        for j, runs in zip(self._able, self._without, strict=False):
            rows = choose(runs, n, price=self._price, groups=self._groups)
            found = runs.estimate(only(self._resolved[:, j], rows))
            off = found.rate - float(self._resolved[:, j].mean())
            errors.append((off, max((found.high - found.low) / 2, 1e-9), found.rate))
        return np.array(errors)

    def estimate(self, labels: FloatArray) -> RateEstimate:
        """From verdicts (n,) that are NaN where the model was not run. ValueError if all are."""
        found = self.runs.estimate(labels)
        known = ~np.isnan(labels)
        bias, factor = self.calibration(int(known.sum()), found.rate)
        sure, open_ = float(labels[known].sum()) / len(labels), float(1 - known.mean())
        rate, low, high = (
            float(np.clip(found.rate - bias + factor * (bound - found.rate), sure, sure + open_))
            for bound in (found.rate, found.low, found.high)
        )
        return replace(found, rate=rate, low=low, high=high)


def only(verdicts: FloatArray, rows: IntArray) -> FloatArray:
    """(n,) `verdicts` on `rows`, NaN elsewhere."""
    labels = np.full(len(verdicts), np.nan)
    labels[rows] = verdicts[rows]
    return labels


@dataclass(frozen=True)
class Detectable:
    """The smallest drop that a subset shows with the given power."""

    drop: float | None
    """share of all instances; None: not even the largest that was tried"""
    power: dict[float, float]
    """by drop"""


def detectable_drops(
    model: RerunModel,
    sets: Sequence[IntArray],
    *,
    rate: float,
    shape: Shape = "shift",
    simulations: int = 1000,
    seed: int = 0,
) -> list[Detectable]:
    """By simulation: base and worse version run on each set; exact McNemar test, two-sided, p < 0.05, fewer resolved.

    Args:
        model: Of all instances, with the flips of repeats.
        sets: Rows of each subset.
        rate: Share that the base resolves of all instances.
        shape: How the drop shows.
        simulations: Pairs of runs per drop.
        seed: Of models and runs.
    """
    rng = np.random.default_rng([seed, 1])
    before = model.draw(rate, models=simulations, seed=seed)
    base = rng.random(before.shape) < before
    power: list[dict[float, float]] = [{} for _ in sets]
    smallest: list[float | None] = [None] * len(sets)
    for drop in DROPS:
        if drop >= rate or None not in smallest:
            break
        after = worsen(before, model.slope, drop, shape)
        new = rng.random(after.shape) < after
        lost, gained = base & ~new, ~base & new
        for k, rows in enumerate(sets):
            if smallest[k] is None:
                losses, gains = lost[:, rows].sum(axis=1), gained[:, rows].sum(axis=1)
                power[k][drop] = float(((mcnemar_p(losses, gains) < ALPHA) & (losses > gains)).mean())
                if power[k][drop] >= POWER:
                    smallest[k] = _crossing(power[k])
    return [Detectable(drop, seen) for drop, seen in zip(smallest, power, strict=True)]


def _crossing(power: dict[float, float]) -> float:
    """The drop at which the power reaches its goal, between the last two tried."""
    drops = list(power)
    if len(drops) == 1:
        return drops[0]
    (below, above), (low, high) = drops[-2:], (power[drops[-2]], power[drops[-1]])
    return below + (above - below) * (POWER - low) / (high - low)


def mcnemar_p(lost: IntArray, gained: IntArray) -> FloatArray:
    """(k,) exact two-sided p of lost against gained."""
    total = lost + gained
    tail = binom.cdf(np.minimum(lost, gained), np.maximum(total, 1), 0.5)
    return np.asarray(np.where(total == 0, 1.0, np.minimum(1.0, 2 * tail)))
