"""Whether choosing among finished attempts could pay on a pool, or what it was measured to bring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.evaluation.schema import Row, Selection
from harness.evaluation.verdict import is_selection
from router.outcomes import OutcomeMatrix
from router.policies.select import TESTS, SelectPolicy

MEMBERS = SelectPolicy.members
NEAR = 0.04
"""Members have to be this close to the best one: a clear leader is better run alone, as the gain against the model that
training finds best is greatest where members are close (`results/selection`)."""


def measured(rows: Sequence[Row], outcomes: OutcomeMatrix) -> Row | None:
    """The held-out row of policy `select`; None where no tests were run, as it then hands in the default."""
    if not any(name in outcomes.signals for name in TESTS):
        return None
    return next((row for row in rows if is_selection(row) and row.evaluation == "cross-fitted"), None)


def selection_of(outcomes: OutcomeMatrix, row: Row | None, *, pays: bool) -> Selection | None:
    """What is known of selection on a pool.

    Args:
        outcomes: Complete, of two models or more.
        row: The measured row.
        pays: Policy `auto` takes it.

    Returns:
        None where no model resolved anything.
    """
    rates, cost = outcomes.rates(), outcomes.mean_cost()
    price = np.where(np.isnan(outcomes.cost).any(axis=0), np.nan, cost)
    order = np.lexsort((np.nan_to_num(price, nan=np.inf), -rates))
    best, members = order[0], order[:MEMBERS]
    if rates[best] <= 0:
        return None
    share = price[members].sum() / price[best] if price[best] > 0 else np.nan
    return Selection(
        near=int((rates >= rates[best] - NEAR - 1e-9).sum()),
        members=[outcomes.models[h] for h in members],
        points=round(100 * float(rates[best] - rates[members[-1]]), 6),
        cost_share=None if np.isnan(share) else round(float(share), 6),
        measured=None if row is None else row.name,
        pays=pays,
    )
