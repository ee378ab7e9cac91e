"""The parts of results/replay: what each is made with, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.data.instances import read_problem_statements
from harness.evaluation.policy_rows import Progress, silent
from harness.evaluation.settings import EvaluationSettings
from harness.importers import load_outcomes
from harness.importers.same_model import model_words
from harness.lab.calibration import Settings, calibrate
from harness.lab.labels import study_labels
from harness.lab.pools import study_pools
from harness.lab.recorded import joint, recorded
from harness.lab.transfer import study_transfer
from harness.lab.trials import Execution
from harness.replay import RecordedSources, replay_sources, write_replay
from harness.report.figures import write_figures
from router.policies import live_policies

OLD, NEW = "outcomes/leaderboards-2025-12-10.json", "outcomes/leaderboards-2026-02-26.json"
TASKS, EXPERIMENTS = "tasks/swebench_verified.jsonl", "outcomes/experiments"
OTHER_TASKS = "tasks/swebench_multilingual.jsonl"
S3 = ("opus 4.5 medium", "gemini 3 pro", "claude 4.5 sonnet (20250929)")
"""The pool of s3, by parts of names."""
SECOND_VERSION = "mini-swe-agent 2"
"""The agent whose runs are the pool of m12."""
VARIANTS = ("cascade:prior=shared-difficulty",)
"""Rows beside every policy by itself: item-response and cascade together."""
TRANSFERRED = ("cluster", "shared-difficulty")
TRANSFER_REPEATS = 2
ALSO_CALLED = {"MiniMax M2.5 (high reasoning)": "Minimax 2.5"}
"""Models whose names on the two boards do not have the same words."""
NULL_CLUSTERS = 7
"""Clusters of equal sizes that s3 is compared with, unless sizes are given."""
POOL_REPEATS = 1
"""Of random pools: their number does what repeats would."""
CALIBRATIONS = {"cluster": ({"n_clusters": 3}, 200), "auto": ({}, 30)}
"""Parameters and simulated pools per planted effect; a pool takes auto ten times as long."""
ASIDE = frozenset(("random", "hypernova", "select", "cost-first"))
"""Policies that are no rows of s3 and m12: `hypernova` has parts of its own, so that its row changes no correction for
the number of policies; `select` needs tests, `cost-first` a price."""
PARTS = (
    "s3",
    "hypernova-s3",
    "hypernova-m12",
    "labels",
    "transfer",
    "calibration-cluster",
    "pools",
    "pools-v2",
    "calibration-auto",
    "m12",
)
"""In the order they are made, the longest last."""
GROUPS = {
    "calibration": ("calibration-cluster", "calibration-auto"),
    "hypernova": ("hypernova-s3", "hypernova-m12"),
}
"""Names for several parts."""


@dataclass(frozen=True)
class TableSettings:
    """What can be chosen of the parts."""

    policies: Sequence[str] | None = None
    """Of s3 and m12; None takes all that route, and VARIANTS."""
    pools: int = 100
    """Random pools."""
    repeats: int = 10
    """Of the folds of s3 and m12; random pools have POOL_REPEATS."""
    null_sizes: Sequence[int] = ()
    """A published router's cluster sizes for s3; empty: NULL_CLUSTERS clusters of equal sizes."""
    calibration_pools: int | None = None
    """Simulated pools per planted effect; None takes those of CALIBRATIONS."""

    def chosen_policies(self) -> list[str]:
        """The slowest first, so that no process is left alone with it."""
        routing = [name for name in live_policies() if name not in ASIDE]
        return list(self.policies or [*VARIANTS, *routing])


@dataclass(frozen=True)
class Part:
    """A folder of results/replay."""

    settings: dict[str, Any]
    """What its stamp names."""
    files: tuple[str, ...]
    """Files and folders of the data folder that it is made of."""
    make: Callable[[Path], object]
    """Makes it in a folder."""


