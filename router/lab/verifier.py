"""P(a finished attempt is right | its signals), calibrated, and how well it tells right from wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
from joblib import cpu_count
from scipy.special import expit

from router.arrays import FloatArray, IntArray, mean_known
from router.logistic import fit_logistic, fit_with_intercepts, with_constant
from router.outcomes import OutcomeError, OutcomeMatrix
from router.signals import SignalHistory, features, signal_table

INNER_FOLDS = 5
BINS = 10
THREADS = 4
"""folds fitted at a time at most: each holds the features of all its attempts, some 30 MB of a hundred thousand"""


@dataclass(eq=False)
class Verifier:
    """Logistic regression on relative signals (`router.signals`), one intercept per model, slopes common to all.

    Calibrated by Platt's method inside the training rows: the slope and shift of the held-out logits of `INNER_FOLDS`
    parts. Plain arrays throughout, so that it travels in a checkpoint without pickle.
    """

    penalty: float = 5.0
    seed: int = 0

    def fit(self, outcomes: OutcomeMatrix) -> Self:
        """From training outcomes (n, m) and their signals; cells without a verdict are left out."""
        if np.isnan(outcomes.resolved).all():
            raise OutcomeError("a verifier needs verdicts to learn from")
        n = len(outcomes)
        held_out = np.full(outcomes.resolved.shape, np.nan)
        parts = np.array_split(np.random.default_rng(self.seed).permutation(n), min(INNER_FOLDS, n))
        for part in parts:
            rest = outcomes.take(np.setdiff1d(np.arange(n), part))
            if len(rest) and not np.isnan(rest.resolved).all():
                self._fit_weights(rest)
                held_out[part] = self._logits(outcomes.take(part))
        known = ~np.isnan(outcomes.resolved) & ~np.isnan(held_out)
        self._fit_weights(outcomes)
        platt = fit_logistic(with_constant(held_out[known][:, None]), outcomes.resolved[known], penalty=0.1)
        # an inverted slope is noise: then only the base rate is left
        self.platt_: FloatArray = np.array([platt[0], max(platt[1], 0.0)])
        return self

    def _fit_weights(self, outcomes: OutcomeMatrix) -> None:
        self.history_ = SignalHistory.fit(outcomes)
        columns = np.moveaxis(self._features(outcomes), -1, 0)
        self.weights_: FloatArray = fit_with_intercepts(columns, outcomes.resolved, self.penalty)

    def _features(self, outcomes: OutcomeMatrix) -> FloatArray:
        """(n, m, 3s)"""
        return features(self.history_.relative(signal_table(outcomes, self.history_.names)))

    def _logits(self, outcomes: OutcomeMatrix) -> FloatArray:
        own, slopes = np.split(self.weights_[1:], [len(outcomes.models)])
        return np.asarray(self.weights_[0] + own + self._features(outcomes) @ slopes)

    def predict(self, outcomes: OutcomeMatrix) -> FloatArray:
        """(n, m) calibrated P(resolved) of every recorded attempt; the verdicts are not read."""
        return np.asarray(expit(self.platt_[0] + self.platt_[1] * self._logits(outcomes)))


@dataclass(frozen=True)
class Bin:
    """Attempts of similar predicted probability."""

    predicted: float
    observed: float
    n: int


@dataclass(frozen=True)
class Judged:
    """How good predicted probabilities are, on attempts they were not learned from."""

    auc: float
    """within a model, weighted by its pairs: what tells a model's own good runs from its bad ones"""
    auc_ci95: tuple[float, float]
    """bootstrap over instances"""
    auc_across: float
    """over all attempts together, differences between the models included"""
    brier: float
    brier_of_rates: float
    """of predicting each model's own rate"""
    bins: tuple[Bin, ...]
    """reliability curve: equally many attempts each"""


