"""From a finished run to one attempt an instance: which cells a submission consists of, or why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agents.pool import RECORD, ModelConfig
from harness.config import Config, explain
from harness.data.instances import Dataset, Instance, load_dataset
from harness.data.model_names import match_names
from harness.errors import InputError
from harness.fitting import fitted_on, router_for_pool
from harness.grading.verdict import Verdict
from harness.run.rollout import models_missing_from, roll_out
from harness.store.keys import SEPARATOR
from harness.store.rows import Cell, CellRow, State
from harness.store.run_folder import PATCH_FILE, RunFolder, read_patch
from harness.store.store import Store
from harness.submission.findings import RefusedError, some
from harness.text import counted
from router.router import Router

TRAJECTORY = "trajectory.json"


@dataclass(frozen=True)
class Attempted:
    """One instance's only attempt."""

    instance: Instance
    row: CellRow
    folder: Path
    """The cell's folder: trajectory, report, test output."""
    patch: str
    paid: tuple[CellRow, ...] = ()
    """Every attempt the router requested until it accepted this one, itself included. Empty for a single model."""

    @property
    def cost_usd(self) -> float | None:
        costs = [row.cost_usd for row in self.paid or (self.row,)]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def api_calls(self) -> int | None:
        calls = [row.api_calls for row in self.paid or (self.row,)]
        return None if None in calls else sum(number for number in calls if number is not None)

    @property
    def resolved(self) -> bool:
        return self.row.verdict is Verdict.RESOLVED


@dataclass(frozen=True)
class Collected:
    """Everything of a run that a submission is made of."""

    run: Path
    config: Config
    dataset: Dataset
    """The whole benchmark, also what the run left out."""
    attempts: tuple[Attempted, ...]
    """In the dataset's order."""
    models: tuple[ModelConfig, ...]
    """The model, or every model of the pool that the router may choose."""
    routing: str | None
    """How the model of an instance was chosen; None for a single model."""
    versions: Mapping[str, str]
    date: str
    """YYYYMMDD of the last verdict"""
    attempt: int = 1
    """Which of the model's repeated attempts."""
    repeats: int = 1
    """How often the run let the model attempt the instances; the package holds one of these attempts."""

    @property
    def attempts_tag(self) -> str:
        """The checklist's `system.attempts`: "2+" where some instance was attempted more than once (Best@k)."""
        return "2+" if any(len(attempt.paid) > 1 for attempt in self.attempts) else "1"

    @property
    def made_elsewhere(self) -> bool:
        """Whether polyswe only graded the attempts."""
        return bool(self.config.predictions)

    @property
    def partial(self) -> bool:
        return len(self.attempts) < len(self.dataset.instances)


