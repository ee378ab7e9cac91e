"""What a quantity of further cells, such as their cost, is expected to come to, and how far that may be off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.run.cost_prediction import PredictedCosts

ENOUGH = 3
"""Recorded cells from which a mean is taken."""
DRAWS = 2000
"""Of a distribution."""
MANY = 500
"""More further cells than this are drawn as their sum, which is then close to normal."""


@dataclass(frozen=True)
class Published:
    """Mean and standard deviation over cells that are not at hand themselves."""

    cells: int
    mean: float
    sd: float


@dataclass(frozen=True)
class Expected:
    """One quantity of further cells, by the best that is known of it."""

    own: Sequence[float]
    """Of the model's finished cells in this run."""
    past: Mapping[str, float]
    """Recorded elsewhere, by instance."""
    assumed: float
    """Of a cell of which nothing is recorded."""
    published: Published | None = None
    predicted: PredictedCosts | None = None
    """By what is known of the instances, learned from the recorded values."""

    @property
    def source(self) -> Literal["own", "past", "published", "assumed"]:
        """What the figures rest on."""
        if len(self.own) >= ENOUGH:
            return "own"
        if len(self.past) >= ENOUGH:
            return "past"
        return "published" if self.published is not None else "assumed"

    @property
    def mean(self) -> float:
        """Of one cell."""
        if self.source == "published" and self.published is not None:
            return self.published.mean
        return float(np.mean(self._values)) if self.source in ("own", "past") else self.assumed

    def of(self, instances: Sequence[str]) -> float:
        """The sum over the cells of some instances: each one's record, else its prediction, else the mean."""
        return float(self._each(instances).sum())

    def _each(self, instances: Sequence[str]) -> NDArray[np.float64]:
        """(n,) Of each instance: its own record, else what is predicted, else the mean."""
        mean = self.mean
        expected = {instance: mean for instance in instances}
        if self.predicted is not None:
            expected |= {name: self.predicted.by_instance.get(name, mean) for name in expected}
        if self.source == "past":
            expected |= {name: self.past[name] for name in expected if name in self.past}
        return np.array([expected[instance] for instance in instances], dtype=np.float64)

    def draws(self, instances: Sequence[str], *, seed: int = 0) -> NDArray[np.float64] | None:
        """Draws of that sum for an interval; None where it rests on an assumption.

        The records are resampled twice: as the sample that their mean comes from, and as the further cells.
        """
        n, expected, rng = len(instances), self.of(instances), np.random.default_rng(seed)
        if not n:
            return np.zeros(DRAWS)
        if self.source == "assumed":
            return None
        if self.predicted is not None:
            return np.maximum(expected + self.predicted.deviations(self._each(instances), DRAWS, rng), 0.0)
        if self.source == "published" and self.published is not None:
            known, sd = self.published.cells, self.published.sd
        else:
            known, sd = len(self._values), float(np.std(self._values, ddof=1))
        if self.source == "published" or n > MANY:
            deviation = rng.normal(0, sd * math.sqrt(n + n * n / known), DRAWS)
        else:
            values = np.asarray(self._values)
            means = rng.choice(values, (DRAWS, known)).mean(axis=1)
            sums = rng.choice(values, (DRAWS, n)).sum(axis=1)
            deviation = sums - n * values.mean() + n * (means - values.mean())
        return np.maximum(expected + deviation, 0.0)

    @property
    def _values(self) -> list[float]:
        return list(self.own if self.source == "own" else self.past.values())


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of some draws."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)
