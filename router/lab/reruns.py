"""What running a model again shows: chances that differ from instance to instance, and repeat for one model.

P(resolved) of instance i is σ(a_i·θ − b_i + u_i): an item-response model (`router.irt`) and an offset u_i ~ N(0, τ²),
the model's own strength on that instance. The offset repeats when the model runs again, so two runs agree more often
than two models of equal ability do. τ is found from recorded repeats: it makes the expected share of flips that of
the record.

A worse version of the model has lost in one of two ways:

    shift   its ability is lower, which shows on the instances that are in reach and no more than that
    lapse   each instance that it would resolve is lost with the same probability, as by a broken tool
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.special import expit, logit

from router.arrays import FloatArray

Shape = Literal["shift", "lapse"]

LEAST_SLOPE = 0.05
"""slopes of instances on which able models do no better, or worse, are taken to be this"""
MAX_OFFSET_SD = 12.0
STEPS = 40
"""of a bisection"""
_Z, _W = np.polynomial.hermite_e.hermegauss(31)
_W = _W / _W.sum()


@dataclass(frozen=True)
class Flips:
    """What repeats of one model showed."""

    rate: float
    """share resolved, over all runs"""
    share: float
    """of instances whose verdict differs between two runs, over all pairs of runs"""


def measure_flips(runs: FloatArray) -> Flips:
    """From the verdicts (n, r) of r runs of one model. ValueError below 2 runs, or where a verdict is unknown."""
    if runs.ndim != 2 or runs.shape[1] < 2 or np.isnan(runs).any():
        raise ValueError(f"flips need known verdicts of 2 runs or more, got shape {runs.shape}")
    pairs = [float((runs[:, j] != runs[:, k]).mean()) for j, k in combinations(range(runs.shape[1]), 2)]
    return Flips(rate=float(runs.mean()), share=float(np.mean(pairs)))


@dataclass(frozen=True, eq=False)
class RerunModel:
    """Instances' slopes and difficulties, and how much of a model's strength on an instance repeats."""

    slope: FloatArray
    """(n,) a, positive"""
    difficulty: FloatArray
    """(n,) b"""
    offset_sd: float
    """τ, in logits"""

    @classmethod
    def fit(cls, slope: FloatArray, difficulty: FloatArray, flips: Flips) -> RerunModel:
        """With the τ at which a model of the repeats' rate flips as often as they did.

        Args:
            slope: (n,) of an item-response model, see `router.irt`.
            difficulty: (n,) likewise.
            flips: Of the repeats.
        """
        slope = np.maximum(slope, LEAST_SLOPE)

        def flipped(sd: float) -> float:
            p = cls(slope, difficulty, sd)._grid(flips.rate)
            return float((2 * p * (1 - p) @ _W).mean())

        low, high = 0.0, MAX_OFFSET_SD
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if flipped(middle) > flips.share else (low, middle)
        return cls(slope, difficulty, (low + high) / 2)

    def expected_flips(self, rate: float) -> FloatArray:
        """(n,) probability that two runs of a model of that rate differ on the instance."""
        p = self._grid(rate)
        return np.asarray(2 * p * (1 - p) @ _W)

    def draw(self, rate: float, *, models: int, seed: int) -> FloatArray:
        """(models, n) P(resolved) of models drawn at random whose mean is `rate`."""
        offsets = np.random.default_rng(seed).normal(scale=self.offset_sd, size=(models, len(self.slope)))
        return np.asarray(expit(self.slope * self._ability(rate) - self.difficulty + offsets))

    def discordant(self, rate: float, drop: float, shape: Shape) -> tuple[FloatArray, FloatArray]:
        """(n,) P(lost) and (n,) P(gained) between a run of a model of that rate and one of its worse version."""
        before = self._grid(rate)
        after = worsen(before.T, self.slope, drop, shape, weights=_W).T
        return np.asarray(before * (1 - after) @ _W), np.asarray((1 - before) * after @ _W)

    def _grid(self, rate: float) -> FloatArray:
        """(n, q) P(resolved) at the quadrature's offsets."""
        return self._at(self._ability(rate))

    def _at(self, ability: float) -> FloatArray:
        return np.asarray(expit((self.slope * ability - self.difficulty)[:, None] + self.offset_sd * _Z))

    def _ability(self, rate: float) -> float:
        low, high = -30.0, 30.0
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if float((self._at(middle) @ _W).mean()) < rate else (low, middle)
        return (low + high) / 2


def worsen(
    p: FloatArray, slope: FloatArray, drop: float, shape: Shape, *, weights: FloatArray | None = None
) -> FloatArray:
    """(k, n) P(resolved) of worse versions of the models `p` (k, n), whose mean rate is lower by `drop`.

    Args:
        p: P(resolved).
        slope: (n,) a, by which a shift of ability moves an instance.
        drop: Share of all instances, 0 or more and below the mean of `p`.
        shape: How it is lost.
        weights: (k,) of the rows in the mean; None: all alike.
    """
    rate = float(np.average(p.mean(axis=1), weights=weights))
    if not 0 <= drop < rate:
        raise ValueError(f"a drop must be between 0 and the rate {rate:.3f}, got {drop}")
    if shape == "lapse":
        return np.asarray(p * (1 - drop / rate))
    logits = logit(np.clip(p, 1e-12, 1 - 1e-12))
    low, high = 0.0, 60.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        after = float(np.average(expit(logits - slope * middle).mean(axis=1), weights=weights))
        low, high = (middle, high) if rate - after < drop else (low, middle)
    return np.asarray(expit(logits - slope * (low + high) / 2))
