"""A new model with few labels: how wrong is its estimated rate, and what does the router lose by it?

Every run of a group takes its turn as the newcomer: the other recorded runs, but those of its model and later ones,
are the reference, n of its verdicts are known, the rest is estimated (`router.lab.anchors`). The router then decides a
pool of the newcomer and the reference runs nearest to it in rate, fitted with the newcomer's column known on those n
instances only; regret is what it resolves less than the same router that knows the whole column, both held out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.evaluation.stats import bootstrap_mean
from harness.files import write_atomic
from harness.importers.duplicates import same_verdicts
from harness.lab.recorded import RecordedStudy
from harness.lab.trials import Execution, Record, run_trials
from router.lab.anchors import ReferenceRuns
from router.lab.crossfit import crossfit, folds
from router.outcomes import OutcomeMatrix, replay_choices
from router.policies import make_policy

COUNTS = (20, 40, 80, 160)
"""Numbers of labels, unless others are given."""
POLICY = "shared-difficulty"
"""The router whose regret is measured."""
RIVALS = 3
"""Other models of the router's pool."""
RANDOM_DRAWS = 20
"""Random sets of instances that the chosen ones are compared with."""
REGRET_FOLDS = 5
"""Of the cross-fitted router."""


@dataclass(frozen=True)
class LabelRow:
    """Over all newcomers, for one number of labels."""

    labels: int
    error: float
    """Mean absolute error of the estimated rate with chosen instances, in points."""
    error_ci95: tuple[float, float]
    """Bootstrap over newcomers."""
    random_error: float
    """The same for the plain mean of as many instances drawn at random."""
    covered: float
    """Share of newcomers whose true rate lies in the stated 95 % interval."""
    regret: float
    """Instances the router resolves less than with every label of the newcomer, held out."""
    regret_ci95: tuple[float, float]


