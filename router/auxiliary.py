"""Auxiliary runs must be other runs: one recorded under two names would hand a router the answers it is tested on."""

from __future__ import annotations

import numpy as np

from router.outcomes import OutcomeMatrix

SAME_RUN = 0.02
"""Two records that differ on at most this share of the instances known to both are one run. Repeated runs of one model
differ on 10 % and more; only runs that resolve next to nothing come closer, and little is lost with them."""


def without_repeats(
    auxiliary: OutcomeMatrix, outcomes: OutcomeMatrix, share: float = SAME_RUN
) -> tuple[OutcomeMatrix, tuple[tuple[str, str], ...]]:
    """`auxiliary` less the runs that repeat one of `outcomes` or an earlier auxiliary one; pairs (dropped, same as).

    Both over the same instances, in the same order (ValueError otherwise). Names do not matter, except that an
    auxiliary run of the very name of a pool's is dropped as well.
    """
    if auxiliary.instances != outcomes.instances:
        raise ValueError("auxiliary outcomes must be on the same instances as the pool's, in the same order")
    kept: list[int] = []
    dropped: list[tuple[str, str]] = []
    for j, name in enumerate(auxiliary.models):
        column = auxiliary.resolved[:, j]
        others = np.column_stack([outcomes.resolved, auxiliary.resolved[:, kept]])
        names = [*outcomes.models, *(auxiliary.models[k] for k in kept)]
        both = ~np.isnan(others) & ~np.isnan(column)[:, None]
        differ = ((others != column[:, None]) & both).sum(axis=0)
        same = (differ <= share * both.sum(axis=0)) & both.any(axis=0)
        if name in outcomes.models:
            dropped.append((name, name))
        elif same.any():
            dropped.append((name, names[int(np.argmax(same))]))
        else:
            kept.append(j)
    return auxiliary.pool([auxiliary.models[k] for k in kept]), tuple(dropped)