def collect_run(
    path: Path,
    *,
    model: str | None = None,
    attempt: int = 1,
    routed: bool = False,
    checkpoint: Path | None = None,
    partial: bool = False,
) -> Collected:
    """The attempts of one model, or of the routed system, over the whole benchmark.

    Args:
        path: A run folder.
        model: A part of the model's name; may be left out where the pool has one model.
        attempt: Which of the model's repeated attempts; the routed system's are the first ones.
        routed: Take the routed cells: those of a run in mode `routed`, or of a full matrix those `checkpoint` chooses.
        checkpoint: A fitted router; of a routed run by default the one that routed it.
        partial: Allow a run over some of the benchmark's instances, to try things out.

    Raises:
        InputError: No run, an unknown model, an unusable checkpoint.
        RefusedError: With every reason why these cells are no submission.
    """
    folder = RunFolder(path)
    manifest = folder.read_manifest()
    try:
        config = Config.model_validate(manifest["config"], context=RECORD)
    except ValidationError as error:
        version = manifest.get("versions", {}).get("polyswe", "of an unknown version")
        raise InputError(
            f"{path}: written by polyswe {version} with settings that this version does not know ({explain(error)}); "
            "submit it with the version that ran it"
        ) from error
    whole = load_dataset(config.dataset.model_copy(update={"select": []}))
    run_over = load_dataset(config.dataset)
    if not folder.store_path.is_file():
        raise InputError(f"{path}: no outcomes.sqlite in it; name the folder of a run")
    with Store(folder.store_path, read_only=True) as store:
        rows = {row.cell: row for row in store.rows()}
        redone = {earlier.cell: earlier for earlier in reversed(store.replaced())}  # the first attempt of each
    faults = [] if rows else ["the run has no cells: it was never started"]
    if len(run_over.instances) < len(whole.instances) and not partial:
        faults.append(
            f"the run is over {len(run_over.instances)} of the {len(whole.instances)} instances of {whole.name}; a "
            "leaderboard takes the whole split (--partial writes a trial package)"
        )
    routing = None
    if routed:
        pool = config.pool
        routing = _routing(config, run_over, rows, folder, checkpoint)
        chosen, faults = routing.accepted, [*faults, *routing.faults]
    else:
        name = _single(config, model)
        pool = [entry for entry in config.pool if entry.name == name]
        chosen = {instance.instance_id: name for instance in run_over.instances}
    attempts, missing = _attempts(
        folder,
        run_over,
        rows,
        {name: Cell(name, one, attempt) for name, one in chosen.items()},
        routing.requested if routing else {},
    )
    used = {row.cell for attempt in attempts for row in (attempt.row, *attempt.paid)} & redone.keys()
    if used:
        verdicts = Counter(str(redone[cell].row.verdict) for cell in used)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        missing.append(
            f"{counted(len(used), 'attempt')} redone after the verdict was known (first verdicts: {counts}): a "
            "leaderboard takes first attempts (pass@1); evaluate anew with another --run-id"
        )
    if faults := [*faults, *missing]:
        raise RefusedError(str(path), faults)
    return Collected(
        run=path,
        config=config,
        dataset=whole,
        attempts=tuple(attempts),
        models=tuple(pool),
        routing=routing.description if routing else None,
        versions=manifest.get("versions", {}),
        date=max(one.row.updated_at for one in attempts)[:10].replace("-", ""),
        attempt=attempt,
        repeats=max(cell.attempt for cell in rows if cell.model in {entry.name for entry in pool}),
    )


def _single(config: Config, model: str | None) -> str:
    names = [entry.name for entry in config.pool]
    if model is not None:
        return match_names([model], names)[0]
    if len(names) == 1:
        return names[0]
    raise InputError(f"the run has {len(names)} models ({', '.join(names)}): choose with --model NAME, or --routed")


def _attempts(
    folder: RunFolder,
    dataset: Dataset,
    rows: Mapping[Cell, CellRow],
    chosen: Mapping[str, Cell],
    requested: Mapping[str, Sequence[str]],
) -> tuple[list[Attempted], list[str]]:
    """The finished cells, and what is missing of the others, a line a kind."""
    attempts: list[Attempted] = []
    unusable: dict[str, list[str]] = {}
    for instance in dataset.instances:
        name = instance.instance_id
        if name not in chosen:
            continue  # the routing's faults say so already
        row = rows.get(chosen[name])
        if row is None:
            unusable.setdefault("no cell", []).append(str(chosen[name]))
        elif row.state is not State.GRADED:
            why = f"no verdict ({row.failure or row.state})"
            unusable.setdefault(why, []).append(str(row.cell))
        elif not row.key.split(SEPARATOR)[-1].startswith(f"{instance.fingerprint}."):
            unusable.setdefault("run on another version of the instance", []).append(name)
        else:
            cell_dir = folder.cell_dir(row.cell)
            if missing := _missing_files(cell_dir, row):
                unusable.setdefault(f"no {' and no '.join(missing)}", []).append(str(row.cell))
            else:
                paid = tuple(rows[Cell(name, model)] for model in requested.get(name, ()))
                attempts.append(Attempted(instance, row, cell_dir, read_patch(folder, row.cell), paid))
    reasons = [f"{counted(len(cells), 'attempt')} with {what}: {some(cells)}" for what, cells in unusable.items()]
    return attempts, reasons


def _missing_files(cell_dir: Path, row: CellRow) -> list[str]:
    needed = [PATCH_FILE, TRAJECTORY]
    if row.verdict in (Verdict.RESOLVED, Verdict.UNRESOLVED):
        needed += ["report.json", "test_output.txt"]
    return [name for name in needed if not (cell_dir / name).is_file()]


