"""What each further cell of a model will cost, predicted from its recorded costs by what is known of the instances.

That is what other models' attempts at the instance cost, and ratings of the issue by a language model. The issue's text
is not read: with some hundred recorded costs it says no more than their mean (results/costs/README.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.store.rows import ATTEMPTED, CellRow
from router.cost_model import CostModel
from router.ridge import TextRidge

LEAST_COSTS = 50
"""Recorded costs from which others are predicted; fewer say little but their mean."""
AT_A_TIME = 500
"""Cells drawn at a time."""

Features = Mapping[str, NDArray[np.float64]]
"""By instance, all of one length."""


@dataclass(frozen=True, eq=False)
class PredictedCosts:
    """A model's costs by instance, and how far such predictions were off."""

    by_instance: Mapping[str, float]
    """USD of one cell."""
    recorded: NDArray[np.float64]
    """(k,) recorded costs."""
    held_out: NDArray[np.float64]
    """(k,) the same, each predicted without its instance."""

    @property
    def correlation(self) -> float:
        """Of the logarithms of recorded and held-out costs; 0 where nothing could be learned."""
        paid = self.recorded > 0
        predicted, recorded = np.log(self.held_out[paid]), np.log(self.recorded[paid])
        if predicted.std() < 1e-9 or recorded.std() < 1e-9:
            return 0.0
        return float(np.corrcoef(predicted, recorded)[0, 1])

    def deviations(self, expected: NDArray[np.float64], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(draws,) how far the sum of cells with `expected` costs (n,) may be off.

        The records are resampled twice, as for a mean: for the level of the predictions, and for the further cells,
        whose relative errors are those of the held-out predictions.
        """
        k, n = len(self.recorded), len(expected)
        rows = rng.integers(k, size=(draws, k))
        level = self.recorded[rows].sum(axis=1) / self.held_out[rows].sum(axis=1)
        ratios = self.recorded / self.held_out
        ratios -= ratios.mean()
        cells = np.zeros(draws)
        for start in range(0, n, AT_A_TIME):
            part = expected[start : start + AT_A_TIME]
            cells += rng.choice(ratios, (draws, len(part))) @ part
        return np.asarray(cells + (level - level.mean()) * expected.sum())


def relative_costs(runs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """How dear instances are by their costs in some runs: the mean of standardised logarithms, standardised."""
    found: dict[str, list[float]] = {}
    for costs in runs:
        paid = {instance: np.log(cost) for instance, cost in costs.items() if cost > 0}
        spread = np.std(list(paid.values())) if len(paid) > 1 else 0.0
        if spread > 0:
            mean = np.mean(list(paid.values()))
            for instance, log in paid.items():
                found.setdefault(instance, []).append(float((log - mean) / spread))
    means = {instance: float(np.mean(values)) for instance, values in found.items()}
    spread = float(np.std(list(means.values()))) if means else 0.0
    return {instance: value / spread for instance, value in means.items()} if spread > 0 else {}


def features_of(
    instances: Iterable[str], *, relative: Mapping[str, float], ratings: Mapping[str, Sequence[float]]
) -> Features:
    """What is known of instances, side by side; what is unknown of one is the mean of the others.

    Args:
        instances: their ids.
        relative: see `relative_costs`.
        ratings: of the issues, in the same order for each.
    """
    ids = list(dict.fromkeys(instances))
    dear, rated = _centred(ids, {name: [value] for name, value in relative.items()}), _centred(ids, ratings)
    if rated.shape[1]:
        spread = rated.std(axis=0)
        # together they weigh as much as the other models' costs
        rated /= np.where(spread > 0, spread, 1.0) * np.sqrt(rated.shape[1])
    return dict(zip(ids, np.column_stack([dear, rated]), strict=True))


def _centred(ids: Sequence[str], values: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    """(n, d) less the mean of the known rows; unknown rows are 0. (n, 0) where none is known."""
    known = [k for k, instance in enumerate(ids) if instance in values]
    if not known:
        return np.zeros((len(ids), 0))
    rows = np.array([values[ids[k]] for k in known], dtype=np.float64)
    table = np.zeros((len(ids), rows.shape[1]))
    table[known] = rows - rows.mean(axis=0)
    return table


def predict_costs(features: Features, costs: Mapping[str, float]) -> PredictedCosts | None:
    """Costs of every instance of `features`; None where fewer than `LEAST_COSTS` are recorded or nothing is known.

    Args:
        features: of recorded and further instances, see `features_of`.
        costs: recorded USD by instance.
    """
    known = [instance for instance in costs if instance in features]
    recorded = np.array([costs[instance] for instance in known], dtype=np.float64)
    if len(known) < LEAST_COSTS or not (recorded > 0).any() or not features[known[0]].size:
        return None
    model, held_out = CostModel.fit(TextRidge(np.array([features[instance] for instance in known])), recorded[:, None])
    predicted = model.predict(np.array(list(features.values())))[:, 0]
    return PredictedCosts(dict(zip(features, predicted.tolist(), strict=True)), recorded, held_out[:, 0])


@dataclass(frozen=True, eq=False)
class CostPredictor:
    """What is known of a run's instances, ready to predict the costs of any of its models."""

    run_costs: Mapping[str, Mapping[str, float]]
    """By model: USD of its finished cells in this run, by instance."""
    ratings: Mapping[str, Sequence[float]]
    """Of the issues, by instance."""

    @classmethod
    def of(cls, rows: Iterable[CellRow], ratings: Mapping[str, Sequence[float]]) -> CostPredictor:
        """From a run's finished cells; several attempts count as their mean."""
        found: dict[str, dict[str, list[float]]] = {}
        for row in rows:
            if row.state in ATTEMPTED and row.cost_usd is not None:
                found.setdefault(row.model, {}).setdefault(row.instance_id, []).append(row.cost_usd)
        means = {
            model: {instance: float(np.mean(values)) for instance, values in costs.items()}
            for model, costs in found.items()
        }
        return cls(means, ratings)

    def predict(
        self,
        model: str,
        instances: Sequence[str],
        costs: Mapping[str, float],
        other_costs: Mapping[str, Mapping[str, float]],
    ) -> PredictedCosts | None:
        """Costs of a model's cells on some instances; None where too little is known.

        Args:
            model: its name in the pool.
            instances: of the further cells.
            costs: recorded of this model, by instance.
            other_costs: of runs on record, by run and instance.
        """
        others = [*other_costs.values(), *(found for name, found in self.run_costs.items() if name != model)]
        relative = relative_costs(others)
        # what is known of no further instance would only make the held-out errors look small
        further = [instance for instance in instances if instance not in costs]
        features = features_of(
            [*costs, *further],
            relative=relative if any(name in relative for name in further) else {},
            ratings=self.ratings if any(name in self.ratings for name in further) else {},
        )
        return predict_costs(features, costs)
