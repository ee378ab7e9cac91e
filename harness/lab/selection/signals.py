"""How well a signal of finished attempts tells right from wrong: within an instance, and over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.importers.finished import FinishedAttempts
from router.arrays import FloatArray, IntArray, mean_known
from router.confidence import CONSTANT, EQUAL, SIMILAR
from router.lab.verifier import auc
from router.logistic import fit_logistic, with_constant

BINS = 6


def quality(score: FloatArray, resolved: FloatArray) -> dict[str, Any]:
    """AUC of scores (n, k) within an instance (pairs of a right and a wrong attempt pooled) and over all attempts."""
    known = ~np.isnan(score) & ~np.isnan(resolved)
    right, wrong = known & (resolved == 1), known & (resolved == 0)
    pairs = right[:, :, None] & wrong[:, None, :]
    with np.errstate(invalid="ignore"):
        ahead = (score[:, :, None] > score[:, None, :]) + 0.5 * (score[:, :, None] == score[:, None, :])
        differ = score[:, :, None] != score[:, None, :]
    spoken = pairs & differ
    mixed = pairs.any(axis=(1, 2))
    return {
        "within": _rounded(ahead[pairs].mean() if pairs.any() else np.nan),
        "overall": _rounded(auc(score[known], resolved[known])),
        "attempts": int(known.sum()),
        "mixed_instances": int(mixed.sum()),
        "silent_on": int((mixed & ~spoken.any(axis=(1, 2))).sum()),
        "right_where_it_speaks": _rounded(ahead[spoken].mean() if spoken.any() else np.nan),
    }


def mean_of_others(table: FloatArray, columns: IntArray) -> FloatArray:
    """(n, k) mean of a pair's signal (n, m, m) over the other models of `columns`; NaN without any."""
    return mean_known(table[:, columns][:, :, columns], axis=2)


def confidence(
    found: FinishedAttempts, columns: IntArray, parts: Sequence[tuple[IntArray, IntArray]]
) -> dict[str, Any]:
    """P(an attempt is right | how far ONE other attempt agrees): the published formula, and refitted in each fold.

    Both take the model's rate in the training folds as the prior, so verdicts of an instance never judge it. Each
    ordered pair of models is one prediction.
    """
    if found.similarity is None or found.agrees is None:
        return {}
    resolved = found.resolved[:, columns]
    seq, equal = (table[:, columns][:, :, columns] for table in (found.similarity, found.agrees))
    truth = np.broadcast_to(resolved[:, :, None], seq.shape)
    published, refitted, prior_only = np.full((3, *seq.shape), np.nan)
    weights = []
    for train, test in parts:
        rates = np.clip(mean_known(resolved[train], axis=0), 0.01, 0.99)
        prior = np.broadcast_to(np.log(rates / (1 - rates))[None, :, None], seq.shape)
        known = ~np.isnan(seq[train])
        design = with_constant(prior[train][known][:, None], seq[train][known][:, None], equal[train][known][:, None])
        fitted = fit_logistic(design, truth[train][known], penalty=1.0)
        weights.append(fitted)
        prior_only[test] = prior[test]
        published[test] = CONSTANT + prior[test] + SIMILAR * seq[test] + EQUAL * equal[test]
        refitted[test] = fitted[0] + fitted[1] * prior[test] + fitted[2] * seq[test] + fitted[3] * equal[test]
    known = ~np.isnan(published)
    constant, prior_weight, seq_weight, equal_weight = np.mean(weights, axis=0)
    return {
        "predictions": int(known.sum()),
        "base_rate": _rounded(truth[known].mean()),
        "prior_alone": {"overall": _rounded(auc(prior_only[known], truth[known]))},
        "published": {"constant": CONSTANT, "prior": 1.0, "seq": SIMILAR, "equal": EQUAL} | _judged(published, truth),
        "refitted": {
            "constant": _rounded(constant),
            "prior": _rounded(prior_weight),
            "seq": _rounded(seq_weight),
            "equal": _rounded(equal_weight),
        }
        | _judged(refitted, truth),
        "equal_patches": _share(truth, equal == 1),
        "accept_from_0.8": _share(truth, seq >= 0.8),
    }


def _judged(logits: FloatArray, truth: FloatArray) -> dict[str, Any]:
    known = ~np.isnan(logits)
    p, y = 1 / (1 + np.exp(-logits[known])), truth[known]
    order = np.argsort(p, kind="stable")
    # rows are instances, columns the ordered pairs: compared with pairs of the same instance
    within = quality(logits.reshape(len(logits), -1), truth.reshape(len(truth), -1))["within"]
    return {
        "within": within,
        "overall": _rounded(auc(p, y)),
        "brier": _rounded(((p - y) ** 2).mean()),
        "bins": [
            {"predicted": _rounded(p[part].mean()), "observed": _rounded(y[part].mean()), "n": len(part)}
            for part in np.array_split(order, BINS)
        ],
    }


def _share(truth: FloatArray, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """How often attempts are right where a pair meets a condition, and how often it does."""
    count = int(chosen.sum())
    return {"share": _rounded(chosen.mean()), "right": _rounded(truth[chosen].mean()) if count else None}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)
