"""Both sides of a comparison on their common instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.compare.load import RunOutcomes
from harness.compare.noise import Noise
from harness.compare.pairs import Outcomes
from router.outcomes import OutcomeMatrix


@dataclass(frozen=True)
class Sides:
    """Both sides on their common instances."""

    base: RunOutcomes
    new: RunOutcomes
    instances: list[str]
    base_matrix: OutcomeMatrix
    new_matrix: OutcomeMatrix
    texts: list[str] | None
    """Of the instances; None where one is unknown."""
    paired: Sequence[tuple[str, str]]
    """Models on both sides, by their names there."""
    noise: Noise
    seed: int | None
    """Given by the user."""

    @property
    def bootstrap_seed(self) -> int:
        return self.seed or 0

    @property
    def both_routed(self) -> bool:
        return self.base.routed is not None and self.new.routed is not None

    @property
    def both_matrices(self) -> bool:
        return self.base.routed is None and self.new.routed is None


def outcomes_of(matrix: OutcomeMatrix, model: str) -> Outcomes:
    """Of one model of a side."""
    j = matrix.models.index(model)
    return Outcomes(resolved=matrix.resolved[:, j], cost=matrix.cost[:, j], seconds=matrix.seconds[:, j])


def lacking(base: Outcomes, new: Outcomes) -> list[int]:
    """Instances that the base has a verdict on and the new side has none."""
    found: list[int] = np.flatnonzero(~np.isnan(base.resolved) & np.isnan(new.resolved)).tolist()
    return found


def live_outcomes(side: RunOutcomes, instances: Sequence[str]) -> Outcomes:
    """Of a side's live routed system."""
    assert side.routed is not None
    unknown = (np.nan, np.nan, np.nan)
    resolved, cost, seconds = np.array([side.routed.get(i, unknown) for i in instances], dtype=np.float64).T
    return Outcomes(resolved=resolved, cost=cost, seconds=seconds)
