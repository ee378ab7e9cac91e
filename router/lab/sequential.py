"""Is a new version worse? A paired test that may be looked at after every batch and stopped at any time.

Only instances on which the two sides differ say anything: each is lost or gained. If the new side is a run of the
same model, both are equally likely, whatever the instance and whatever came before, as long as the order of the
instances does not depend on their verdicts. With ability lower by δ, an instance of slope a is lost with probability
σ(aδ) (the conditional likelihood of the Rasch model: difficulty and all that repeats cancel). The evidence is a
likelihood ratio, averaged over a grid of δ:

    E_worse = mean over δ of  Π 2·σ(±aδ)                      + where lost, − where gained

Under the null its expectation never exceeds 1, so that it reaches 1/α at any time with probability α at most (Ville;
Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", arXiv 2210.01948). The evidence that the
new side is *not* worse by `drop` or more is the ratio of ½ to the probability of the same signs under that drop, the
less favourable one of a shift of ability and of lapses (`router.lab.reruns`); unlike the first, it relies on that
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import log_expit, logsumexp, ndtr

from router.arrays import FloatArray, IntArray
from router.lab.reruns import RerunModel, Shape

SHIFTS = np.array([0.5, 1.0, 2.0, 4.0])
"""δ of the grid, in logits"""
LOOK_EVERY = 10
"""instances between two looks at which the test may end"""
SHAPES: tuple[Shape, ...] = ("shift", "lapse")


class Decision(StrEnum):
    WORSE = "worse"
    NOT_WORSE = "not worse"
    """by the drop asked about, or more"""
    HOPELESS = "hopeless"
    """the instances left are unlikely to decide it"""
    OPEN = "open"


@dataclass(frozen=True)
class GateSettings:
    """What is asked, and how sure the answer has to be."""

    drop: float = 0.03
    """share of all instances"""
    alpha: float = 0.05
    """probability of a wrong `worse` where nothing changed, over all looks; of a wrong `not worse` likewise"""
    futility: float = 0.1
    """chance of a decision in the instances left below which there is no hope"""


@dataclass(frozen=True)
class Look:
    """Where the test stands after some instances."""

    decision: Decision
    instances: int
    lost: int
    gained: int
    worse: float
    """evidence of a drop; `worse` is decided from 1/α"""
    not_worse: float
    """evidence against the drop asked about"""
    chance: float
    """that the instances left decide: `worse` if the drop is there or the trend goes on, or `not worse` if nothing
    changed"""


class SequentialGate:
    """The test for a fixed order of instances."""

    def __init__(
        self, model: RerunModel, order: IntArray, *, rate: float, settings: GateSettings | None = None
    ) -> None:
        """
        Args:
            model: Of the n instances.
            order: (k,) rows in the order in which they are run. It must not depend on either side's verdicts.
            rate: Share that the base resolves, or is expected to.
            settings: What is asked.

        Raises:
            ValueError: the base resolves no more than the drop.
        """
        self.settings = settings or GateSettings()
        self.order = order
        slope = model.slope[order]
        self._lost = np.log(2) + log_expit(SHIFTS[:, None] * slope)
        self._gained = np.log(2) + log_expit(-SHIFTS[:, None] * slope)
        against_lost, against_gained, self._chances = [], [], []
        for shape in SHAPES:
            lost, gained = (part[order] for part in model.discordant(rate, self.settings.drop, shape))
            either = lost + gained
            against_lost.append(np.log(0.5) - np.log(lost / either))
            against_gained.append(np.log(0.5) - np.log(gained / either))
            self._chances.append((lost, gained))
        self._against_lost, self._against_gained = np.array(against_lost), np.array(against_gained)
        self._flips = model.expected_flips(rate)[order]

    def look(self, base: FloatArray, new: FloatArray) -> Look:
        """After the first instances of the order, whose verdicts are `base` (t,) and `new` (t,); NaN for unknown."""
        return self.looks(base, new, [len(base)])[0]

    def schedule(self) -> list[int]:
        """After how many instances the test may end: every ten, and after the last."""
        n = len(self.order)
        return [*range(LOOK_EVERY, n, LOOK_EVERY), n]

    def looks(self, base: FloatArray, new: FloatArray, after: Sequence[int]) -> list[Look]:
        """The same after each number of instances in `after`; one that ends the test does not end the list."""
        lost, gained = (base == 1) & (new == 0), (base == 0) & (new == 1)
        t = len(base)
        worse = np.cumsum(np.where(lost, self._lost[:, :t], np.where(gained, self._gained[:, :t], 0.0)), axis=1)
        against = np.cumsum(
            np.where(lost, self._against_lost[:, :t], np.where(gained, self._against_gained[:, :t], 0.0)), axis=1
        )
        return [
            self._look(worse[:, k - 1], against[:, k - 1], k, int(lost[:k].sum()), int(gained[:k].sum())) for k in after
        ]

    def _look(self, worse: FloatArray, against: FloatArray, t: int, lost: int, gained: int) -> Look:
        need = -np.log(self.settings.alpha)
        evidence = float(logsumexp(worse) - np.log(len(worse)))
        counter = float(against.min())
        chance = max(self._chance_of_worse(worse, need, t, lost / t), self._chance_of_not_worse(against, need, t))
        decision = Decision.OPEN
        if evidence >= need:
            decision = Decision.WORSE
        elif counter >= need:
            decision = Decision.NOT_WORSE
        elif chance < self.settings.futility:
            decision = Decision.HOPELESS
        return Look(
            decision, t, lost, gained, float(np.exp(min(evidence, 700))), float(np.exp(min(counter, 700))), chance
        )

    def _chance_of_worse(self, worse: FloatArray, need: float, t: int, trend: float) -> float:
        """By the normal approximation at the last instance, for the δ and the shape that promise most.

        Either the drop asked about is there, or what has been lost so far (`trend`, share of the instances) goes on.
        """
        left = len(self.order) - t
        going_on = (np.full(left, trend), self._flips[t:] / 2)
        best = 0.0
        for lost, gained in [*((lost[t:], gained[t:]) for lost, gained in self._chances), going_on]:
            mean, variance = _sums(self._lost[:, t:], self._gained[:, t:], lost, gained)
            best = max(best, float(_above(worse + mean - need - np.log(len(worse)), variance).max()))
        return best

    def _chance_of_not_worse(self, against: FloatArray, need: float, t: int) -> float:
        half = self._flips[t:] / 2
        mean, variance = _sums(self._against_lost[:, t:], self._against_gained[:, t:], half, half)
        return float(_above(against + mean - need, variance).min())


def _sums(
    lost: FloatArray, gained: FloatArray, p_lost: FloatArray, p_gained: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(g,) mean and (g,) variance of the evidence that the instances left add."""
    mean = lost * p_lost + gained * p_gained
    square = lost**2 * p_lost + gained**2 * p_gained
    return mean.sum(axis=1), (square - mean**2).sum(axis=1)


def _above(mean: FloatArray, variance: FloatArray) -> FloatArray:
    return np.asarray(ndtr(mean / np.sqrt(np.maximum(variance, 1e-12))))
