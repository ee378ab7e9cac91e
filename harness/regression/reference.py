"""What recorded outcomes say of the instances: which tell models apart, what they cost, and how often verdicts flip."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.compare.noise import BUILT_IN
from harness.data.instances import repository_of
from harness.errors import InputError
from harness.importers import RecordedRun, load_outcomes
from harness.importers.repeats import RepeatedModel, repeated_models
from router.arrays import FloatArray, IntArray
from router.lab.reruns import Flips, RerunModel, measure_flips
from router.lab.subset import LEAST_RATE, RateEstimator

AGENT = "mini-swe-agent"
"""The agent of polyswe's own runs."""
LEAST_RUNS = 2
FLAKY = (1 / 3, 2 / 3)
"""A repeated model that resolves an instance in such a share of its runs shows that it is flaky."""
LEAST_REPEATS = 3
"""Fewer runs of a model do not show whether an instance is flaky."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Recorded runs over the same instances."""

    instances: tuple[str, ...]
    estimator: RateEstimator | None
    """None where no other models are recorded."""
    model: RerunModel
    price: FloatArray
    """(n,) mean USD of an able model; NaN where no run states a cost."""
    flaky: frozenset[str]
    best_rate: float
    """Of the runs of the same agent."""
    runs: int
    """Of the same agent."""
    other_runs: int
    flips: str
    """Where the share of flips comes from, for the reader."""
    notes: tuple[str, ...]

    def order(self, n: int | None = None) -> IntArray:
        """Rows (n of them, or all), the most informative per cost first, spread over repositories."""
        n = len(self.instances) if n is None else n
        if self.estimator is None:
            return np.arange(n)
        return self.estimator.choose(n)


def read_reference(
    sources: Sequence[str],
    *,
    instances: Collection[str] | None = None,
    agent: str = AGENT,
    repeats_from: Sequence[str] = (),
    without: Sequence[Mapping[str, float]] = (),
) -> Reference:
    """Every sound run of the sources that knows nine tenths of the instances.

    Args:
        sources: Recorded outcomes and run folders, see `harness.importers.load_outcomes`.
        instances: Only these; None: all that the widest run knows.
        agent: Part of the agent's name. Runs of others only inform how hard instances are; where no run names this
            agent, all runs count alike.
        repeats_from: Records of repeated runs, for the share of flips; empty: those among `sources`, or what is known
            of repeats on SWE-bench Verified.
        without: Verdicts by instance of runs that are left out, under whatever name.

    Raises:
        InputError: fewer than two usable runs.
    """
    loaded = load_outcomes(sources)
    runs = [run for run in loaded.runs if run.fault is None and not _is_one_of(run, without)]
    if not runs:
        compared = " beside those that are compared" if without else ""
        raise InputError(f"{', '.join(map(str, sources))}: no usable run{compared}")
    widest = max(runs, key=lambda run: len(run.cells))
    wanted = [i for i in widest.cells if instances is None or i in instances]
    usable = [run for run in runs if _coverage(run, wanted) >= 0.9]
    if len(usable) < LEAST_RUNS:
        raise InputError(
            f"{len(usable)} runs know nine tenths of the {len(wanted)} instances; at least {LEAST_RUNS} are "
            "needed: name more outcomes, such as the leaderboards.json of the SWE-bench site"
        )
    wanted = [i for i in wanted if sum(run.cell(i, whole=True).resolved is not None for run in usable) >= LEAST_RUNS]
    same = [run for run in usable if agent in (run.agent or "")] or usable
    other = [run for run in usable if run not in same]
    verdicts, others = _verdicts(same, wanted), _verdicts(other, wanted)
    price = _price(same, verdicts, wanted)
    estimator = RateEstimator(verdicts, others, price=price, groups=[repository_of(instance) for instance in wanted])
    repeated = _repeated(repeats_from or sources, wanted, required=bool(repeats_from))
    flips, source = _flips(repeated, verdicts)
    left_out = [run.name for run in runs if run not in usable]
    notes = []
    if left_out:
        notes.append(f"left out, with verdicts on fewer than nine tenths of the instances: {', '.join(left_out)}")
    return Reference(
        instances=tuple(wanted),
        estimator=estimator,
        model=RerunModel.fit(estimator.runs.items.slope, estimator.runs.items.difficulty, flips),
        price=price,
        flaky=frozenset(_flaky(repeated)),
        best_rate=float(np.nanmax(np.nanmean(verdicts, axis=0))),
        runs=len(same),
        other_runs=len(other),
        flips=source,
        notes=tuple(notes),
    )


