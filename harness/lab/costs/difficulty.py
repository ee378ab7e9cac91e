"""How well ratings of an issue by a language model predict that a run fails on it, on recorded runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.ratings import HARDEST
from router.arrays import FloatArray
from router.lab.crossfit import Folds
from router.lab.verifier import within_auc, within_aucs
from router.outcomes import OutcomeMatrix
from router.ridge import TextRidge

SHARED = ("logical_reasoning_required", "debugging_complexity", "atypicality", "side_effect_risk", "codebase_scope")
"""The recorded ratings that `polyswe dataset rate` asks for, too."""
RESAMPLES = 2000


@dataclass(frozen=True)
class DifficultyRow:
    """A predictor of failure, over able runs."""

    predictor: str
    split: str
    auc: float
    """Probability that an instance on which a run fails is ranked above one that it resolves, mean over runs."""
    auc_ci95: tuple[float, float]
    """Bootstrap over instances."""
    resolved_hardest: float
    """Share of the tenth ranked hardest that the runs resolve."""
    resolved: float
    """Share of all."""


def difficulty_rows(
    text: FloatArray,
    ratings: FloatArray | None,
    names: Sequence[str],
    outcomes: OutcomeMatrix,
    able: Sequence[int],
    splits: Mapping[str, Folds],
    *,
    seed: int = 0,
) -> Iterator[DifficultyRow]:
    """Of ratings (n, r) with their names, and of the issues' texts; nothing without ratings."""
    if ratings is None:
        return
    verdicts = outcomes.resolved[:, list(able)]
    mean = shared_ratings(ratings, names).mean(axis=1)
    yield _row("mean of the five ratings", "nothing is learned", np.repeat(mean[:, None], len(able), 1), verdicts, seed)
    for predictor, X in ((f"all {ratings.shape[1]} ratings", ratings), ("issue text", text)):
        for split, folds in splits.items():
            yield _row(predictor, split, -_held_out(X, verdicts, folds), verdicts, seed)


def shared_ratings(ratings: FloatArray, names: Sequence[str]) -> FloatArray:
    """(n, 5) the ratings that `polyswe dataset rate` asks for, too."""
    return ratings[:, [names.index(name) for name in SHARED]]


def _held_out(X: FloatArray, verdicts: FloatArray, splits: Folds) -> FloatArray:
    """(n, m) the first repeat's held-out predictions, less each fold's training mean, which errs the other way."""
    predicted = np.zeros(verdicts.shape)
    for train, test in splits[0]:
        ridge = TextRidge(X[train])
        for h in range(verdicts.shape[1]):
            predicted[test, h] = ridge.fit(verdicts[train, h]).predict(X[test]) - verdicts[train, h].mean()
    return predicted


def _row(predictor: str, split: str, hard: FloatArray, verdicts: FloatArray, seed: int) -> DifficultyRow:
    n = len(verdicts)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    failed = 1 - verdicts
    low, high = np.percentile(within_aucs(hard, failed, drawn), [2.5, 97.5])
    top = np.argsort(-hard, axis=0, kind="stable")[: round(HARDEST * n)]
    return DifficultyRow(
        predictor=predictor,
        split=split,
        auc=round(within_auc(hard, failed), 3),
        auc_ci95=(round(float(low), 3), round(float(high), 3)),
        resolved_hardest=round(float(np.take_along_axis(verdicts, top, axis=0).mean()), 3),
        resolved=round(float(verdicts.mean()), 3),
    )
