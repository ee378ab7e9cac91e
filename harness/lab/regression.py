"""What a smoke set and a sequential gate are worth: on recorded runs, and on simulated reruns with recorded flips.

Every able run of a record takes its turn as the new model. What chooses the instances and estimates its rate are runs
of other models that were known before it. Whether a drop is seen, and after how much of the full run's cost, is
simulated: models whose instances flip between two runs as often as those of the recorded repeats do, and versions of
them that are worse by a known share (`router.lab.reruns`). False alarms are also counted on the recorded repeats
themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from harness.data.instances import read_problem_statements, repository_of
from harness.errors import InputError
from harness.files import write_atomic
from harness.importers import auxiliary_matrix, load_outcomes, outcome_matrix
from harness.importers.duplicates import same_verdicts
from harness.importers.repeats import RepeatedModel, repeated_models
from harness.lab.recorded import by_column, informs
from router.arrays import FloatArray, IntArray
from router.lab.reruns import Flips, RerunModel, Shape, measure_flips, worsen
from router.lab.sequential import Decision, GateSettings, SequentialGate
from router.lab.subset import RateEstimator, detectable_drops, mcnemar_p, only
from router.outcomes import OutcomeMatrix

SIZES = (25, 50, 100, 200)
LEAST_RATE = 0.5
"""Runs that take a turn as the new model resolve at least this share."""
LEAST_KNOWN = 8
"""And have at least so many runs of the same agent before them."""
RANDOM_SETS = 20
"""Random sets of the same size, for comparison."""
COMPARED_SETS = 5
"""Random sets whose detectable drop is simulated."""
DROPS = (0.0, 0.03, 0.05, 0.10, 0.20)
SHAPES: tuple[Shape, ...] = ("shift", "lapse")
NULL_COMPARISONS = 2000
COMPARISONS = 500
"""Simulated comparisons per drop and shape."""
RATE = 0.75
"""Share that the simulated base resolves."""


@dataclass(frozen=True, eq=False)
class Record:
    """Runs of one agent over the same instances, and what else is known of these."""

    name: str
    outcomes: OutcomeMatrix
    """(n, m) complete."""
    columns: FloatArray
    """(n, m + r) verdicts of these and all other runs."""
    same_agent: tuple[bool, ...]
    """(m + r,)"""
    known_before: Sequence[Sequence[bool]]
    """(m, m + r) which runs are of other models and not later."""
    repositories: tuple[str, ...]
    """(n,)"""

    def price(self) -> FloatArray:
        """(n,) mean cost of an able model on each instance."""
        able = self.outcomes.resolved.mean(axis=0) >= LEAST_RATE
        return np.asarray(np.nanmean(self.outcomes.cost[:, able], axis=1))

    def others(self, newcomer: int) -> tuple[FloatArray, FloatArray]:
        """(n, a) verdicts of earlier runs of the same agent and (n, b) of other agents, none of the same model."""
        truth, m = self.columns[:, newcomer], len(self.outcomes.models)
        known = [
            k
            for k in range(self.columns.shape[1])
            if k != newcomer
            and self.known_before[newcomer][k]
            and not (k >= m and same_verdicts(truth, self.columns[:, k]))
        ]
        return (
            self.columns[:, [k for k in known if self.same_agent[k]]],
            self.columns[:, [k for k in known if not self.same_agent[k]]],
        )


def read_record(source: Path, *, tasks: Path, agent: str, version: str, reference: Sequence[Path]) -> Record:
    """Runs of an agent's version in `source`, with every other run of `source` and `reference`.

    Args:
        source: The record.
        tasks: The instances.
        agent: Part of the name of the agent, whatever its version.
        version: Part of the name of the agent whose runs take turns as the new model.
        reference: Other records.
    """
    ids = list(read_problem_statements(str(tasks)))
    everything = load_outcomes([str(source), *map(str, reference)]).runs
    kept = [run for run in load_outcomes([str(source)]).runs if version in (run.agent or "")]
    outcomes = outcome_matrix(kept, None, ids)[0].complete_rows()
    if not len(outcomes):
        raise InputError(f"{source}: no instance has a verdict of every run")
    others, _ = auxiliary_matrix(everything, outcomes, benchmark=ids)
    names, columns = list(outcomes.models), outcomes.resolved
    if others is not None:
        names, columns = [*names, *others.models], np.column_stack([columns, others.resolved])
    runs = {**by_column(everything), **by_column(kept)}
    return Record(
        name=f"{source.stem}, {version}",
        outcomes=outcomes,
        columns=columns,
        same_agent=tuple(agent in (runs[name].agent or "") for name in names),
        known_before=[[informs(runs, own, other) for other in names] for own in outcomes.models],
        repositories=tuple(map(repository_of, outcomes.instances)),
    )


@dataclass(frozen=True)
class SubsetRow:
    """Chosen instances of one number, over all new models."""

    size: int
    models: int
    error: float
    """Mean absolute error of the estimated full rate, points."""
    random_error: float
    """The same for the plain mean of as many random instances."""
    covered: float
    """Share of the 95 % intervals that contain the full rate."""
    half_width: float
    """Mean of the intervals, points."""
    cost_share: float
    """Of a full run's cost."""
    random_cost_share: float


