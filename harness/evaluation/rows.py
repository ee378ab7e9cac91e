"""Rows of the results table, each from one replay of a way of choosing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.schema import CurvePoint, Evaluation, Kind, RandomClusters, Row, TradeOff, VsBestSingle
from harness.evaluation.stats import mcnemar_exact, paired_bootstrap, wilson_interval

if TYPE_CHECKING:
    from router.lab.crossfit import CrossFit
    from router.outcomes import OutcomeMatrix, Replay


@dataclass(frozen=True)
class CurveFigures:
    """Figures of a cost–quality curve; None where costs are unknown."""

    area: float | None = None
    qnc: float | None = None
    aiq: float | None = None


def make_row(
    name: str,
    kind: Kind,
    evaluation: Evaluation,
    replay: Replay,
    *,
    best: Replay | None,
    p_value: float | None = None,
    models: tuple[str, ...] | None = None,
    figures: CurveFigures | None = None,
    null: RandomClusters | None = None,
    curve: list[CurvePoint] | None = None,
    trade_off: TradeOff | None = None,
    null_sd: float | None = None,
    seed: int = 0,
) -> Row:
    """One row, over the instances whose verdict is known to `replay`.

    Args:
        best: the best single model over the same rows of the matrix; None where there is none to compare with.
        models: names for the routing share; None leaves it out.
        null_sd: of the permutation null behind `p_value`.
        seed: of the paired bootstrap.
    """
    known = ~np.isnan(replay.resolved)
    n, resolved = int(known.sum()), float(replay.resolved[known].sum())
    figures = figures or CurveFigures()
    return Row(
        name=name,
        kind=kind,
        evaluation=evaluation,
        n=n,
        resolved=round(resolved, 9),  # means over repeats carry noise in the last digits
        rate=resolved / n,
        rate_ci95=wilson_interval(min(resolved, n), n),
        cost_per_instance=_or_none(replay.cost_per_instance),
        seconds_per_instance=_or_none(replay.seconds_per_instance),
        vs_best_single=None if best is None else _against(replay, best, p_value, null_sd, seed),
        routing_share=None if models is None else dict(zip(models, map(float, replay.share), strict=True)),
        area=figures.area,
        qnc=figures.qnc,
        aiq=figures.aiq,
        null=null,
        curve=curve,
        trade_off=trade_off,
    )


def mcnemar(a: Replay, b: Replay) -> float:
    """Exact McNemar over the instances known to both; both with verdicts of 0 or 1."""
    return mcnemar_exact(
        int(((a.resolved == 1) & (b.resolved == 0)).sum()), int(((a.resolved == 0) & (b.resolved == 1)).sum())
    )


def curve_figures(fit: CrossFit, outcomes: OutcomeMatrix) -> CurveFigures:
    """Area, QNC and AIQ (see `router.lab.curves`), on the scale of the single models' mean costs.

    All None when a cost is unknown or nothing costs anything; QNC is None when the curve never reaches the best single
    model's rate.
    """
    from router.lab.curves import aiq, area, qnc

    means = outcomes.mean_cost()
    if fit.curve is None or np.isnan(outcomes.cost).any() or means.max() <= 0:
        return CurveFigures()
    best, curve = outcomes.best_single(), fit.curve
    cost_ratio = None
    if means[best] > 0:
        cost_ratio = qnc(curve.cost, curve.quality, float(means[best]), float(outcomes.rates()[best]))
    return CurveFigures(
        area=area(curve.cost, curve.quality, float(means.max())),
        qnc=None if cost_ratio is None or math.isinf(cost_ratio) else cost_ratio,
        aiq=aiq(curve.cost, curve.quality, float(means.min()), float(means.max())),
    )


def curve_points(fit: CrossFit, outcomes: OutcomeMatrix) -> list[CurvePoint] | None:
    """The cost-weight sweep, each point once; None when a cost is unknown."""
    if fit.curve is None or np.isnan(outcomes.cost).any():
        return None
    points = zip(fit.curve.cost.round(9).tolist(), fit.curve.quality.round(9).tolist(), strict=True)
    return [CurvePoint(cost=cost, rate=rate) for cost, rate in dict.fromkeys(points)]


def _against(
    replay: Replay, best: Replay, p_value: float | None, null_sd: float | None, seed: int
) -> VsBestSingle | None:
    both = ~np.isnan(replay.resolved) & ~np.isnan(best.resolved)
    if not both.any():
        return None
    difference = paired_bootstrap(replay.resolved[both], best.resolved[both], seed=seed)
    return VsBestSingle(
        delta=round(difference.delta, 9),
        ci95=(round(difference.low, 9), round(difference.high, 9)),
        p_value=p_value,
        null_sd=null_sd,
    )


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
