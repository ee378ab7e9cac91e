"""How likely a finished attempt is right: from its agreement with other attempts and from its own course."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from router.arrays import FloatArray
from router.logistic import fit_logistic, with_constant

CONSTANT, SIMILAR, EQUAL = -1.08, 2.03, 0.45
"""logit P(right) = logit(rate) − 1.08 + 2.03·similarity + 0.45·equality against another attempt; calibrated on the
patches of ten agents on SWE-bench Verified, cross-validated."""
LEAST_OUTCOMES = 100
"""With at least so many known verdicts the formula is fitted again."""
PENALTY = 5.0
"""Of the weights' squares in a fit."""


def published(rate: FloatArray, similar: FloatArray, equal: FloatArray) -> FloatArray:
    """(t,) P(right) by the published formula; the rate alone where there is nothing to compare with (NaN)."""
    rate = np.clip(rate, 0.01, 0.99)
    logit = np.log(rate / (1 - rate))
    agreed = logit + CONSTANT + SIMILAR * similar + EQUAL * np.nan_to_num(equal)
    return np.asarray(expit(np.where(np.isnan(similar), logit, agreed)))


def design(course: FloatArray, rate: FloatArray, similar: FloatArray, equal: FloatArray) -> FloatArray:
    """(t, 5 + f) what P(right) is fitted on: constant, logit of the rate, agreement, and signals of the attempt.

    Args:
        course: (t, f) signals of the attempt itself.
        rate: (t,) training rate of its model.
        similar: (t,) similarity of its patch to the others, NaN where there are none.
        equal: (t,) share of the others with an equal patch, NaN where there are none.
    """
    rate = np.clip(rate, 0.01, 0.99)
    unknown = np.isnan(similar)
    known = np.stack([np.log(rate / (1 - rate)), np.nan_to_num(similar), np.nan_to_num(equal), unknown], axis=-1)
    return with_constant(known, course)


def refit(designs: FloatArray, right: FloatArray) -> FloatArray:
    """(5 + f,) weights from designs (t, 5 + f) and verdicts (t,), NaN where unknown; NaN for too few verdicts."""
    if (~np.isnan(right)).sum() < LEAST_OUTCOMES:
        return np.full(designs.shape[-1], np.nan)
    return fit_logistic(designs, right, PENALTY)