def crossfit_verifier(
    outcomes: OutcomeMatrix, splits: list[list[tuple[IntArray, IntArray]]], penalty: float = 5.0
) -> FloatArray:
    """(n, m) P(resolved | signals), each instance by verifiers that never saw it; the mean over repeats."""
    predicted = np.full((len(splits), *outcomes.resolved.shape), np.nan)

    def predict(repeat: int, train: IntArray, test: IntArray) -> None:
        predicted[repeat, test] = Verifier(penalty).fit(outcomes.take(train)).predict(outcomes.take(test))

    # threads: large array operations let each other run, and no fold needs another's numbers
    with ThreadPoolExecutor(min(cpu_count(), THREADS)) as threads:
        folds = [(repeat, *fold) for repeat, parts in enumerate(splits) for fold in parts]
        for done in [threads.submit(predict, *fold) for fold in folds]:
            done.result()
    return mean_known(predicted, axis=0)


def judge(predicted: FloatArray, resolved: FloatArray, bootstraps: int = 200, seed: int = 0) -> Judged:
    """Judge predictions (n, m) against verdicts (n, m); cells without either are left out."""
    known = ~np.isnan(predicted) & ~np.isnan(resolved)
    p, y = predicted[known], resolved[known]
    rates = np.broadcast_to(mean_known(resolved, axis=0), resolved.shape)[known]
    n, rng = len(resolved), np.random.default_rng(seed)
    draws = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(bootstraps)]
    aucs = within_aucs(predicted, resolved, np.array(draws).reshape(bootstraps, n))
    drawn = aucs[~np.isnan(aucs)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    order = np.argsort(p, kind="stable")
    bins = [
        Bin(float(p[part].mean()), float(y[part].mean()), len(part))
        for part in np.array_split(order, min(BINS, len(order)))
        if len(part)
    ]
    return Judged(
        auc=within_auc(predicted, resolved),
        auc_ci95=(float(low), float(high)),
        auc_across=auc(p, y),
        brier=float(((p - y) ** 2).mean()),
        brier_of_rates=float(((rates - y) ** 2).mean()),
        bins=tuple(bins),
    )


def within_auc(predicted: FloatArray, resolved: FloatArray) -> float:
    """Mean of the models' own AUCs, weighted by their pairs of a right and a wrong attempt; NaN without any."""
    return float(within_aucs(predicted, resolved, np.ones((1, len(resolved)), dtype=np.int64))[0])


def within_aucs(predicted: FloatArray, resolved: FloatArray, counts: IntArray) -> FloatArray:
    """(b,) `within_auc` of b samples of the instances, in which each occurs as often as `counts` (b, n) says.

    A model's attempts are sorted once for all samples. Every count is a whole number and every rank a half one, so an
    AUC is the very number that `auc` gives for the sample written out.
    """
    total, pairs = np.zeros(len(counts)), np.zeros(len(counts))
    for p, y in zip(predicted.T, resolved.T, strict=True):
        known = np.flatnonzero(~np.isnan(p) & ~np.isnan(y))
        order = known[np.argsort(p[known])]
        if not len(order):
            continue
        score, drawn = p[order], counts[:, order].astype(np.float64)
        tied = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
        right = np.add.reduceat(drawn * (y[order] == 1), tied, axis=1)
        wrong = np.add.reduceat(drawn * (y[order] != 1), tied, axis=1)
        # of each group of equal scores: the wrong ones below it, and half of its own
        beaten = (right * (np.cumsum(wrong, axis=1) - wrong / 2)).sum(axis=1)
        weight = right.sum(axis=1) * wrong.sum(axis=1)
        total += np.where(weight > 0, weight * (beaten / np.maximum(weight, 1)), 0.0)
        pairs += weight
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)


def auc(score: FloatArray, y: FloatArray) -> float:
    """Probability that a right attempt scores higher than a wrong one, ties counting half; NaN with one class only."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, score)) if len(np.unique(y)) == 2 else float("nan")
