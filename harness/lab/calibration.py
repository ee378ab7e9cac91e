"""Does a claim of a win mean anything? Simulated pools with a known truth, judged by the rule for one policy.

On pools without any model × instance interaction a claim is false; on pools with a planted effect a missed claim is the
price of the test. Both shares are measured with the code that judges real pools: cross-fitting, and a permutation null
with full refit.

What is calibrated is exactly this: one policy alone, its raw p < 0.05, and a gain over the best single model in
hindsight, p and gain both over `Settings.repeats` repeats of the folds (1 by default). A replay's verdict
differs in three ways: its p is over two repeats, its gain over all repeats, and among several routing policies the best
row's p is corrected by Holm's method, which makes claims rarer, true and false ones alike. Pools below 50 instances,
which the verdict never judges, are not barred here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.evaluation.policy_rows import PERMUTATIONS
from harness.evaluation.stats import detectable_gain, wilson_interval
from harness.evaluation.verdict import SIGNIFICANT
from harness.files import write_atomic
from harness.lab.trials import Execution, Record, run_trials
from router.lab.crossfit import crossfit, folds
from router.lab.nulls import permutation_null
from router.lab.simulation import random_embeddings, simulate_pool
from router.outcomes import single
from router.policies import make_policy

MODELS = (3, 4, 5, 6)
"""Sizes of the simulated pools, in turn."""
GAINS = (3.0,)
"""Planted effects in points, unless others are given."""
HOPELESS = 10
"""Draws that reach the observed gain after which no further one can make 200 permutations significant."""


@dataclass(frozen=True)
class Settings:
    """Everything a calibration depends on; the same settings give the same numbers."""

    policy: str = "cluster"
    """One; others are calibrated by runs of their own."""
    params: Mapping[str, Any] | None = None
    pools: int = 200
    gains: tuple[float, ...] = GAINS
    """Planted effects in points (0 is always measured)."""
    topics: int = 2
    instances: int = 500
    folds: int = 10
    repeats: int = 1
    permutations: int = PERMUTATIONS
    seed: int = 0
    embeddings: str = "random"
    """What the embeddings are of, for the reader."""


@dataclass(frozen=True)
class Trial:
    """One simulated pool, judged."""

    claimed: bool
    p_value: float
    gain: float
    """Held-out gain over the hindsight-best single model, in instances."""
    detectable: float | None
    """What the null of this pool says could be detected, see `detectable_gain`; None where it was cut short."""


@dataclass(frozen=True)
class Share:
    """How many of the pools with one planted effect were claimed as wins."""

    planted_points: float
    claimed: int
    pools: int
    ci95: tuple[float, float]
    mean_gain: float
    """Mean held-out gain, in instances: what of the planted effect the policy finds."""
    sd_gain: float
    mean_detectable: float | None
    by_models: dict[str, float]
    """Share claimed by the number of models in the pool."""

    @property
    def share(self) -> float:
        return self.claimed / self.pools


@dataclass(frozen=True)
class Calibration:
    """Shares by planted effect; the first is of pools with nothing to find."""

    settings: Settings
    embeddings_sha256: str
    shares: tuple[Share, ...]

    def to_json(self) -> str:
        rows = [asdict(share) | {"share": share.share} for share in self.shares]
        rule = f"permutation p < {SIGNIFICANT} and held-out gain over the hindsight-best single model > 0"
        document = {
            "settings": asdict(self.settings),
            "embeddings_sha256": self.embeddings_sha256,
            "claim": rule,
            "shares": rows,
        }
        return json.dumps(document, indent=2, allow_nan=False) + "\n"

    def render(self) -> str:
        """A line per planted effect, and what to think of the test."""
        s = self.settings
        lines = [
            f"{s.policy} alone over {s.embeddings} embeddings; a win is claimed at raw p < {SIGNIFICANT} and a "
            f"positive difference to the hindsight-best single model ({s.repeats} × {s.folds} folds):"
        ]
        for share in self.shares:
            low, high = share.ci95
            what = "nothing to find" if share.planted_points == 0 else f"{share.planted_points:g} points planted"
            lines.append(
                f"  {what:<20} claimed in {share.claimed:3d} of {share.pools} pools ({share.share:.1%}, "
                f"95 % interval {low:.1%} to {high:.1%}), held-out gain {share.mean_gain:+.1f} ± {share.sd_gain:.1f}"
            )
        detectable = next((s.mean_detectable for s in self.shares[::-1] if s.mean_detectable is not None), None)
        if detectable is not None:
            lines.append(
                f"  power is limited: with {s.instances} instances a gain under about {detectable:.1f} instances is "
                "mostly invisible (estimate from the permutation nulls that ran to their end: 80 % power)"
            )
        return "\n".join(lines)


def calibrate(
    settings: Settings,
    embeddings: NDArray[np.floating[Any]] | None = None,
    *,
    workers: int = 1,
    out: Path | None = None,
    show_bar: bool = False,
) -> Calibration:
    """Judge `settings.pools` simulated pools per planted effect.

    Args:
        settings: See `Settings`.
        embeddings: (n, d) of real texts; None draws random ones. With more rows than `settings.instances` the first
            ones are taken.
        workers: Processes; the numbers do not depend on it.
        out: A JSON file to write; beside it trials are kept until all are done, so that a stopped run can be continued.
        show_bar: Draw a progress bar.

    Raises:
        InputError: an unknown policy or parameter, too few embeddings, or an effect too large to plant.
    """
    if embeddings is None:
        embeddings = random_embeddings(settings.instances, np.random.default_rng(settings.seed))
    if len(embeddings) < settings.instances:
        raise InputError(f"{len(embeddings)} texts for {settings.instances} instances; give --instances that many")
    X = np.ascontiguousarray(embeddings[: settings.instances], dtype=np.float64)
    if settings.pools < 1 or not all(0 < gain < 30 for gain in settings.gains):
        raise InputError("at least 1 pool, and planted effects between 0 and 30 points, are needed")
    tasks = [(points, k) for points in (0.0, *settings.gains) for k in range(settings.pools)]
    fingerprint = hashlib.sha256(X.tobytes()).hexdigest()
    kept = None if out is None else out.with_suffix(".partial.jsonl")
    records = run_trials(
        _Judge(settings, X),
        tasks,
        settings=json.dumps([asdict(settings), fingerprint]),
        kept=kept,
        execution=Execution(workers=workers, show_bar=show_bar),
    )
    trials: dict[float, list[Trial]] = {}
    for (points, _), record in zip(tasks, records, strict=True):
        trials.setdefault(points, []).append(Trial(**record))  # type: ignore[arg-type]
    calibration = Calibration(settings, fingerprint, tuple(_share(points, judged) for points, judged in trials.items()))
    if out is not None:
        write_atomic(out, calibration.to_json())
    if kept is not None:
        kept.unlink(missing_ok=True)
    return calibration


@dataclass(frozen=True)
class _Judge:
    """Simulates and judges one pool; pickled to the workers."""

    settings: Settings
    X: NDArray[np.float64]

    def __call__(self, task: tuple[float, int]) -> Record:
        from threadpoolctl import threadpool_limits

        points, k = task
        settings = self.settings
        rng = np.random.default_rng([settings.seed, k, int(points * 1000)])
        try:
            with threadpool_limits(limits=1):
                policy = make_policy(settings.policy, **(settings.params or {}))
                models = MODELS[k % len(MODELS)]
                pool = simulate_pool(self.X, rng, models=models, gain=points / 100, topics=settings.topics)
                # folds and clusters do not depend on the pool, so they are learned once
                splits = folds(settings.instances, settings.folds, settings.repeats, settings.seed)
                null = permutation_null(
                    policy,
                    self.X,
                    pool.outcomes,
                    splits,
                    settings.permutations,
                    seed=k,
                    stop_after=max(HOPELESS, settings.permutations // 20 + 1),
                )
                replay = crossfit(policy, self.X, pool.outcomes, splits)
        except ValueError as error:
            raise InputError(f"calibrate: {error}") from error
        best = single(pool.outcomes, pool.outcomes.best_single()).resolved
        error_of_gain = float((replay.resolved - best).std() * np.sqrt(settings.instances))
        trial = Trial(
            claimed=bool(null.p_value < SIGNIFICANT and null.observed > 0),
            p_value=null.p_value,
            gain=null.observed,
            detectable=detectable_gain(null.null, error_of_gain) if len(null.null) == settings.permutations else None,
        )
        return asdict(trial)


def _share(points: float, trials: Sequence[Trial]) -> Share:
    claimed = sum(trial.claimed for trial in trials)
    gains = np.array([trial.gain for trial in trials])
    detectable = [trial.detectable for trial in trials if trial.detectable is not None]
    by_models = {
        str(models): float(np.mean([trial.claimed for trial in trials[k :: len(MODELS)]]))
        for k, models in enumerate(MODELS)
        if trials[k :: len(MODELS)]
    }
    low, high = wilson_interval(claimed, len(trials))
    return Share(
        planted_points=points,
        claimed=claimed,
        pools=len(trials),
        ci95=(round(low, 4), round(high, 4)),
        mean_gain=round(float(gains.mean()), 3),
        sd_gain=round(float(gains.std()), 3),
        mean_detectable=round(float(np.mean(detectable)), 3) if detectable else None,
        by_models=by_models,
    )
