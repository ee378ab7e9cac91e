"""Intervals and tests for resolved rates on one set of instances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from router.arrays import Z95

RESAMPLES = 10_000
"""Of a paired bootstrap."""
MEAN_RESAMPLES = 2000
"""Of the bootstrap of a mean."""
CHUNK = 4_000_000
"""Draws held in memory at a time by the bootstrap."""


@dataclass(frozen=True)
class PairedDifference:
    """How far one model or policy is from another over the same instances, in resolved instances."""

    delta: float
    low: float
    high: float


def wilson_interval(resolved: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a rate of `resolved` out of `n`, both ends within [0, 1].

    `resolved` may be fractional: the mean of a policy over repeats, or a random choice's expectation. One actual run of
    either is again n draws of 0 or 1 with that mean rate, so the interval says where *one run* of it would be expected.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Raises:
        ValueError: n < 1 or not 0 <= resolved <= n.
    """
    if n < 1 or not 0 <= resolved <= n:
        raise ValueError(f"no rate: {resolved} resolved of {n}")
    rate = resolved / n
    scale = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def paired_bootstrap(
    a: Sequence[float] | NDArray[np.float64],
    b: Sequence[float] | NDArray[np.float64],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> PairedDifference:
    """Σ(a − b) over n instances with a percentile interval from resampling the instances, both sides together.

    Args:
        a, b: (n,) results of the two sides on the same instances; 0/1 or means over repeats.
        seed: the same seed gives the same interval, to the last digit.
        resamples: bootstrap samples of n instances each.
        level: coverage of the interval.

    The interval answers "other instances of this kind", not "other runs of the same models". Few distinct values (as
    0/1 outcomes have) are drawn by their counts, which is the same distribution and faster.

    Source: B. Efron and R. Tibshirani, *An Introduction to the Bootstrap* (1993), §13.3.

    Raises:
        ValueError: the shapes differ, or there is no instance.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1 or left.size == 0:
        raise ValueError(f"not paired: shapes {left.shape} and {right.shape}")
    difference = np.round(left - right, 12)
    n = difference.size
    rng = np.random.default_rng(seed)
    values, counts = np.unique(difference, return_counts=True)
    if values.size <= 64:
        sums = rng.multinomial(n, counts / n, size=resamples) @ values
    else:
        step = max(1, CHUNK // n)
        sums = np.concatenate(
            [
                difference[rng.integers(0, n, (min(step, resamples - start), n), dtype=np.int32)].sum(axis=1)
                for start in range(0, resamples, step)
            ]
        )
    low, high = np.quantile(sums, [(1 - level) / 2, (1 + level) / 2])
    return PairedDifference(delta=float(difference.sum()), low=float(low), high=float(high))


def bootstrap_mean(values: Sequence[float] | NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """A 95 % percentile interval for the mean of n values, from resampling them."""
    array = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(array), (MEAN_RESAMPLES, len(array)))
    low, high = np.quantile(array[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for all, in their order: the k-th smallest of m times m − k + 1, never below a smaller one's.

    Controls the chance of any false claim among the m tests, whatever their dependence. Source: S. Holm, "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    m = len(p_values)
    corrected = [0.0] * m
    floor = 0.0
    for rank, k in enumerate(sorted(range(m), key=lambda k: p_values[k])):
        floor = max(floor, min(1.0, p_values[k] * (m - rank)))
        corrected[k] = floor
    return corrected


def detectable_gain(
    null: Sequence[float] | NDArray[np.float64], standard_error: float, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The true gain that a permutation test claims with the given power; None when too few draws allow any claim.

    A claim needs p = (1 + #{null >= gain}) / (1 + B) < alpha and a gain above 0, so a gain above the critical value
    max(0, the null's k-th greatest draw). Observed gains scatter around the true one by `standard_error`, about
    normally. Gains in whatever unit `null` and `standard_error` have.
    """
    draws = np.sort(np.asarray(null, dtype=np.float64))[::-1]
    # the most draws that may reach the gain while p stays below alpha
    allowed = math.ceil(alpha * (1 + len(draws)) - 1) - 1
    if allowed < 0 or allowed >= len(draws):
        return None
    return max(0.0, float(draws[allowed])) + NormalDist().inv_cdf(power) * standard_error


def mostly_visible(null_sd: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """About the least gain that a one-sided test at `alpha` finds with `power`: (z(1 − alpha) + z(power)) · null_sd.

    A rule of thumb for a null known by its spread alone, as if gains scattered like the null's; see `detectable_gain`.
    """
    return (NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(power)) * null_sd


def sign_flip_p(difference: NDArray[np.float64], seed: int = 0, draws: int = RESAMPLES) -> float:
    """Two-sided p of Σ differences under random signs: McNemar's test for outcomes that are means over repeats."""
    nonzero = difference[difference != 0]
    if not len(nonzero):
        return 1.0
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // len(nonzero))
    reached = 0
    for start in range(0, draws, step):
        signs = rng.choice([-1.0, 1.0], size=(min(step, draws - start), len(nonzero)))
        reached += int((np.abs(signs @ nonzero) >= abs(nonzero.sum()) - 1e-9).sum())
    return float((1 + reached) / (1 + draws))


def detectable_difference(n: int, discordant: int, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The least true difference of two rates that the exact McNemar test finds with the given power.

    The share of instances on which the two differ is taken from the data and kept; the difference is how unevenly
    these instances fall to the two sides. The power is computed exactly over the binomial distributions of the number
    of discordant instances and of their split, as the test used is the exact one. For the approximation by normal
    distributions see R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43 (1987).

    Args:
        n: Instances known for both.
        discordant: Instances that exactly one of the two resolved.
        alpha: Level of the two-sided test.
        power: Chance of finding the difference.

    Returns:
        A share of the n instances; None where not even a completely uneven split would be found.
    """
    from scipy.stats import binom  # most of a second, and most commands test nothing

    if not 0 < discordant <= n:
        return None
    share = discordant / n
    counts = np.arange(n + 1)
    weights = binom.pmf(counts, n, share)
    counts, weights = counts[weights > 1e-9], weights[weights > 1e-9]
    # the test rejects where the smaller side has at most so many: -1 where no split of so few is significant
    limits = binom.ppf(alpha / 2, counts, 0.5).astype(int)
    limits -= binom.cdf(limits, counts, 0.5) > alpha / 2

    def found(difference: float) -> float:
        up = (1 + difference / share) / 2
        chance = binom.cdf(limits, counts, up) + binom.sf(counts - limits - 1, counts, up)
        return float((weights * chance).sum())

    if found(share) < power:
        return None
    low, high = 0.0, share
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def mcnemar_exact(a_only: int, b_only: int) -> float:
    """Two-sided p of McNemar's test for two models on the same instances, exact (binomial), not the χ² approximation.

    Only instances that one of the two resolved count: under equal skill each is a fair coin, so
    p = min(1, 2·P(X ≤ min(a_only, b_only))), X ~ Binomial(a_only + b_only, ½).

    Source: Q. McNemar, Psychometrika 12 (1947).

    Raises:
        ValueError: a count is negative.
    """
    from scipy.stats import binomtest  # most of a second, and most commands test nothing

    if a_only < 0 or b_only < 0:
        raise ValueError(f"negative count: {a_only}, {b_only}")
    discordant = a_only + b_only
    return float(binomtest(min(a_only, b_only), discordant).pvalue) if discordant else 1.0