@dataclass(frozen=True)
class _Routing:
    """What a router decided for the instances of a run."""

    accepted: dict[str, str]
    """Model whose patch is handed in, by instance."""
    requested: dict[str, tuple[str, ...]]
    """Models whose attempts are paid for, by instance."""
    description: str
    faults: tuple[str, ...]
    """Why this is no system to submit."""


def _routing(
    config: Config, dataset: Dataset, rows: Mapping[Cell, CellRow], folder: RunFolder, checkpoint: Path | None
) -> _Routing:
    """The choices of a checkpoint that knows nothing of these instances.

    A choice that was learned from the outcomes of the instance itself (or from those of the test) is test knowledge; so
    is the cross-fitted row of a matrix, which changes its router from fold to fold. Both are refused.
    """
    path = checkpoint or config.router.checkpoint
    if path is None:
        raise RefusedError(
            "routed",
            [
                "the run is a matrix and no --checkpoint was given: its cross-fitted row is an estimate made with a "
                "router per fold, not a system somebody could deploy; fit one on other instances with 'polyswe fit'"
            ],
        )
    router = router_for_pool(path, config.pool, config.router)
    pool = [entry.name for entry in config.pool]
    try:
        rollouts = roll_out(router, dataset, list(rows.values()), folder, pool)
    except FileNotFoundError as error:
        raise RefusedError(str(folder.path), [f"{error.filename} is missing"]) from error
    requested = {name: rollout.models for name, rollout in rollouts.items()}
    accepted = {name: rollout.accepted for name, rollout in rollouts.items() if rollout.accepted is not None}
    ids = [instance.instance_id for instance in dataset.instances]
    faults = unfit(router, ids, path)
    if strangers := sorted({model for models in requested.values() for model in models} - set(pool)):
        faults.append(f"the checkpoint routes to {', '.join(strangers)}, not in the run's pool")
    elif undecided := [name for name in ids if name not in accepted]:
        faults.append(
            f"{counted(len(undecided), 'instance')} without an attempt the router requests: {some(undecided)}"
        )
    if config.run.mode == "routed":
        extra = {cell.instance_id for cell in rows if cell.model not in requested.get(cell.instance_id, ())}
        if of_run := sorted(extra & set(ids)):
            faults.append(
                f"{counted(len(of_run), 'instance')} attempted by models the router did not request: {some(of_run)}"
            )
    description = _describe(router, accepted, requested, pool)
    return _Routing(accepted, requested, description, tuple(faults))


def _describe(
    router: Router, accepted: Mapping[str, str], requested: Mapping[str, Sequence[str]], pool: Sequence[str]
) -> str:
    """The routing in words, for the entry's README."""
    escalated = sum(len(requested[name]) > 1 for name in accepted)
    sentences = [
        f"A '{router.policy.name}' router fitted on {router.provenance.get('instances', 'an unknown number of')} other "
        "instances reads the problem statement and picks the model before an attempt starts; of the instance nothing "
        "but its text is seen."
    ]
    if escalated:
        sentences.append(
            f"It looks at the finished attempt and took {escalated} of {len(accepted)} instances to a further model; "
            "one patch is handed in, chosen without any test, and every attempt is paid for."
        )
    else:
        sentences.append("One attempt per instance.")
    counts = Counter(accepted.values()).most_common()
    sentences.append(f"Patches by model: {', '.join(f'{name} {count}' for name, count in counts)}.")
    if absent := models_missing_from(router, pool):
        sentences.append(
            f"The router also knew {', '.join(absent)}, which took no part: the next best took their instances."
        )
    return " ".join(sentences)


def unfit(router: Router, instances: Sequence[str], path: Path) -> list[str]:
    """Why a router must not decide these instances in a submission; nothing when it was fitted on others."""
    both = fitted_on(router, instances)
    if both is None:
        return [f"{path} does not say on which instances it was fitted (an older checkpoint): fit it again"]
    if both:
        return [
            f"{path} was fitted on the outcomes of {len(both)} of these instances ({some(both)}): its choices there "
            "know the tests; fit it on other instances"
        ]
    return []