def neutral_reference(instances: Sequence[str], rate: float, *, seed: int = 0) -> Reference:
    """Where no other models are recorded: all instances are alike, in random order."""
    shuffled = [instances[k] for k in np.random.default_rng(seed).permutation(len(instances)).tolist()]
    share = BUILT_IN.share * 2 * rate * (1 - rate)
    return Reference(
        instances=tuple(shuffled),
        estimator=None,
        model=RerunModel.fit(np.ones(len(shuffled)), np.zeros(len(shuffled)), Flips(rate, share)),
        price=np.full(len(shuffled), np.nan),
        flaky=frozenset(),
        best_rate=rate,
        runs=0,
        other_runs=0,
        flips=f"as 8 runs of Qwen3.5-27B on SWE-bench Verified: {share:.1%}",
        notes=("the instances run in random order; outcomes of other models (--from FILE) put informative ones first",),
    )


def _is_one_of(run: RecordedRun, others: Sequence[Mapping[str, float]]) -> bool:
    """Whether a run has the very verdicts of one of the others."""
    for verdicts in others:
        common = [(run.cell(i).resolved, v) for i, v in verdicts.items() if run.cell(i).resolved is not None]
        if common and all(bool(own) == bool(other) for own, other in common):
            return True
    return False


def _coverage(run: RecordedRun, instances: Sequence[str]) -> float:
    return sum(run.cell(i, whole=run.speaks_of_all(instances)).resolved is not None for i in instances) / len(instances)


def _verdicts(runs: Sequence[RecordedRun], instances: Sequence[str]) -> FloatArray:
    """(n, m), NaN where unknown."""
    table = np.full((len(instances), len(runs)), np.nan)
    for j, run in enumerate(runs):
        whole = run.speaks_of_all(instances)
        for i, instance in enumerate(instances):
            resolved = run.cell(instance, whole=whole).resolved
            table[i, j] = np.nan if resolved is None else float(resolved)
    return table


def _price(runs: Sequence[RecordedRun], verdicts: FloatArray, instances: Sequence[str]) -> FloatArray:
    rates = np.nanmean(verdicts, axis=0)
    able = [run for run, rate in zip(runs, rates, strict=True) if rate >= LEAST_RATE] or list(runs)
    costs = [[cost for run in able if (cost := run.cell(i).cost_usd) is not None] for i in instances]
    return np.array([float(np.mean(known)) if known else np.nan for known in costs])


def _repeated(sources: Sequence[str], instances: Sequence[str], *, required: bool) -> list[RepeatedModel]:
    try:
        found, _ = repeated_models(load_outcomes(sources).runs, instances)
    except InputError:
        if required:
            raise
        return []
    # two versions of the agent are no repeats
    return [model for model in found if len(model.agents) == 1]


def _flips(repeated: Sequence[RepeatedModel], verdicts: FloatArray) -> tuple[Flips, str]:
    if repeated:
        widest = max(repeated, key=lambda model: model.runs.resolved.size)
        flips = measure_flips(widest.runs.resolved)
        return flips, f"{len(widest.runs.models)} runs of {widest.name}: {flips.share:.1%} of the verdicts flip"
    rates = np.nanmean(verdicts, axis=0)
    rate = float(rates[rates >= min(LEAST_RATE, rates.max())].mean())
    share = BUILT_IN.share * 2 * rate * (1 - rate)
    return Flips(rate, share), f"no repeats given; as 8 runs of Qwen3.5-27B on SWE-bench Verified: {share:.1%} flip"


def _flaky(repeated: Sequence[RepeatedModel]) -> list[str]:
    low, high = FLAKY
    found = []
    for model in repeated:
        if len(model.runs.models) >= LEAST_REPEATS:
            rates = model.runs.resolved.mean(axis=1)
            found += [i for i, rate in zip(model.runs.instances, rates, strict=True) if low <= rate <= high]
    return found