def parts_of(data: Path, settings: TableSettings, workers: int, progress: Progress = silent) -> dict[str, Part]:
    """Every part by name.

    Args:
        data: The data folder, see `harness.lab.tables`.
        settings: What can be chosen.
        workers: Processes.
        progress: Called before each stage.
    """
    policies, pools, repeats = settings.chosen_policies(), settings.pools, settings.repeats
    repeated = tuple(sorted(str(path.relative_to(data)) for path in (data / "outcomes").glob("repeats_*.csv")))
    evaluation = EvaluationSettings(policies=policies, repeats=repeats)
    # what may inform s3 is older than the second record anyway
    s3 = Part(
        {"policies": policies, "repeats": repeats, "pool": S3, "null_sizes": list(settings.null_sizes)},
        (OLD, EXPERIMENTS, TASKS, *repeated),
        partial(make_s3, data, repeated, evaluation, settings.null_sizes, progress),
    )
    m12 = Part(
        {"policies": policies, "repeats": repeats, "pool": SECOND_VERSION},
        (OLD, NEW, EXPERIMENTS, TASKS, *repeated),
        partial(make_m12, data, repeated, evaluation, progress),
    )
    alone = replace(evaluation, policies=["hypernova"])
    parts = {
        "s3": s3,
        "m12": m12,
        "hypernova-s3": Part(
            s3.settings | {"policies": alone.policies},
            s3.files,
            partial(make_s3, data, repeated, alone, settings.null_sizes, progress),
        ),
        "hypernova-m12": Part(
            m12.settings | {"policies": alone.policies},
            m12.files,
            partial(make_m12, data, repeated, alone, progress),
        ),
        "pools": Part(
            {"pools": pools, "repeats": POOL_REPEATS},
            (NEW, TASKS),
            partial(make_pools, data, None, pools, workers),
        ),
        "pools-v2": Part(
            {"pools": pools, "repeats": POOL_REPEATS, "agent": SECOND_VERSION},
            (NEW, TASKS),
            partial(make_pools, data, SECOND_VERSION, pools, workers),
        ),
        "labels": Part({"agent": SECOND_VERSION}, (NEW, EXPERIMENTS, TASKS), partial(make_labels, data, workers)),
        "transfer": Part(
            {"policies": TRANSFERRED, "repeats": TRANSFER_REPEATS, "also_called": ALSO_CALLED},
            (NEW, TASKS, OTHER_TASKS),
            partial(make_transfer, data),
        ),
    }
    for policy, (params, count) in CALIBRATIONS.items():
        number = settings.calibration_pools or count
        parts[f"calibration-{policy}"] = Part(
            {"policy": policy, "params": params, "pools": number},
            (),
            partial(make_calibration, Settings(policy=policy, params=params, pools=number), workers),
        )
    return parts


def make_s3(
    data: Path,
    repeated: Sequence[str],
    settings: EvaluationSettings,
    null_sizes: Sequence[int],
    progress: Progress,
    out: Path,
) -> None:
    """Three models of the first record."""
    if not null_sizes:
        n = len(read_problem_statements(data / TASKS))
        null_sizes = [n // NULL_CLUSTERS + (k < n % NULL_CLUSTERS) for k in range(NULL_CLUSTERS)]
    sources = RecordedSources(
        outcomes=[data / OLD],
        tasks=data / TASKS,
        pool=S3,
        auxiliary=_present(data, OLD, EXPERIMENTS),
        repeats_from=[data / name for name in repeated],
    )
    _replay(sources, replace(settings, null_sizes=null_sizes), progress, out)


def make_m12(data: Path, repeated: Sequence[str], settings: EvaluationSettings, progress: Progress, out: Path) -> None:
    """Every model of the second record that the agent's second version ran."""
    sources = RecordedSources(
        outcomes=[data / NEW],
        tasks=data / TASKS,
        pool=[
            run.name
            for run in load_outcomes([data / NEW]).runs
            if SECOND_VERSION in (run.agent or "") and run.board == "bash-only"
        ],
        auxiliary=_present(data, OLD, NEW, EXPERIMENTS),
        repeats_from=[data / name for name in repeated],
    )
    _replay(sources, settings, progress, out)


def _present(data: Path, *names: str) -> list[Path]:
    return [data / name for name in names if (data / name).exists()]


def _replay(sources: RecordedSources, settings: EvaluationSettings, progress: Progress, out: Path) -> None:
    results, outcomes = replay_sources(sources, settings, words=False, progress=progress)
    write_replay(results, outcomes, out)
    write_figures(results, out / "figures")


def make_pools(data: Path, agent: str | None, pools: int, workers: int, out: Path) -> None:
    """Random pools of the second record's runs, or of one agent's."""
    study = recorded([str(data / NEW)], str(data / TASKS), agent=agent)
    execution = Execution(workers=workers, out=out, show_bar=True)
    study_pools(study, pools=pools, repeats=POOL_REPEATS, execution=execution)


def make_labels(data: Path, workers: int, out: Path) -> None:
    """Each run of the agent's second version in turn as the new model."""
    reference = [str(data / EXPERIMENTS)] if (data / EXPERIMENTS).is_dir() else []
    study = recorded([str(data / NEW)], str(data / TASKS), agent=SECOND_VERSION, reference=reference)
    study_labels(study, execution=Execution(workers=workers, out=out, show_bar=True))


def make_transfer(data: Path, out: Path) -> None:
    """m12 with what is recorded of the same models on the other benchmark."""
    runs = [run for run in load_outcomes([data / NEW]).runs if run.fault is None]
    pool = [run.name for run in runs if SECOND_VERSION in (run.agent or "") and run.board == "bash-only"]
    elsewhere = [run.name for run in runs if run.board == "Multilingual"]
    named = dict(ALSO_CALLED)
    for own in pool:
        for other in elsewhere:
            if model_words(own) == model_words(other):
                named.setdefault(own, other)
    study, transferred = joint(
        [str(data / NEW)],
        str(data / TASKS),
        [str(data / NEW)],
        str(data / OTHER_TASKS),
        pool,
        [f"{own}={other}" for own, other in named.items() if own != other],
    )
    study_transfer(study, transferred, policies=TRANSFERRED, repeats=TRANSFER_REPEATS, out=out)


def make_calibration(settings: Settings, workers: int, out: Path) -> None:
    """Claims of one policy on simulated pools."""
    calibrate(settings, workers=workers, out=out / "calibration.json", show_bar=True)
