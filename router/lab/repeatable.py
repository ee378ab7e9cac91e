"""How much of the any-solves oracle would repeat if the same models were run again.

The oracle takes, per instance, a run that happened to resolve it. Some of that is skill that comes back, some is luck.
The model is a probit variance decomposition: run r of model h on instance i resolves it when

    √ρ_b · d_i + √(ρ_w − ρ_b) · e_ih + √(1 − ρ_w) · ε_ihr  >  t_h,      d, e, ε ~ N(0, 1) independent,

d is how easy the instance is for everyone, e what this model makes of it every time (the part a router could learn), ε
what differs between two runs of one model. Two runs of one model then have the tetrachoric correlation ρ_w, runs of two
models ρ_b, so both can be read off counts of "both resolved": ρ_w from repeats, ρ_b from the pool. The share of the
model × instance part that repeats is (ρ_w − ρ_b) / (1 − ρ_b).

The repeatable oracle is what the best choice made on the recorded runs is expected to resolve when it is run again:
Σ_i max_h E[y'(i, h) | recorded verdicts of i], integrated over d and e by quadrature. The any-solves oracle takes a
weak model's lucky run for skill; this one asks how far such a run is evidence.

Pearson's tetrachoric correlation: Phil. Trans. R. Soc. A 195 (1900); the bivariate normal integral over r: Drezner and
Wesolowsky, J. Stat. Comput. Simul. 35 (1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from router.arrays import FloatArray, IntArray
from router.outcomes import OutcomeError, OutcomeMatrix

LEAST = 30
"""Instances below which a correlation of verdicts says nothing."""
LIMIT = 0.99
"""Correlations are kept within ± this."""
BOOTSTRAPS = 200
"""Resamples of instances behind the intervals."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_Z, _ZW = np.polynomial.hermite_e.hermegauss(48)
_ZW = _ZW / _ZW.sum()


@dataclass(frozen=True, eq=False)
class Repeatable:
    """What choosing by the recorded runs would bring again."""

    resolved: float
    """instances that the best choices, made on the recorded runs, are expected to resolve when run again"""
    choices: IntArray
    """(n,) these choices"""
    resolved_ci95: tuple[float, float]
    """from resampling instances, of the pool and of the repeats; sampling error only, not another choice of models"""
    share: float
    """of the model × instance part of an outcome, what repeats: (ρ_w − ρ_b) / (1 − ρ_b)"""
    share_ci95: tuple[float, float]
    within: float
    """ρ_w implied for the pool"""
    between: float
    """ρ_b, mean over pairs of the pool's models"""


def both_above(a: FloatArray, b: FloatArray, rho: FloatArray) -> FloatArray:
    """P(Z₁ > a, Z₂ > b) of standard normals with correlation ρ; arrays broadcast, |ρ| < 1."""
    a, b, rho = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float), np.asarray(rho, float))
    # ∫₀^ρ φ₂(a, b; r) dr with r = sin θ, which is smooth up to |ρ| = 1
    half = np.arcsin(rho)[..., None] / 2
    theta = half * (_NODES + 1)
    sine, cosine2 = np.sin(theta), np.cos(theta) ** 2
    exponent = -(a[..., None] ** 2 + b[..., None] ** 2 - 2 * a[..., None] * b[..., None] * sine) / (2 * cosine2)
    integral = (half[..., 0] * (np.exp(exponent) @ _WEIGHTS)) / (2 * np.pi)
    return np.asarray(ndtr(-a) * ndtr(-b) + integral)


def tetrachoric(a_rate: FloatArray, b_rate: FloatArray, both: FloatArray) -> FloatArray:
    """Correlation of the latent normals of two 0/1 variables with these rates and this share of "both 1".

    Rates of 0 or 1 carry no information: NaN. Values are kept within ±0.99.
    """
    a_rate, b_rate, both = np.broadcast_arrays(a_rate, b_rate, both)
    informative = (a_rate > 0) & (a_rate < 1) & (b_rate > 0) & (b_rate < 1)
    a = -ndtri(np.where(informative, a_rate, 0.5))
    b = -ndtri(np.where(informative, b_rate, 0.5))
    low, high = np.full(a.shape, -LIMIT), np.full(a.shape, LIMIT)
    for _ in range(24):
        middle = (low + high) / 2
        above = both_above(a, b, middle) > both
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(informative, (low + high) / 2, np.nan)


