"""A run's graded cells as arrays, which is all that the router knows of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.grading.verdict import Verdict
from harness.importers.repeats import RepeatedModel, repeated_model
from harness.store.rows import CellRow, State
from router.outcomes import OutcomeMatrix

OWN_COLUMNS = frozenset({"cost_usd", "calls", "seconds"})
"""Signals that outcomes have columns of their own for."""
OWN_AGENT = "mini-swe-agent"
"""What makes a run's attempts."""


def repeats_of_run(rows: Iterable[CellRow], models: Sequence[str]) -> list[RepeatedModel]:
    """The models among `rows` that attempted instances several times."""
    verdicts: dict[str, dict[int, dict[str, bool | None]]] = {model: {} for model in models}
    for row in rows:
        if row.model in verdicts:
            known = (row.verdict is Verdict.RESOLVED) if row.state is State.GRADED else None
            verdicts[row.model].setdefault(row.attempt, {})[row.instance_id] = known
    found = [
        repeated_model(model, [attempts.get(number, {}) for number in range(1, max(attempts) + 1)], agent=OWN_AGENT)
        for model, attempts in verdicts.items()
        if attempts
    ]
    return [model for model in found if model is not None]


def matrix_of_run(
    rows: Iterable[CellRow], instances: Sequence[str], models: Sequence[str], *, attempt: int = 1
) -> OutcomeMatrix:
    """The graded cells among `rows` as (n, m) arrays in the given order; NaN where there is no verdict.

    One attempt of each model: a mean over several would be no outcome that a run can have.
    """
    row_of = {instance: i for i, instance in enumerate(instances)}
    column_of = {model: j for j, model in enumerate(models)}
    graded = [
        row
        for row in rows
        if row.state is State.GRADED and row.attempt == attempt and row.instance_id in row_of and row.model in column_of
    ]
    at = [row_of[row.instance_id] for row in graded], [column_of[row.model] for row in graded]
    shape = len(instances), len(models)

    def table(values: Iterable[float | None]) -> NDArray[np.float64]:
        array = np.full(shape, np.nan)
        array[at] = np.array(list(values), dtype=np.float64)  # None becomes NaN
        return array

    arrays = {
        "resolved": table(row.verdict is Verdict.RESOLVED for row in graded),
        "cost": table(row.cost_usd for row in graded),
        "calls": table(row.api_calls for row in graded),
        "seconds": table(row.agent_seconds for row in graded),
    }
    names = {name for row in graded for name in row.signals} - OWN_COLUMNS
    signals = {name: table(row.signals.get(name) for row in graded) for name in names}
    return OutcomeMatrix.build(instances, models, **arrays, signals=dict(sorted(signals.items())))