def subset_rows(record: Record, sizes: Sequence[int] = SIZES, *, seed: int = 0) -> list[SubsetRow]:
    """Every able run of the record in turn as the new model."""
    price = record.price()
    trials: dict[int, list[list[float]]] = {size: [] for size in sizes}
    for newcomer, truth in enumerate(record.outcomes.resolved.T):
        same, other = record.others(newcomer)
        if truth.mean() < LEAST_RATE or same.shape[1] < LEAST_KNOWN:
            continue
        rng = np.random.default_rng([seed, newcomer])
        estimator = RateEstimator(same, other, price=price, groups=record.repositories)
        for size in sizes:
            rows = estimator.choose(size)
            found = estimator.estimate(only(truth, rows))
            drawn = [rng.choice(len(truth), size, replace=False) for _ in range(RANDOM_SETS)]
            trials[size].append(
                [
                    abs(found.rate - truth.mean()),
                    float(np.mean([abs(truth[rows].mean() - truth.mean()) for rows in drawn])),
                    found.low <= truth.mean() <= found.high,
                    (found.high - found.low) / 2,
                    price[rows].sum() / price.sum(),
                ]
            )
    summary: list[SubsetRow] = []
    for size, values in trials.items():
        if not values:
            raise InputError(f"{record.name}: no run has {LEAST_KNOWN} runs of the same agent before it")
        error, random_error, covered, width, cost = np.mean(values, axis=0).tolist()
        summary.append(
            SubsetRow(
                size=size,
                models=len(values),
                error=round(100 * error, 2),
                random_error=round(100 * random_error, 2),
                covered=round(covered, 3),
                half_width=round(100 * width, 2),
                cost_share=round(cost, 3),
                random_cost_share=round(size / len(price), 3),
            )
        )
    return summary


@dataclass(frozen=True)
class DropRow:
    """The smallest drop seen in 80 % of simulated comparisons, in points."""

    size: int
    shape: Shape
    chosen: float | None
    random: float | None
    """Median over random sets of the same size."""


