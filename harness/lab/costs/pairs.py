"""Two models, one cheap and one dear: is a budget better spent where the dear one is predicted to be cheap?

The dear one gets a share of the instances: those on which it is predicted to be cheapest. The gain is what this
resolves beyond a random mixture of the two at the same cost (the hull of the two constants), as the mean over shares of
10 … 90 %. Predictions are held out: of an instance by the ten-fold cross-fitting, or of a whole repository.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from harness.importers.same_model import may_be_of
from router.arrays import FloatArray
from router.cost_model import CostModel
from router.lab.crossfit import Folds
from router.outcomes import OutcomeMatrix
from router.ridge import TextRidge

LEAST_RATE = 0.5
"""Both models of a pair resolve at least this share."""
LEAST_RATIO = 2.0
"""The dear model costs at least so many times the cheap one: the line between nearly equal costs has no slope."""
SHARES = tuple(k / 10 for k in range(1, 10))
"""Of the instances, given to the dear model."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Pair:
    """Two runs by their columns: the dear one resolves more and costs more."""

    cheap: int
    dear: int


def pairs_of(outcomes: OutcomeMatrix) -> list[Pair]:
    """All pairs of able runs of different models: the dear one resolves more and costs `LEAST_RATIO` times as much."""
    count, cost, m = outcomes.resolved.sum(axis=0), outcomes.mean_cost(), len(outcomes.models)
    able = [h for h in range(m) if count[h] >= LEAST_RATE * len(outcomes)]
    return [
        Pair(cheap, dear)
        for cheap in able
        for dear in able
        if count[dear] > count[cheap]
        and cost[dear] >= LEAST_RATIO * cost[cheap]
        and not may_be_of(outcomes.models[cheap], outcomes.models[dear])
    ]


def held_out_costs(X: FloatArray, cost: FloatArray, splits: Folds, *, level: bool = True) -> FloatArray:
    """(repeats, n, m) USD predicted by `CostModel` of the other folds.

    With `level`, the predictions of all folds are scaled to one mean, as those of a single model would have. Training
    means differ in the wrong direction: a fold of dear instances leaves cheap ones to learn from.
    """
    predicted = np.full((len(splits), *cost.shape), np.nan)
    for repeat, parts in enumerate(splits):
        for train, test in parts:
            model, _ = CostModel.fit(TextRidge(X[train]), cost[train])
            scale = cost.mean(axis=0) / cost[train].mean(axis=0) if level else 1.0
            predicted[repeat, test] = model.predict(X[test]) * scale
    return predicted


def handed_over(order: FloatArray) -> FloatArray:
    """(shares, n) how often each instance is among the first of `order` (repeats, n), lowest first, by share."""
    repeats, n = order.shape
    place = np.empty((repeats, n))
    np.put_along_axis(place, np.argsort(order, axis=1, kind="stable"), np.arange(n)[None, :], axis=1)
    return np.stack([(place < round(share * n)).mean(axis=0) for share in SHARES])


@dataclass(frozen=True)
class OrderRow:
    """One order of handing over, over a group of pairs; gains in resolved instances of all n."""

    order: str
    split: str
    """by instance, by repository, or nothing to hold out"""
    group: str
    pairs: int
    gain: float
    """Mean over pairs and `SHARES` beyond the mixture at the same cost."""
    gain_ci95: tuple[float, float]
    """Bootstrap over instances, the same draws for all pairs."""
    pairs_positive: int
    at: dict[str, float]
    """By share."""
    by_pair: tuple[float, ...]
    correlation: float | None = None
    """Of the logarithms of predicted and true costs of the dear models, mean over them."""


def order_row(
    outcomes: OutcomeMatrix,
    pairs: Sequence[Pair],
    order_of: Callable[[Pair], FloatArray],
    *,
    name: tuple[str, str, str],
    predicted: FloatArray | None = None,
    seed: int = 0,
) -> OrderRow:
    """What an order gains.

    Args:
        outcomes: complete, with all costs.
        pairs: over which the gain is averaged.
        order_of: a pair's predictions (repeats, n); the lowest are handed over first.
        name: order, split and group, for the reader.
        predicted: (repeats, n, m) USD, for the correlation.
        seed: of the bootstrap.
    """
    n = len(outcomes)
    gained, paid, all_gained, all_paid, at = [], [], [], [], []
    for pair in pairs:
        over = handed_over(order_of(pair))
        more = outcomes.resolved[:, pair.dear] - outcomes.resolved[:, pair.cheap]
        dearer = outcomes.cost[:, pair.dear] - outcomes.cost[:, pair.cheap]
        at.append(over @ more - over @ dearer * more.sum() / dearer.sum())
        gained.append(over.mean(axis=0) * more)
        paid.append(over.mean(axis=0) * dearer)
        all_gained.append(more)
        all_paid.append(dearer)
    tables = [np.array(table).T for table in (gained, paid, all_gained, all_paid)]

    def gains(weights: FloatArray) -> FloatArray:
        """(draws, pairs)"""
        resolved, cost, slope, full = (weights @ table for table in tables)
        return np.asarray(resolved - cost * slope / full)

    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    by_pair = gains(np.ones((1, n)))[0]
    low, high = np.percentile(gains(counts).mean(axis=1), [2.5, 97.5])
    means = np.mean(at, axis=0)
    dear = {pair.dear for pair in pairs}
    return OrderRow(
        order=name[0],
        split=name[1],
        group=name[2],
        pairs=len(pairs),
        gain=_rounded(by_pair.mean()),
        gain_ci95=(_rounded(low), _rounded(high)),
        pairs_positive=int((by_pair > 0).sum()),
        at={f"{share:.0%}": _rounded(value) for share, value in zip(SHARES, means, strict=True)},
        by_pair=tuple(_rounded(value) for value in by_pair),
        correlation=_correlation(predicted, outcomes.cost, dear) if predicted is not None else None,
    )


def _correlation(predicted: FloatArray, cost: FloatArray, models: Collection[int]) -> float:
    """Mean over repeats and models, where the true cost is not 0."""
    found = []
    for h in sorted(models):
        paid = cost[:, h] > 0
        logs = np.log(cost[paid, h])
        found += [np.corrcoef(np.log(each[paid, h]), logs)[0, 1] for each in predicted]
    return _rounded(float(np.mean(found)))


def _rounded(value: float) -> float:
    return round(float(value), 2)
