"""A two-parameter item-response model of outcomes: which instances are hard, which models are able.

P(model h resolves instance i) = σ(a_i·θ_h − b_i), Birnbaum's two-parameter logistic model (Lord and Novick, Statistical
Theories of Mental Test Scores, 1968, ch. 17), fitted by joint maximum a posteriori estimation with normal priors:

    θ_h ~ N(0, ability_sd²)        a_i ~ N(1, slope_sd²)        b_i ~ N(b̄, difficulty_sd²), b̄ estimated

Slopes are shrunk to the common slope 1, which fixes the scale (θ is in logits at the common slope); the abilities' zero
mean fixes the origin. With items or abilities fixed the log posterior is concave, so alternating Newton steps, each
solved in closed form for all items (2 × 2 systems) or all models (scalars) at once, climb to a maximum from a fixed
start: no random numbers. Missing cells drop out of the likelihood. The priors keep rows and columns of only 0 or only 1
finite.

Items that other runs have already measured (`around`) have the normal approximation of their posterior as their prior
(Laplace's method: the mode, and the curvature there as precision) instead of the common one. It fixes scale and origin,
and few runs then take a few cheap steps however many others stand behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from router.arrays import FloatArray

MAX_STEP = 1.5
"""a Newton step in logits is cut to this: far from the maximum the quadratic approximation overshoots"""


@dataclass(frozen=True)
class Priors:
    """Standard deviations of the normal priors, in logits."""

    ability_sd: float = 2.0
    """of abilities around 0: wide, the recorded runs range from 9 % to 77 % resolved"""
    slope_sd: float = 0.7
    """of slopes around the common slope 1; 0 gives the one-parameter (Rasch) model"""
    difficulty_sd: float = 3.0
    """of difficulties around their estimated mean: wide enough for instances that all or none resolve"""


@dataclass(frozen=True, eq=False)
class ItemResponse:
    """Fitted parameters of n instances and m models."""

    ability: FloatArray
    """(m,) θ"""
    slope: FloatArray
    """(n,) a"""
    difficulty: FloatArray
    """(n,) b"""
    precision: FloatArray
    """(n, 3) curvature of the negative log posterior in every item's (a, a), (a, b), (b, b)"""
    priors: Priors
    iterations: int
    """rounds until no parameter moved by more than the tolerance"""

    def probability(self, ability: FloatArray | None = None) -> FloatArray:
        """(n, m) P(resolved), for the fitted models or for those of the given abilities (m,)."""
        theta = self.ability if ability is None else np.asarray(ability, dtype=np.float64)
        return np.asarray(expit(np.outer(self.slope, theta) - self.difficulty[:, None]))


@dataclass(frozen=True, eq=False)
class _ItemPrior:
    """Normal prior of every item's (a, b): mode and precision, scalars or (n,)."""

    slope: FloatArray | float
    difficulty: FloatArray | float
    aa: FloatArray | float
    ab: FloatArray | float
    bb: FloatArray | float


def fit_irt(
    resolved: FloatArray,
    priors: Priors | None = None,
    *,
    around: ItemResponse | None = None,
    max_iterations: int = 60,
    tolerance: float = 1e-3,
) -> ItemResponse:
    """Joint MAP fit to verdicts (n, m): 1, 0 or NaN for unknown. ValueError for another shape or when none is known.

    An instance without verdicts gets the mean difficulty and the common slope, a model without any gets ability 0.
    With `around`, a fit of other runs to the same n instances, their posterior is the items' prior.
    """
    priors = priors or Priors()
    resolved = np.asarray(resolved, dtype=np.float64)
    if resolved.ndim != 2:
        raise ValueError(f"verdicts must be an (n, m) matrix, got shape {resolved.shape}")
    if around is not None and len(around.slope) != len(resolved):
        raise ValueError(f"{len(resolved)} instances cannot be fitted around {len(around.slope)} items")
    known = ~np.isnan(resolved)
    if not known.any():
        raise ValueError("no verdict is known: nothing to fit an item-response model to")
    mask, hits = known.astype(np.float64), np.where(known, resolved, 0.0)
    ability = _smoothed_logit(hits.sum(axis=0), mask.sum(axis=0))
    if around is None:
        slope, difficulty = np.ones(len(resolved)), -_smoothed_logit(hits.sum(axis=1), mask.sum(axis=1))
        ability -= ability.mean()
    else:
        slope, difficulty = around.slope, around.difficulty
        ability += difficulty.mean()
    item_prior = None if around is None else _ItemPrior(slope, difficulty, *around.precision.T)
    rounds = 0
    while rounds < max_iterations:
        rounds += 1
        before = ability, slope, difficulty
        prior = item_prior or _common_prior(difficulty, priors)
        slope, difficulty, precision = _item_step(hits, mask, ability, slope, difficulty, prior)
        if priors.slope_sd == 0:
            slope = np.ones_like(slope)
        ability = _ability_step(hits, mask, ability, slope, difficulty, priors)
        if item_prior is None:
            ability, slope, difficulty = _rescale(ability, slope, difficulty, priors)
        moves = zip((ability, slope, difficulty), before, strict=True)
        if max(float(np.abs(new - old).max()) for new, old in moves) < tolerance:
            break
    return ItemResponse(ability, slope, difficulty, precision, priors, rounds)