def drop_rows(record: Record, flips: Flips, sizes: Sequence[int] = SIZES, *, seed: int = 0) -> list[DropRow]:
    """For chosen and random sets of each size, and for all instances."""
    estimator, model = _model(record, flips)
    n, rng = len(record.outcomes), np.random.default_rng(seed)
    sets: list[IntArray] = []
    sizes = [*sizes, n]
    for size in sizes:
        sets.append(estimator.choose(size))
        sets += [rng.choice(n, size, replace=False) for _ in range(COMPARED_SETS)]
    rows = []
    for shape in SHAPES:
        seen = [found.drop for found in detectable_drops(model, sets, rate=RATE, shape=shape, seed=seed)]
        for k, size in enumerate(sizes):
            chosen, *drawn = seen[k * (COMPARED_SETS + 1) : (k + 1) * (COMPARED_SETS + 1)]
            middle = sorted(np.inf if drop is None else drop for drop in drawn)[COMPARED_SETS // 2]
            rows.append(DropRow(size, shape, _points(chosen), None if middle == np.inf else _points(middle)))
    return rows


def _points(drop: float | None) -> float | None:
    return None if drop is None else round(100 * drop, 1)


@dataclass(frozen=True)
class GateRow:
    """Simulated comparisons with one true drop."""

    drop: float
    """Points; 0: nothing changed."""
    shape: Shape
    comparisons: int
    worse: float
    """Share that ended with "worse"."""
    not_worse: float
    """With "not worse"."""
    hopeless: float
    cost_share: float
    """Mean share of the full run's cost until it ended."""
    fixed_worse: float
    """Share that McNemar's test calls worse after all instances, at the full run's cost."""


@dataclass(frozen=True)
class NullRow:
    """Comparisons in which nothing changed."""

    what: str
    comparisons: int
    false_alarms: float
    """Share that ended with "worse"."""
    alarms_if_never_stopped: float
    """Share in which the evidence reached 1/α at any look, had it gone on to the last instance."""
    cost_share: float


def gate_rows(record: Record, flips: Flips, settings: GateSettings, *, seed: int = 0) -> list[GateRow]:
    """Over drops and their shapes."""
    estimator, model = _model(record, flips)
    order, price = _order(record, estimator)
    gate = SequentialGate(model, order, rate=RATE, settings=settings)
    rng = np.random.default_rng([seed, 2])
    rows = []
    for drop in DROPS:
        for shape in SHAPES if drop else SHAPES[:1]:
            count = COMPARISONS if drop else NULL_COMPARISONS
            before = model.draw(RATE, models=count, seed=seed)
            after = worsen(before, model.slope, drop, shape)
            base, new = rng.random(before.shape) < before, rng.random(before.shape) < after
            ends = [_play(gate, y[order], z[order]) for y, z in zip(base, new, strict=True)]
            lost, gained = (base & ~new).sum(axis=1), (~base & new).sum(axis=1)
            rows.append(
                GateRow(
                    drop=100 * drop,
                    shape=shape,
                    comparisons=count,
                    worse=_share(ends, Decision.WORSE),
                    not_worse=_share(ends, Decision.NOT_WORSE),
                    hopeless=_share(ends, Decision.HOPELESS),
                    cost_share=_cost(ends, order, price),
                    fixed_worse=round(float(((mcnemar_p(lost, gained) < settings.alpha) & (lost > gained)).mean()), 3),
                )
            )
    return rows


def null_rows(
    record: Record, flips: Flips, repeats: Sequence[RepeatedModel], settings: GateSettings, *, seed: int = 0
) -> list[NullRow]:
    """False alarms: on simulated reruns, and on the recorded repeats of the same instances."""
    estimator, model = _model(record, flips)
    order, price = _order(record, estimator)
    rng = np.random.default_rng([seed, 3])
    rows = []

    def judge(what: str, gate: SequentialGate, draws: Sequence[tuple[FloatArray, FloatArray]]) -> None:
        ends = [_play(gate, y[gate.order], z[gate.order]) for y, z in draws]
        alarms = float(np.mean([worse for *_, worse in ends]))
        rows.append(
            NullRow(what, len(ends), _share(ends, Decision.WORSE), round(alarms, 4), _cost(ends, gate.order, price))
        )

    p = model.draw(RATE, models=NULL_COMPARISONS, seed=seed + 1)
    simulated = [(rng.random(row.shape) < row, rng.random(row.shape) < row) for row in p]
    judge("simulated reruns", SequentialGate(model, order, rate=RATE, settings=settings), simulated)
    row_of = {instance: row for row, instance in enumerate(record.outcomes.instances)}
    for repeated in repeats:
        matrix = repeated.runs
        at = [row_of[i] for i in matrix.instances if i in row_of]
        runs = np.full((len(row_of), len(matrix.models)), np.nan)
        runs[at] = matrix.resolved[[k for k, i in enumerate(matrix.instances) if i in row_of]]
        some = order[np.isin(order, at)]
        gate = SequentialGate(model, some, rate=float(np.nanmean(runs)), settings=settings)
        pairs = [(runs[:, j], runs[:, k]) for j, k in permutations(range(runs.shape[1]), 2)]
        what = f"{repeated.name} on {len(some)} instances"
        judge(f"every pair of {runs.shape[1]} recorded runs of {what}", gate, pairs)
        # which run is the base is dealt anew on every instance: the recorded flips, with nothing changed for certain
        dealt = []
        for _ in range(NULL_COMPARISONS):
            first, second = pairs[rng.integers(len(pairs))]
            swap = rng.random(len(first)) < 0.5
            dealt.append((np.where(swap, second, first), np.where(swap, first, second)))
        judge(f"the same, base and new dealt anew on every instance ({what})", gate, dealt)
    return rows


@dataclass(frozen=True)
class PairRow:
    """Recorded runs of two models, one as the base and one as its new version, by the gap between them."""

    gap: str
    pairs: int
    worse: float
    not_worse: float
    hopeless: float
    wrong: float
    """Share called worse though it resolves more, or not worse though it is by at least the drop asked about."""
    cost_share: float


def pair_rows(record: Record, flips: Flips, settings: GateSettings) -> list[PairRow]:
    """All ordered pairs of the record's able runs; gaps in points, positive where the new side resolves less."""
    estimator, model = _model(record, flips)
    order, price = _order(record, estimator)
    rates = record.outcomes.resolved.mean(axis=0)
    able = [int(j) for j in np.flatnonzero(rates >= LEAST_RATE)]
    bins = [("better", -1.0, -0.0001), ("0 to 3", -0.0001, 0.03), ("3 to 5", 0.03, 0.05), ("5 to 8", 0.05, 0.08)]
    bins += [("8 to 12", 0.08, 0.12), ("more than 12", 0.12, 1.01)]
    found: dict[str, list[tuple[tuple[Decision, int, bool], float]]] = {name: [] for name, *_ in bins}
    for base in able:
        gate = SequentialGate(model, order, rate=float(rates[base]), settings=settings)
        for new in able:
            if new != base:
                gap = float(rates[base] - rates[new])
                end = _play(gate, *(record.outcomes.resolved[order, j] for j in (base, new)))
                name = next(name for name, low, high in bins if low <= gap < high)
                found[name].append((end, gap))
    return [
        PairRow(
            gap=name,
            pairs=len(ends),
            worse=_share([end for end, _ in ends], Decision.WORSE),
            not_worse=_share([end for end, _ in ends], Decision.NOT_WORSE),
            hopeless=_share([end for end, _ in ends], Decision.HOPELESS),
            wrong=round(float(np.mean([_wrong(end[0], gap, settings.drop) for end, gap in ends])), 3),
            cost_share=_cost([end for end, _ in ends], order, price),
        )
        for name, ends in found.items()
        if ends
    ]


def _wrong(decision: Decision, gap: float, drop: float) -> bool:
    return (decision is Decision.WORSE and gap <= 0) or (decision is Decision.NOT_WORSE and gap >= drop)


def _model(record: Record, flips: Flips) -> tuple[RateEstimator, RerunModel]:
    """From every run of the record and the other agents' runs."""
    same = record.columns[:, [k for k, own in enumerate(record.same_agent) if own]]
    other = record.columns[:, [k for k, own in enumerate(record.same_agent) if not own]]
    estimator = RateEstimator(same, other, price=record.price(), groups=record.repositories)
    return estimator, RerunModel.fit(estimator.runs.items.slope, estimator.runs.items.difficulty, flips)


def _order(record: Record, estimator: RateEstimator) -> tuple[IntArray, FloatArray]:
    price = record.price()
    return estimator.choose(len(price)), price


def _play(gate: SequentialGate, base: FloatArray, new: FloatArray) -> tuple[Decision, int, bool]:
    """How it ends, after how many instances, and whether the evidence would have reached 1/α at any look."""
    looks = gate.looks(base, new, gate.schedule())
    end = next((look for look in looks if look.decision is not Decision.OPEN), looks[-1])
    return end.decision, end.instances, max(look.worse for look in looks) >= 1 / gate.settings.alpha


def _share(ends: Sequence[tuple[Decision, int, bool]], decision: Decision) -> float:
    return round(float(np.mean([end[0] is decision for end in ends])), 4)


def _cost(ends: Sequence[tuple[Decision, int, bool]], order: IntArray, price: FloatArray) -> float:
    paid = np.cumsum(price[order]) / price[order].sum()
    return round(float(np.mean([paid[end[1] - 1] for end in ends])), 3)


@dataclass(frozen=True)
class RegressionStudy:
    """Everything of results/regression."""

    developed_on: str
    confirmed_on: str
    flips: dict[str, Flips]
    settings: GateSettings
    subsets: dict[str, list[SubsetRow]]
    drops: list[DropRow]
    gate: list[GateRow]
    nulls: list[NullRow]
    pairs: dict[str, list[PairRow]]

    def to_json(self) -> str:
        return json.dumps({"schema": 1, **asdict(self)}, indent=1, allow_nan=False) + "\n"


AGENT, FIRST, SECOND = "mini-swe-agent", "mini-swe-agent", "mini-swe-agent 2"
OLD, NEW = "outcomes/leaderboards-2025-12-10.json", "outcomes/leaderboards-2026-02-26.json"
TASKS, EXPERIMENTS = "tasks/swebench_verified.jsonl", "outcomes/experiments"


def study_regression(
    data: Path, out: Path, *, seed: int = 0, progress: Callable[[str], None] = print
) -> RegressionStudy:
    """Developed on the runs of 2025, looked at on those of 2026, too; writes regression.json and README.md to `out`.

    Args:
        data: The data folder, see `harness.lab.tables`.
        out: Folder for the results.
        seed: Of every draw.
        progress: Called before each stage.

    Raises:
        InputError: files are missing or have no usable runs.
    """
    from harness.lab.regression_text import render

    reference = [data / EXPERIMENTS] if (data / EXPERIMENTS).is_dir() else []
    progress("reading the records")
    old = read_record(data / OLD, tasks=data / TASKS, agent=AGENT, version=FIRST, reference=reference)
    new = read_record(data / NEW, tasks=data / TASKS, agent=AGENT, version=SECOND, reference=[data / OLD, *reference])
    repeated, _ = repeated_models(
        load_outcomes(sorted(str(path) for path in (data / "outcomes").glob("repeats_*.csv"))).runs,
        list(old.outcomes.instances),
    )
    flips = {model.name: measure_flips(model.runs.resolved) for model in repeated}
    widest = max(repeated, key=lambda model: len(model.runs))
    usual, settings = flips[widest.name], GateSettings()
    progress("smoke sets on recorded runs")
    subsets = {record.name: subset_rows(record, seed=seed) for record in (old, new)}
    progress("drops that smoke sets show")
    drops = drop_rows(old, usual, seed=seed)
    progress("the sequential gate on simulated reruns")
    gate = gate_rows(old, usual, settings, seed=seed)
    progress("the sequential gate where nothing changed")
    nulls = null_rows(old, usual, repeated, settings, seed=seed)
    progress("the sequential gate on recorded pairs of models")
    pairs = {record.name: pair_rows(record, usual, settings) for record in (old, new)}
    study = RegressionStudy(old.name, new.name, flips, settings, subsets, drops, gate, nulls, pairs)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "regression.json", study.to_json())
    write_atomic(out / "README.md", render(json.loads(study.to_json())))
    return study
