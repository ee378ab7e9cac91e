"""The row of a routed run, and beside it the models that attempted every instance that it decided.

A cascade runs few models on an instance, and nothing can be compared. Selection runs all its members on each: their
rows come for nothing, and with them the differences that a held-out row has.
"""

from __future__ import annotations

import numpy as np

from harness.evaluation.constants import against_constants
from harness.evaluation.formats import count, signed
from harness.evaluation.rows import make_row
from harness.evaluation.schema import Row
from harness.evaluation.verdict import FEW_INSTANCES, against_money, best_single
from harness.text import counted
from router.outcomes import OutcomeMatrix, Replay, single

ALONE = "only the routed cells were run, so this does not say whether routing beats a single model"


def live_rows(replay: Replay, outcomes: OutcomeMatrix, *, seed: int) -> list[Row]:
    """The routed row first, then the single models that are known on all its instances, if there are several.

    Args:
        replay: What was accepted, and what all attempts cost.
        outcomes: Of the same instances, with cells of models that were not asked unknown.
        seed: Of the bootstraps.
    """
    whole = np.flatnonzero(~np.isnan(outcomes.resolved).any(axis=0))
    if len(whole) < 2:
        return [make_row("routed", "policy", "live", replay, best=None, models=outcomes.models, seed=seed)]
    known = outcomes.pool([outcomes.models[h] for h in whole])
    best = single(known, known.best_single())
    rows = [
        make_row(
            "routed",
            "policy",
            "live",
            replay,
            best=best,
            constants=against_constants(replay, known, seed=seed),
            models=outcomes.models,
            seed=seed,
        )
    ]
    for h, name in enumerate(known.models):
        alone = single(known, h)
        constants = against_constants(alone, known, seed=seed)
        rows.append(make_row(name, "single", "live", alone, best=best, constants=constants, seed=seed))
    return rows


def compared_with(rows: list[Row]) -> str:
    """The end of a routed run's verdict: what the best of these models resolves alone, and what the same money buys."""
    routed, best = rows[0], best_single(rows)
    if best is None or routed.vs_best_single is None:
        return ALONE
    vs = routed.vs_best_single
    low, high = (signed(value) for value in vs.ci95)
    few = f"; {counted(routed.n, 'instance is', 'instances are')} too few to tell" if routed.n < FEW_INSTANCES else ""
    return (
        f"of the models that attempted the same instances, {best.name} alone resolves {count(best.resolved)} "
        f"(difference {signed(vs.delta)}, 95 % interval {low} to {high}){against_money(routed, [])}{few}"
    )