def _smoothed_logit(hits: FloatArray, count: FloatArray) -> FloatArray:
    return np.asarray(np.log((hits + 0.5) / (count - hits + 0.5)))


def _rescale(
    ability: FloatArray, slope: FloatArray, difficulty: FloatArray, priors: Priors
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The best of all equally likely parameters by the priors: θ ← c·θ + d, a ← a/c, b ← b + a·d/c.

    The likelihood does not know scale and origin, so alternating steps crawl along them; here they are solved for.
    """
    pull, spread = priors.ability_sd**-2, priors.difficulty_sd**-2
    if priors.slope_sd > 0:
        # d/dc of Σ(cθ)²/σ_θ² + Σ(a/c − 1)²/σ_a² is 0 where (Σθ²/σ_θ²)·c⁴ + (Σa/σ_a²)·c = Σa²/σ_a²: Newton's steps
        tight = priors.slope_sd**-2
        fourth, first, rest = pull * (ability @ ability), tight * slope.sum(), tight * (slope @ slope)
        c = 1.0
        for _ in range(5):
            c = max(c - (fourth * c**4 + first * c - rest) / (4 * fourth * c**3 + first), 0.5) if first > 0 else 1.0
        ability, slope = c * ability, slope / c
    off = slope - slope.mean()
    d = -(pull * ability.sum() + spread * (difficulty @ off)) / (pull * len(ability) + spread * (off @ off))
    return ability + d, slope, difficulty + slope * d


def _common_prior(difficulty: FloatArray, priors: Priors) -> _ItemPrior:
    # no spread of slopes at all is a precision that no outcome moves
    slope_precision = min(priors.slope_sd**-2, 1e12) if priors.slope_sd > 0 else 1e12
    return _ItemPrior(1.0, float(difficulty.mean()), slope_precision, 0.0, priors.difficulty_sd**-2)


def _item_step(
    hits: FloatArray,
    mask: FloatArray,
    ability: FloatArray,
    slope: FloatArray,
    difficulty: FloatArray,
    prior: _ItemPrior,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """One Newton step of every item's (a, b), and the (n, 3) curvature it was taken with."""
    p = expit(np.outer(slope, ability) - difficulty[:, None])
    residual, weight = hits - mask * p, mask * (p * (1.0 - p))
    off_a, off_b = slope - prior.slope, difficulty - prior.difficulty
    g_a = residual @ ability - prior.aa * off_a - prior.ab * off_b
    g_b = -residual.sum(axis=1) - prior.ab * off_a - prior.bb * off_b
    h_aa = weight @ ability**2 + prior.aa
    h_ab = prior.ab - weight @ ability
    h_bb = weight.sum(axis=1) + prior.bb
    determinant = h_aa * h_bb - h_ab**2
    step_a = np.clip((h_bb * g_a - h_ab * g_b) / determinant, -MAX_STEP, MAX_STEP)
    step_b = np.clip((h_aa * g_b - h_ab * g_a) / determinant, -MAX_STEP, MAX_STEP)
    return slope + step_a, difficulty + step_b, np.column_stack([h_aa, h_ab, h_bb])


def _ability_step(
    hits: FloatArray, mask: FloatArray, ability: FloatArray, slope: FloatArray, difficulty: FloatArray, priors: Priors
) -> FloatArray:
    """One Newton step of every model's θ."""
    p = expit(np.outer(slope, ability) - difficulty[:, None])
    gradient = slope @ (hits - mask * p) - ability / priors.ability_sd**2
    curvature = slope**2 @ (mask * p * (1.0 - p)) + priors.ability_sd**-2
    return np.asarray(ability + np.clip(gradient / curvature, -MAX_STEP, MAX_STEP))
