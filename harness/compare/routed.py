"""The routed system on both sides, and the best single models beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.compare.pairs import Compared, Outcomes, compare_pair, with_missing
from harness.compare.sides import Sides, lacking, live_outcomes
from harness.config import RouterConfig
from harness.data.embeddings import embed_texts
from harness.evaluation.policy_rows import Laboratory
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings, shared_params
from harness.importers.matrices import LEAST_COVERAGE
from harness.text import counted
from router.arrays import IntArray
from router.lab.crossfit import CrossFit
from router.outcomes import OutcomeMatrix
from router.policies import is_baseline

LEAST_ROUTED = 10
"""Fewer instances with every verdict on both sides are not cross-fitted."""
POLICY = "cluster"
"""Cross-fitted where no run names another policy that routes."""


@dataclass(frozen=True)
class BestSingles:
    """The single model that resolved most on either side, over the same instances."""

    base_model: str
    base_resolved: int
    new_model: str
    new_resolved: int
    n: int


@dataclass(frozen=True)
class RoutedChange:
    """What is said of the routed system."""

    row: Compared | None = None
    why_not: str = ""
    """Why there is no row; empty where there is one."""
    best: BestSingles | None = None
    """None where no instance has every verdict, or a side is a routed run."""
    dropped: tuple[str, ...] = ()
    """Models on one side only that are left out of both, as they know too few of the common instances."""


def routed_change(sides: Sides) -> RoutedChange:
    """The routed system, live on both sides or cross-fitted on both; or why there is none."""
    if sides.both_routed:
        row, why_not = _live_row(sides)
        return RoutedChange(row, why_not)
    if not sides.both_matrices:
        return RoutedChange(why_not="one side ran only its routed cells, the other a matrix")
    base, new, dropped = _without_thin(sides)
    base_known, new_known = (~np.isnan(side.resolved).any(axis=1) for side in (base, new))
    known = np.flatnonzero(base_known & new_known)
    best = _best_singles(base.take(known), new.take(known)) if len(known) else None
    row = None
    if len(base.models) < 2 or len(new.models) < 2:
        why_not = "a side has one model only"
    elif sides.texts is None:
        why_not = "problem statements are needed: give --tasks"
    elif len(known) < LEAST_ROUTED:
        why_not = f"only {counted(len(known), 'instance has', 'instances have')} every verdict on both sides"
    else:
        row, why_not = _cross_fitted_row(sides, base.take(known), new.take(known), known), ""
        # what the base would have resolved where only the new side lacks verdicts is not known: at most all of it
        missing = [sides.instances[i] for i in np.flatnonzero(base_known & ~new_known).tolist()]
        row = with_missing(row, missing, np.ones(len(missing)), sides.noise, sides.bootstrap_seed)
    return RoutedChange(row, why_not, best, dropped)


def _without_thin(sides: Sides) -> tuple[OutcomeMatrix, OutcomeMatrix, tuple[str, ...]]:
    """Both matrices without models that would leave few instances with every verdict, and these models' names.

    A model that joined or left, and one that the base hardly knows, may be dropped. One that only the new side lacks
    verdicts of stays: its missing verdicts must not leave a gate open.
    """
    left, right = sides.base_matrix, sides.new_matrix
    thin_base, thin_new = _thin(left), _thin(right)
    new_name, base_name = dict(sides.paired), {b: a for a, b in sides.paired}
    out_base = thin_base
    out_new = {new_name[name] for name in thin_base if name in new_name}
    out_new |= {name for name in thin_new if name not in base_name}
    base = left.pool([name for name in left.models if name not in out_base])
    new = right.pool([name for name in right.models if name not in out_new])
    dropped = [
        f"{name} ({int((~np.isnan(side.resolved[:, side.models.index(name)])).sum())} of {len(side)})"
        for side, names in ((left, out_base), (right, {name for name in out_new if name not in base_name}))
        for name in side.models
        if name in names
    ]
    return base, new, tuple(dropped)


def _thin(matrix: OutcomeMatrix) -> set[str]:
    """Models that know less than LEAST_COVERAGE of what the widest knows: the rule of a pool that nobody named."""
    known = (~np.isnan(matrix.resolved)).sum(axis=0)
    return {name for name, n in zip(matrix.models, known.tolist(), strict=True) if n < LEAST_COVERAGE * known.max()}


def _best_singles(base: OutcomeMatrix, new: OutcomeMatrix) -> BestSingles:
    a, b = base.best_single(), new.best_single()
    return BestSingles(
        base_model=base.models[a],
        base_resolved=int(base.resolved[:, a].sum()),
        new_model=new.models[b],
        new_resolved=int(new.resolved[:, b].sum()),
        n=len(base),
    )


def _live_row(sides: Sides) -> tuple[Compared | None, str]:
    one, other = live_outcomes(sides.base, sides.instances), live_outcomes(sides.new, sides.instances)
    known = np.flatnonzero(~np.isnan(one.resolved) & ~np.isnan(other.resolved))
    if not len(known):
        return None, "no routed cell has a verdict on both sides"
    names = [sides.instances[i] for i in known.tolist()]
    seed = sides.bootstrap_seed
    row = compare_pair(
        "routed", names, one.take(known), other.take(known), sides.noise, kind="routed", how="live", seed=seed
    )
    missing = lacking(one, other)
    names = [sides.instances[i] for i in missing]
    return with_missing(row, names, one.resolved[missing], sides.noise, seed), ""


def _cross_fitted_row(sides: Sides, base: OutcomeMatrix, new: OutcomeMatrix, known: IntArray) -> Compared:
    """As the report evaluates it, by the new run's settings: on the same instances the numbers are the same."""
    assert sides.texts is not None
    router = sides.new.router or sides.base.router or RouterConfig()
    routing = [name for name in router.policy if name.partition(":")[0] != "auto" and not is_baseline(name)]
    policy = routing[0] if routing else POLICY
    seed = router.seed if sides.seed is None else sides.seed
    settings = EvaluationSettings(
        policies=[policy],
        params=shared_params(router.policy, router.params) if routing else {},
        folds=min(router.folds, len(known)),
        repeats=router.repeats,
        seed=seed,
    )
    X = embed_texts([sides.texts[i] for i in known.tolist()])

    def held_out(matrix: OutcomeMatrix) -> Outcomes:
        inputs = EvaluationInputs(outcomes=matrix, embeddings=X, dataset="")
        return _outcomes(Laboratory(inputs, settings).cross_fitted(policy))

    return compare_pair(
        "routed",
        [sides.instances[i] for i in known.tolist()],
        held_out(base),
        held_out(new),
        sides.noise,
        kind="routed",
        how=f"{policy}, cross-fitted: {settings.folds} folds × {settings.repeats} repeats",
        seed=sides.bootstrap_seed,
    )


def _outcomes(fit: CrossFit) -> Outcomes:
    return Outcomes(resolved=fit.resolved, cost=fit.cost, seconds=fit.seconds)