@dataclass(frozen=True)
class LabelStudy:
    data: str
    newcomers: tuple[str, ...]
    reference_runs: int
    """At most; a newcomer's own model and later runs are left out of its reference."""
    instances: int
    seed: int
    rows: tuple[LabelRow, ...]
    trials: tuple[Record, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    def render(self) -> str:
        lines = [
            f"{len(self.newcomers)} runs of {self.data} in turn as the new model, up to {self.reference_runs} other "
            f"runs as the reference (none of its own model, none later), {self.instances} instances; "
            f"router: {POLICY} over the newcomer and {RIVALS} others.",
            "",
            "| labels | error of the rate, points | random instances | in its 95 % interval | router's regret |",
            "|---|---|---|---|---|",
        ]
        for row in self.rows:
            lines.append(
                f"| {row.labels} | {row.error:.2f} [{row.error_ci95[0]:.2f}, {row.error_ci95[1]:.2f}] | "
                f"{row.random_error:.2f} | {row.covered:.0%} | "
                f"{row.regret:.1f} [{row.regret_ci95[0]:.1f}, {row.regret_ci95[1]:.1f}] |"
            )
        return "\n".join(lines)


def study_labels(
    study: RecordedStudy, *, counts: Sequence[int] = COUNTS, seed: int = 0, execution: Execution | None = None
) -> LabelStudy:
    """Each run of a study in turn as the newcomer, the others and the reference runs known.

    Args:
        study: Complete outcomes; its `known_before` says which runs are known to whom, None: all.
        counts: Numbers of labels.
        seed: Of random instances and folds.
        execution: How it is run; writes labels.json and labels.md to its folder.

    Raises:
        InputError: too few runs or instances, or an unknown verdict.
    """
    outcomes, reference, execution = study.outcomes, study.reference, execution or Execution()
    if len(outcomes.models) < 3 or not outcomes.complete():
        raise InputError("labels: at least 3 runs with every verdict known are needed")
    if not all(1 <= n < len(outcomes) for n in counts):
        raise InputError(f"labels: numbers between 1 and {len(outcomes) - 1} are needed, got {list(counts)}")
    X = np.ascontiguousarray(study.embeddings, dtype=np.float64)
    columns = len(outcomes.models) + (0 if reference is None else len(reference.models))
    known = np.ones((len(outcomes.models), columns), dtype=bool) if study.known_before is None else study.known_before
    if known.shape != (len(outcomes.models), columns) or (known.sum(axis=1) < 2).any():
        raise InputError("labels: every new model needs 2 runs that were known before it")
    settings = [study.name, outcomes.models, list(counts), seed, float(X.sum()), outcomes.resolved.sum()]
    kept = execution.kept("labels")
    trials = run_trials(
        _LabelJudge(X=X, outcomes=outcomes, reference=reference, known_before=known, counts=tuple(counts), seed=seed),
        list(range(len(outcomes.models))),
        settings=json.dumps([*settings, known.tolist()]),
        kept=kept,
        execution=execution,
        unit="model",
    )
    found = LabelStudy(
        data=study.name,
        newcomers=outcomes.models,
        reference_runs=int((known & ~np.eye(*known.shape, dtype=bool)).sum(axis=1).max()),
        instances=len(outcomes),
        seed=seed,
        rows=tuple(_row(n, [trial[str(n)] for trial in trials], seed) for n in counts),
        trials=tuple(trials),
    )
    if execution.out is not None and kept is not None:
        write_atomic(execution.out / "labels.json", found.to_json())
        write_atomic(execution.out / "labels.md", found.render() + "\n")
        kept.unlink(missing_ok=True)
    return found


@dataclass(frozen=True)
class _LabelJudge:
    """One newcomer at every number of labels; pickled to the workers."""

    X: NDArray[np.float64]
    outcomes: OutcomeMatrix
    reference: OutcomeMatrix | None
    known_before: NDArray[np.bool_]
    counts: tuple[int, ...]
    seed: int

    def __call__(self, newcomer: int) -> Record:
        from threadpoolctl import threadpool_limits

        outcomes = self.outcomes
        truth = outcomes.resolved[:, newcomer]
        others = self._known(newcomer)
        rng = np.random.default_rng([self.seed, newcomer])
        record: Record = {"newcomer": outcomes.models[newcomer], "rate": float(truth.mean())}
        with threadpool_limits(limits=1):
            runs = ReferenceRuns(others)
            whole = self._held_out(newcomer, truth)
            for n in self.counts:
                labels = np.full(len(truth), np.nan)
                anchors = runs.choose_anchors(n)
                labels[anchors] = truth[anchors]
                estimate = runs.estimate(labels)
                drawn = [truth[rng.choice(len(truth), n, replace=False)].mean() for _ in range(RANDOM_DRAWS)]
                record[str(n)] = {
                    "error": round(100 * abs(estimate.rate - float(truth.mean())), 4),
                    "covered": bool(estimate.low <= truth.mean() <= estimate.high),
                    "random_error": round(100 * float(np.abs(np.array(drawn) - truth.mean()).mean()), 4),
                    "regret": round(whole - self._held_out(newcomer, labels), 4),
                }
        return record

    def _known(self, newcomer: int) -> NDArray[np.float64]:
        """(n, k) verdicts of the runs known before it, none of which is the newcomer under another name."""
        columns = list(self.outcomes.resolved.T) + ([] if self.reference is None else list(self.reference.resolved.T))
        truth, m = columns[newcomer], len(self.outcomes.models)
        return np.array(
            [
                column
                for k, column in enumerate(columns)
                if k != newcomer and self.known_before[newcomer, k] and not (k >= m and same_verdicts(truth, column))
            ]
        ).T

    def _held_out(self, newcomer: int, labels: NDArray[np.float64]) -> float:
        """Instances resolved by the router that knows `labels` (n,) of the newcomer."""
        outcomes = self.outcomes
        counts = outcomes.resolved.sum(axis=0)
        nearest = [h for h in np.argsort(np.abs(counts - counts[newcomer]), kind="stable") if h != newcomer][:RIVALS]
        pool = outcomes.pool([outcomes.models[h] for h in (newcomer, *nearest)])
        known = np.array(pool.resolved)
        known[:, 0] = labels
        splits = folds(len(pool), REGRET_FOLDS, 1, self.seed)
        choices = crossfit(make_policy(POLICY), self.X, pool.with_resolved(known), splits).choices
        return replay_choices(pool, choices).resolved_count


def _row(labels: int, trials: Sequence[Any], seed: int) -> LabelRow:
    def mean(key: str) -> float:
        return round(float(np.mean([trial[key] for trial in trials])), 3)

    def interval(key: str) -> tuple[float, float]:
        low, high = bootstrap_mean([trial[key] for trial in trials], seed=seed)
        return round(low, 3), round(high, 3)

    return LabelRow(
        labels=labels,
        error=mean("error"),
        error_ci95=interval("error"),
        random_error=mean("random_error"),
        covered=mean("covered"),
        regret=mean("regret"),
        regret_ci95=interval("regret"),
    )
