"""How far off a run's forecast cost is, with costs predicted by instance and without, on recorded runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from harness.importers.same_model import may_be_of
from harness.run.cost_prediction import Features, features_of, predict_costs, relative_costs
from harness.run.expected import Expected, interval
from router.arrays import FloatArray, IntArray
from router.outcomes import OutcomeMatrix

KNOWN = (50, 100, 250)
"""Recorded cells of the model."""
TARGETS = 100
"""Further cells, at most."""
LEAST_TARGETS = 20
"""Of a repository that is left out of the recorded cells."""
OTHERS = 3
"""Other models whose costs of every instance are on record."""
TRIALS = 3
"""Per run."""
BASES = ("mean", "issue text", "ratings", "other models' costs", "both")
"""What the forecast rests on beside the model's recorded cells; the first is the constant."""


@dataclass(frozen=True)
class ForecastRow:
    """Forecasts of the cost of further cells, over runs and trials."""

    basis: str
    known: int
    targets: str
    trials: int
    error: float
    """Mean absolute error of the total, as a share of it."""
    covered: float
    """Share of totals within the 95 % range."""
    width: float
    """Mean width of the range, as a share of the total."""
    correlation: float
    """Mean over trials: of the logarithms of forecast and true costs of single cells."""
    relative_error: float
    """Mean absolute error of single cells' logarithms, divided by that of the constant."""


def forecast_rows(
    text: FloatArray,
    ratings: FloatArray | None,
    repositories: Sequence[str],
    outcomes: OutcomeMatrix,
    able: Sequence[int],
    *,
    trials: int = TRIALS,
    seed: int = 0,
) -> Iterator[ForecastRow]:
    """For each basis, number of recorded cells and kind of further cells; the same draws for every basis."""
    places: dict[str, list[int]] = {}
    for row, repository in enumerate(repositories):
        places.setdefault(repository, []).append(row)
    large = [name for name, rows in places.items() if len(rows) >= LEAST_TARGETS]
    for kind, known in product(("random", "an unseen repository"), KNOWN):
        found: dict[str, list[tuple[float, ...]]] = {}
        for model, trial in product(able, range(trials)):
            rng = np.random.default_rng([seed, model, trial, known])
            order = rng.permutation(len(outcomes))
            if kind == "random":
                rows, targets = order[:known], order[known : known + TARGETS]
            else:
                own = places[large[int(rng.integers(len(large)))]]
                targets = rng.permutation(np.array(own))[:TARGETS]
                rows = order[~np.isin(order, own)][:known]
            if len(targets) < LEAST_TARGETS or len(rows) < known:
                continue
            for basis, figures in _trial(text, ratings, outcomes, model=model, rows=rows, targets=targets, rng=rng):
                found.setdefault(basis, []).append(figures)
        for basis, values in found.items():
            table = np.array(values)
            error, covered, width, correlation, relative = table.mean(axis=0).tolist()
            yield ForecastRow(
                basis=basis,
                known=known,
                targets=kind,
                trials=len(values),
                error=round(error, 3),
                covered=round(covered, 3),
                width=round(width, 3),
                correlation=round(correlation, 2),
                relative_error=round(relative, 3),
            )


def _trial(
    text: FloatArray,
    ratings: FloatArray | None,
    outcomes: OutcomeMatrix,
    *,
    model: int,
    rows: IntArray,
    targets: IntArray,
    rng: np.random.Generator,
) -> Iterator[tuple[str, tuple[float, ...]]]:
    """By basis: the figures of a `ForecastRow`, `error` to `relative_error`, of one draw of rows and targets."""
    names, cost = outcomes.instances, outcomes.cost[:, model]
    costs = {names[row]: float(cost[row]) for row in rows}
    wanted = [names[row] for row in targets]
    true = np.array([cost[row] for row in targets])
    logs = np.log(np.maximum(true, 1e-3 * cost.mean()))
    other_models = [
        k for k, name in enumerate(outcomes.models) if k != model and not may_be_of(name, outcomes.models[model])
    ]
    others = rng.choice(other_models, min(OTHERS, len(other_models)), replace=False)
    relative = relative_costs([dict(zip(names, outcomes.cost[:, k].tolist(), strict=True)) for k in others])
    rated = {} if ratings is None else dict(zip(names, ratings.tolist(), strict=True))
    everything = [*costs, *wanted]
    features: dict[str, Features] = {
        "issue text": dict(zip(names, text, strict=True)),
        "ratings": features_of(everything, relative={}, ratings=rated),
        "other models' costs": features_of(everything, relative=relative, ratings={}),
        "both": features_of(everything, relative=relative, ratings=rated),
    }
    constant = Expected(own=[], past=costs, assumed=0.0)
    constant_error = float(np.abs(np.log(constant.mean) - logs).mean())
    for basis in BASES:
        expected = constant
        if basis in features:
            if basis in ("ratings", "both") and not rated:
                continue
            expected = Expected(own=[], past=costs, assumed=0.0, predicted=predict_costs(features[basis], costs))
        each = np.log([expected.of([name]) for name in wanted])
        draws = expected.draws(wanted)
        assert draws is not None
        low, high = interval(draws)
        yield (
            basis,
            (
                abs(expected.of(wanted) / true.sum() - 1),
                low <= true.sum() <= high,
                (high - low) / true.sum(),
                float(np.corrcoef(each, logs)[0, 1]) if each.std() > 1e-9 else 0.0,
                float(np.abs(each - logs).mean()) / constant_error,
            ),
        )
