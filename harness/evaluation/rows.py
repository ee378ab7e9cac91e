"""Rows of the results table, each from one replay of a way of choosing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.evaluation.schema import (
    CurvePoint,
    Evaluation,
    Kind,
    RandomClusters,
    Row,
    TradeOff,
    VsBestSingle,
    VsConstants,
)
from harness.evaluation.stats import mcnemar_exact, paired_bootstrap, sign_flip_p, wilson_interval
from harness.evaluation.trade_off import trade_off
from router.arrays import FloatArray
from router.curves import aiq, area, qnc
from router.lab.crossfit import CrossFit
from router.outcomes import OutcomeMatrix, Replay


@dataclass(frozen=True)
class TextTest:
    """Whether reading the text helps: a permutation null."""

    p_value: float
    null_sd: float | None = None
    """In resolved instances; None where nothing was permuted."""


@dataclass(frozen=True)
class Sweep:
    """What a policy does over all weights of cost; all None where a cost is unknown."""

    area: float | None = None
    qnc: float | None = None
    aiq: float | None = None
    curve: list[CurvePoint] | None = None
    trade_off: TradeOff | None = None


def make_row(
    name: str,
    kind: Kind,
    evaluation: Evaluation,
    replay: Replay,
    *,
    best: Replay | None,
    constants: VsConstants | None = None,
    text_test: TextTest | None = None,
    models: tuple[str, ...] | None = None,
    sweep: Sweep | None = None,
    null: RandomClusters | None = None,
    seed: int = 0,
) -> Row:
    """One row, over the instances whose verdict is known to `replay`.

    Args:
        name: Of the model or policy.
        kind: What it is.
        evaluation: How its decisions were made.
        replay: What it chose, and what that resolved and cost.
        best: The best single model over the same rows of the matrix; None where there is none to compare with.
        constants: Its difference to constant policies, see `harness.evaluation.constants`.
        text_test: Of a policy that routes; None where none is made.
        models: Names for the routing share; None leaves it out.
        sweep: Over the weights of cost, for cross-fitted policies.
        null: What random clusters reach in-sample.
        seed: Of the paired bootstrap.
    """
    known = ~np.isnan(replay.resolved)
    n, resolved = int(known.sum()), float(replay.resolved[known].sum())
    sweep, unpriced = sweep or Sweep(), replay.unpriced_share
    tested = kind == "single" or (kind == "policy" and evaluation == "cross-fitted")
    return Row(
        name=name,
        kind=kind,
        evaluation=evaluation,
        n=n,
        resolved=round(resolved, 9),  # means over repeats carry noise in the last digits
        rate=resolved / n,
        rate_ci95=wilson_interval(min(resolved, n), n),
        cost_per_instance=_or_none(replay.cost_per_instance),
        cost_at_least=round(replay.cost_at_least, 9) if 0 < unpriced < 1 else None,
        unpriced_share=round(unpriced, 9),
        seconds_per_instance=_or_none(replay.seconds_per_instance),
        vs_best_single=None if best is None else _against(replay, best, tested, text_test, seed),
        vs_constants=constants,
        routing_share=None if models is None else dict(zip(models, map(float, replay.share), strict=True)),
        area=sweep.area,
        qnc=sweep.qnc,
        aiq=sweep.aiq,
        null=null,
        curve=sweep.curve,
        trade_off=sweep.trade_off,
    )


def sweep_of(fit: CrossFit, outcomes: OutcomeMatrix, seed: int) -> Sweep:
    """The cost-weight sweep of a cross-fitted policy, on the scale of the single models' mean costs.

    All None when a cost is unknown; the figures also when nothing costs anything, and QNC when the curve never reaches
    the best single model's rate.

    Args:
        fit: With its curve.
        outcomes: Of the single models, complete.
        seed: Of the trade-off's bootstrap.
    """
    if fit.curve is None or np.isnan(outcomes.cost).any():
        return Sweep()
    curve, means, best = fit.curve, outcomes.mean_cost(), outcomes.best_single()
    pairs = zip(curve.cost.round(9).tolist(), curve.quality.round(9).tolist(), strict=True)
    points = [CurvePoint(cost=cost, rate=rate) for cost, rate in dict.fromkeys(pairs)]
    if means.max() <= 0:
        return Sweep(curve=points)
    matched = math.inf
    if means[best] > 0:
        matched = qnc(curve.cost, curve.quality, float(means[best]), float(outcomes.rates()[best]))
    return Sweep(
        area=area(curve.cost, curve.quality, float(means.max())),
        qnc=None if math.isinf(matched) else matched,
        aiq=aiq(curve.cost, curve.quality, float(means.min()), float(means.max())),
        curve=points,
        trade_off=trade_off(fit, outcomes, seed=seed),
    )


def _against(replay: Replay, best: Replay, tested: bool, text_test: TextTest | None, seed: int) -> VsBestSingle | None:
    both = ~np.isnan(replay.resolved) & ~np.isnan(best.resolved)
    if not both.any():
        return None
    own, leader = replay.resolved[both], best.resolved[both]
    difference = paired_bootstrap(own, leader, seed=seed)
    return VsBestSingle(
        delta=round(difference.delta, 9),
        ci95=(round(difference.low, 9), round(difference.high, 9)),
        p_value=_p_of_difference(own, leader, seed) if tested else None,
        p_text=None if text_test is None else text_test.p_value,
        null_sd=None if text_test is None else text_test.null_sd,
    )


def _p_of_difference(own: FloatArray, best: FloatArray, seed: int) -> float:
    """Exact McNemar where every verdict is 0 or 1, else random signs."""
    if np.isin(own, (0.0, 1.0)).all():
        return mcnemar_exact(int((own > best).sum()), int((own < best).sum()))
    return sign_flip_p(own - best, seed)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def bounded(rows: Sequence[Row], instances: int) -> list[Row]:
    """Rows that do not cover all `instances` say so, with what they resolve if the rest was unresolved or resolved."""
    return [
        row
        if row.n >= instances
        else row.model_copy(
            update={"missing": instances - row.n, "bounds": (row.resolved, row.resolved + instances - row.n)}
        )
        for row in rows
    ]