def repeatable_oracle(
    outcomes: OutcomeMatrix, repeats: Sequence[OutcomeMatrix], *, bootstraps: int = BOOTSTRAPS, seed: int = 0
) -> Repeatable:
    """The repeatable part of a pool's oracle.

    Args:
        outcomes: the pool (n, m), every verdict known, m > 1.
        repeats: per model that was run repeatedly, its runs as the "models" of a matrix over some of the pool's
            instances. The model need not be in the pool: what carries over is the share of the model × instance part
            that repeats, measured against the pool's ρ_b on the same instances.
        bootstraps: resamples of instances behind the intervals.

    Raises:
        OutcomeError: verdicts are missing in the pool, it has one model, or no repeats share enough instances with it.
    """
    if not outcomes.complete() or len(outcomes.models) < 2:
        raise OutcomeError("a repeatable oracle needs a complete matrix of at least 2 models")
    rows = {instance: i for i, instance in enumerate(outcomes.instances)}
    groups: list[tuple[FloatArray, IntArray]] = []
    for group in repeats:
        shared = [k for k, instance in enumerate(group.instances) if instance in rows]
        if len(group.models) >= 2 and len(shared) >= LEAST:
            at = np.array([rows[group.instances[k]] for k in shared], dtype=np.int64)
            groups.append((np.asarray(group.resolved[shared]), at))
    if not groups:
        raise OutcomeError(
            f"no model was run at least twice on at least {LEAST} of the pool's instances; the repeats cannot be used"
        )
    verdicts = outcomes.resolved
    n = len(outcomes)
    share, between = _share(verdicts, groups, np.ones(n))
    again = _again(verdicts, share, between)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(bootstraps):
        times = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        s, b = _share(verdicts, groups, times)
        drawn.append((s, n * np.average(_again(verdicts, s, b).max(axis=1), weights=times)))
    low, high = np.full((2, 2), np.nan)
    if drawn:
        low, high = np.nanquantile(np.array(drawn), [0.025, 0.975], axis=0)
    return Repeatable(
        resolved=float(again.max(axis=1).sum()),
        choices=np.asarray(again.argmax(axis=1), dtype=np.int64),
        resolved_ci95=(float(low[1]), float(high[1])),
        share=share,
        share_ci95=(float(low[0]), float(high[0])),
        within=between + share * (1 - between),
        between=between,
    )


def _share(
    verdicts: FloatArray, groups: Sequence[tuple[FloatArray, IntArray]], times: FloatArray
) -> tuple[float, float]:
    """(share of the model × instance part that repeats, ρ_b of the pool), instances counted `times` (n,)."""
    shares, weights = [], []
    for runs, at in groups:
        within = _mean_correlation(runs, times[at])
        between = _mean_correlation(verdicts[at], times[at])
        shares.append((within - between) / (1 - between))
        # a group counts by its instances: its pairs of runs share their instances' luck
        weights.append(len(at))
    known = ~np.isnan(shares)
    share = float(np.average(np.array(shares)[known], weights=np.array(weights)[known])) if known.any() else 0.0
    between = _mean_correlation(verdicts, times)
    return min(max(share, 0.0), 1.0), 0.0 if np.isnan(between) else between


def _mean_correlation(verdicts: FloatArray, times: FloatArray) -> float:
    """Mean tetrachoric correlation over pairs of columns, rows counted `times`; unknown cells are left out."""
    known = ~np.isnan(verdicts)
    y = np.where(known, verdicts, 0.0)
    weighted = known * times[:, None]
    common = weighted.T @ known
    both = (y * times[:, None]).T @ y
    a = (y * times[:, None]).T @ known  # column a's successes where b is known
    i, j = np.triu_indices(verdicts.shape[1], 1)
    enough = common[i, j] >= LEAST
    if not enough.any():
        return float("nan")
    i, j = i[enough], j[enough]
    correlations = tetrachoric(a[i, j] / common[i, j], a[j, i] / common[i, j], both[i, j] / common[i, j])
    return float(np.nanmean(correlations)) if not np.isnan(correlations).all() else float("nan")


def _again(verdicts: FloatArray, share: float, between: float) -> FloatArray:
    """(n, m) P(the model resolves when run again | the recorded verdicts of all models)."""
    n = len(verdicts)
    between = min(max(between, 0.0), LIMIT)
    rates = np.clip(verdicts.mean(axis=0), 0.5 / n, 1 - 0.5 / n)
    # given d, each model is a probit of its own: threshold (q, m), and two runs of it correlate by the share
    limit = (-ndtri(rates) - np.sqrt(between) * _Z[:, None]) / np.sqrt(1 - between)
    p = np.clip(ndtr(-limit), 1e-12, 1 - 1e-12)
    twice = both_above(limit, limit, np.asarray(min(share, LIMIT)))
    after_success, after_failure = twice / p, (p - twice) / (1 - p)
    likelihood = verdicts @ np.log(p).T + (1 - verdicts) @ np.log1p(-p).T  # (n, q)
    posterior = np.exp(likelihood - likelihood.max(axis=1, keepdims=True)) * _ZW
    posterior /= posterior.sum(axis=1, keepdims=True)
    return np.asarray(np.where(verdicts == 1, posterior @ after_success, posterior @ after_failure))
