"""`polyswe subset`: the instances that say most per dollar, with what they can and cannot show."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError
from harness.files import write_atomic
from harness.importers import load_outcomes
from harness.regression.reference import Reference
from router.arrays import IntArray
from router.lab.reruns import Shape
from router.lab.subset import detectable_drops, only

RANDOM_SETS = 9
GB_PER_INSTANCE = 1.0
"""About what the image of a SWE-bench instance takes."""


@dataclass(frozen=True)
class Shown:
    """The smallest drops seen in 80 % of comparisons, in points of all instances; None: not even one of 40."""

    shape: Shape
    chosen: float | None
    random: float | None
    """Median over random sets of the same size."""
    everything: float | None


@dataclass(frozen=True)
class SmokeSet:
    """A chosen set and its power."""

    instances: tuple[str, ...]
    of: int
    rate: float
    """Share of all instances that the base is taken to resolve."""
    drops: tuple[Shown, ...]
    half_width: float
    """Points, of the 95 % interval of a model's rate over all instances."""
    checked_on: int
    """Reference runs that the interval was checked on; 0: too few for that."""
    cost_usd: float | None
    cost_share: float
    """Of running all instances."""
    reference_runs: int
    other_runs: int
    flips: str

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, **asdict(self)}


def choose_smoke_set(reference: Reference, n: int, *, rate: float | None = None, seed: int = 0) -> SmokeSet:
    """Choose n instances, and simulate what they show.

    Args:
        reference: Recorded runs.
        n: How many.
        rate: Share that the base resolves; None: the best reference run's.
        seed: Of the simulation.

    Raises:
        InputError: n does not fit.
    """
    total, estimator = len(reference.instances), reference.estimator
    assert estimator is not None  # read_reference has runs
    if not 1 <= n <= total:
        raise InputError(f"--n {n}: between 1 and {total}, the instances that the outcomes know")
    rate = reference.best_rate if rate is None else rate
    rows = _steady_first(reference, n)
    rng = np.random.default_rng(seed)
    sets = [rows, np.arange(total), *(rng.choice(total, n, replace=False) for _ in range(RANDOM_SETS))]
    drops = []
    for shape in ("shift", "lapse"):
        chosen, everything, *drawn = (
            found.drop for found in detectable_drops(reference.model, sets, rate=rate, shape=shape, seed=seed)
        )
        middle = sorted(np.inf if drop is None else drop for drop in drawn)[RANDOM_SETS // 2]
        drops.append(Shown(shape, _points(chosen), _points(None if middle == np.inf else middle), _points(everything)))
    typical = reference.model.draw(rate, models=1, seed=seed)[0] > 0.5
    estimate = estimator.estimate(only(typical.astype(np.float64), rows))
    known = reference.price[np.isfinite(reference.price)]
    price = np.where(np.isfinite(reference.price), reference.price, known.mean() if len(known) else np.nan)
    return SmokeSet(
        instances=tuple(reference.instances[row] for row in rows.tolist()),
        of=total,
        rate=round(rate, 4),
        drops=tuple(drops),
        half_width=round(50 * (estimate.high - estimate.low), 1),
        checked_on=estimator.checked_on,
        cost_usd=round(float(price[rows].sum()), 2) if len(known) else None,
        cost_share=round(float(price[rows].sum() / price.sum()), 3) if len(known) else round(n / total, 3),
        reference_runs=reference.runs,
        other_runs=reference.other_runs,
        flips=reference.flips,
    )


def _steady_first(reference: Reference, n: int) -> IntArray:
    """(n,) rows; flaky instances only where the others do not suffice."""
    steady = np.array([instance not in reference.flaky for instance in reference.instances], dtype=bool)
    order = reference.order(n if steady.all() else None)
    return np.concatenate([order[steady[order]], order[~steady[order]]])[:n]


def _points(drop: float | None) -> float | None:
    return None if drop is None else round(100 * drop, 1)


def estimate_rates(reference: Reference, run: str) -> list[str]:
    """A line per model of a run on a subset: its rate over all instances, with an interval.

    Raises:
        InputError: no model has a verdict on an instance that the reference runs know.
    """
    estimator, total = reference.estimator, len(reference.instances)
    assert estimator is not None  # read_reference has runs
    lines = []
    for recorded in load_outcomes([run]).runs:
        verdicts = [recorded.cell(instance).resolved for instance in reference.instances]
        labels = np.array([np.nan if verdict is None else float(verdict) for verdict in verdicts])
        known = int((~np.isnan(labels)).sum())
        if known:
            found = estimator.estimate(labels)
            checked = f"checked on {estimator.checked_on} runs" if estimator.checked_on else "not checked: too few runs"
            lines.append(
                f"{recorded.name}: {found.rate:.1%} of {total} instances [{found.low:.1%}, {found.high:.1%}], "
                f"estimated from {known} with {int(np.nansum(labels))} resolved ({checked})"
            )
    if not lines:
        raise InputError(f"{run}: no verdict on an instance that the reference runs know")
    return lines


SHAPE_WORDS: dict[Shape, str] = {"shift": "lower ability", "lapse": "failures at random"}


def render(found: SmokeSet) -> str:
    """For a terminal."""
    n = len(found.instances)
    cost = "cost unknown" if found.cost_usd is None else f"about ${found.cost_usd:,.2f} for an able model"
    lines = [
        f"{n} of {found.of} instances: {cost}, {found.cost_share:.0%} of a full run; images of about "
        f"{n * GB_PER_INSTANCE:.0f} GB (run.images_gb limits them)",
        "",
        f"Smallest drop that a comparison sees with 80 % power (points of all {found.of}; base {found.rate:.1%}):",
        "",
        f"{'':22}{f'these {n}':>12}{f'random {n}':>12}{f'all {found.of}':>10}",
    ]
    for row in found.drops:
        cells = [_shown(drop) for drop in (row.chosen, row.random, row.everything)]
        lines.append(f"  {SHAPE_WORDS[row.shape]:20}{cells[0]:>12}{cells[1]:>12}{cells[2]:>10}")
    checked = f"checked on {found.checked_on} runs" if found.checked_on else "too few runs to check the interval"
    lines += [
        "",
        f"A model's rate over all {found.of} is estimated to ±{found.half_width:.1f} points (95 %, {checked}).",
        f"From {found.reference_runs} runs of the same agent and {found.other_runs} of others. Flips: {found.flips}.",
    ]
    return "\n".join(lines)


def _shown(points: float | None) -> str:
    return "over 40" if points is None else f"{points:.1f}"


def write_smoke_set(found: SmokeSet, path: Path) -> Path:
    """The ids for `--select file=`, the most informative first, and everything else beside it; returns that file."""
    comments = "".join(f"# {line}".rstrip() + "\n" for line in render(found).splitlines())
    write_atomic(path, comments + "".join(f"{instance}\n" for instance in found.instances))
    beside = path.with_suffix(".json")
    write_atomic(beside, json.dumps(found.to_json(), indent=1) + "\n")
    return beside
