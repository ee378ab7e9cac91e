"""From a finished run to one attempt an instance: which cells a submission consists of, or why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agents.pool import ModelConfig
from harness.config import Config, explain
from harness.data.instances import Dataset, Instance, load_dataset
from harness.data.model_names import match_names
from harness.errors import InputError
from harness.grading.verdict import Verdict
from harness.store.run_folder import PATCH_FILE, RunFolder, read_patch
from harness.store.store import Cell, CellRow, State, Store
from harness.submission.findings import RefusedError, some

if TYPE_CHECKING:
    from router.router import Router

TRAJECTORY = "trajectory.json"


@dataclass(frozen=True)
class Attempted:
    """One instance's only attempt."""

    instance: Instance
    row: CellRow
    folder: Path
    """the cell's folder: trajectory, report, test output"""
    patch: str
    asked: tuple[CellRow, ...] = ()
    """every attempt the router asked for before it accepted this one, itself included; all of them are paid for"""

    @property
    def cost_usd(self) -> float | None:
        costs = [row.cost_usd for row in self.asked or (self.row,)]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def api_calls(self) -> int | None:
        calls = [row.api_calls for row in self.asked or (self.row,)]
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
    """the whole benchmark, also what the run left out"""
    attempts: tuple[Attempted, ...]
    """in the dataset's order"""
    models: tuple[ModelConfig, ...]
    """the model, or every model of the pool that the router may choose"""
    routing: str | None
    """how the model of an instance was chosen; None for a single model"""
    versions: Mapping[str, str]
    date: str
    """YYYYMMDD of the last verdict"""

    @property
    def attempts_tag(self) -> str:
        """The checklist's `system.attempts`: "2+" where some instance was attempted more than once (Best@k)."""
        return "2+" if any(len(attempt.asked) > 1 for attempt in self.attempts) else "1"

    @property
    def partial(self) -> bool:
        return len(self.attempts) < len(self.dataset.instances)


def collect_run(
    path: Path, *, model: str | None = None, routed: bool = False, checkpoint: Path | None = None, partial: bool = False
) -> Collected:
    """The attempts of one model, or of the routed system, over the whole benchmark.

    Args:
        path: a run folder.
        model: a part of the model's name; may be left out where the pool has one model.
        routed: take the routed cells: those of a run in mode `routed`, or of a full matrix those `checkpoint` chooses.
        checkpoint: a fitted router; of a routed run by default the one that routed it.
        partial: allow a run over some of the benchmark's instances, to try things out.

    Raises:
        InputError: no run, an unknown model, an unusable checkpoint.
        RefusedError: with every reason why these cells are no submission.
    """
    folder = RunFolder(path)
    frozen = folder.read_manifest()
    try:
        config = Config.model_validate(frozen["config"])
    except ValidationError as error:
        wrote = frozen.get("versions", {}).get("polyswe", "an unknown version")
        raise InputError(
            f"{path}: frozen by polyswe {wrote} with settings that this version does not know ({explain(error)}); "
            "submit it with the version that ran it"
        ) from error
    whole = load_dataset(config.dataset.model_copy(update={"instances": None, "limit": None}))
    run_over = load_dataset(config.dataset)
    if not folder.store_path.is_file():
        raise InputError(f"{path}: no outcomes.sqlite in it; name the folder of a run")
    with Store(folder.store_path) as store:
        rows = {row.cell: row for row in store.rows()}
    faults = [] if rows else ["the run has no cells: it was never started"]
    if len(run_over.instances) < len(whole.instances) and not partial:
        faults.append(
            f"the run is over {len(run_over.instances)} of the {len(whole.instances)} instances of {whole.name}; a "
            "leaderboard takes the whole split (--partial writes a trial package)"
        )
    if routed:
        chosen, asked, routing, reasons = _routed(config, run_over, rows, folder, checkpoint)
        pool = config.pool
    else:
        name = _single(config, model)
        chosen = {instance.instance_id: name for instance in run_over.instances}
        asked = {}
        routing, reasons, pool = None, [], [entry for entry in config.pool if entry.name == name]
    attempts, lacking = _attempts(folder, run_over, rows, chosen, asked)
    if faults := [*faults, *reasons, *lacking]:
        raise RefusedError(str(path), faults)
    date = max(attempt.row.updated_at for attempt in attempts)[:10].replace("-", "")
    return Collected(
        path, config, whole, tuple(attempts), tuple(pool), routing, frozen.get("versions", {}), date
    )  # fmt: skip


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
    chosen: Mapping[str, str],
    asked: Mapping[str, Sequence[str]],
) -> tuple[list[Attempted], list[str]]:
    """The finished cells, and what is missing of the others, a line a kind."""
    attempts: list[Attempted] = []
    lacking: dict[str, list[str]] = {}
    for instance in dataset.instances:
        name = instance.instance_id
        if name not in chosen:
            continue  # the reasons say so already
        row = rows.get(Cell(name, chosen[name]))
        if row is None:
            lacking.setdefault("no cell", []).append(f"{name} / {chosen[name]}")
        elif row.state is not State.GRADED:
            why = f"no verdict ({row.failure or row.state})"
            lacking.setdefault(why, []).append(f"{name} / {row.model}")
        elif not row.key.startswith(f"{instance.fingerprint}."):
            lacking.setdefault("run on another version of the instance", []).append(name)
        else:
            cell_dir = folder.cell_dir(row.cell)
            if missing := _missing_files(cell_dir, row):
                lacking.setdefault(f"no {' and no '.join(missing)}", []).append(f"{name} / {row.model}")
            else:
                paid = tuple(rows[Cell(name, model)] for model in asked.get(name, ()))
                attempts.append(Attempted(instance, row, cell_dir, read_patch(folder, row.cell), paid))
    reasons = [f"{len(cells)} attempts with {what}: {some(cells)}" for what, cells in lacking.items()]
    return attempts, [reason.replace("with no", "have no", 1) for reason in reasons]


def _missing_files(cell_dir: Path, row: CellRow) -> list[str]:
    needed = [PATCH_FILE, TRAJECTORY]
    if row.verdict in (Verdict.RESOLVED, Verdict.UNRESOLVED):
        needed += ["report.json", "test_output.txt"]
    return [name for name in needed if not (cell_dir / name).is_file()]


def _routed(
    config: Config, dataset: Dataset, rows: Mapping[Cell, CellRow], folder: RunFolder, checkpoint: Path | None
) -> tuple[dict[str, str], dict[str, tuple[str, ...]], str, list[str]]:
    """Accepted model and models asked by instance, the routing in words, and what forbids to call it a system.

    A choice that was learned from the outcomes of the instance itself (or from those of the test) is test knowledge; so
    is the cross-fitted row of a matrix, which changes its router from fold to fold. Both are refused.
    """
    ids = [instance.instance_id for instance in dataset.instances]
    path = checkpoint or config.router.checkpoint
    if path is None:
        raise RefusedError(
            "routed",
            [
                "the run is a matrix and no --checkpoint was given: its cross-fitted row is an estimate made with a "
                "router per fold, not a system somebody could deploy; fit one on other instances with 'polyswe fit'"
            ],
        )
    from harness.fitting import load_router
    from harness.run.rollout import models_missing_from, roll_out

    router = load_router(path)
    reasons = unfit(router, ids, path)
    try:
        pool = [entry.name for entry in config.pool]
        rollouts = roll_out(router, dataset, list(rows.values()), folder, pool)
    except FileNotFoundError as error:
        raise RefusedError(str(folder.path), [f"{error.filename} is missing"]) from error
    asked = {name: how.models for name, how in rollouts.items()}
    chosen = {name: how.accepted for name, how in rollouts.items() if how.accepted is not None}
    if strange := sorted({model for models in asked.values() for model in models} - {e.name for e in config.pool}):
        reasons.append(f"the checkpoint routes to {', '.join(strange)}, not in the run's pool")
    elif undecided := [name for name in ids if name not in chosen]:
        reasons.append(f"{len(undecided)} instances lack an attempt the router asks for: {some(undecided)}")
    if config.run.mode == "routed":
        more = [cell.instance_id for cell in rows if cell.model not in asked.get(cell.instance_id, ())]
        if more := sorted(set(more) & set(ids)):
            reasons.append(f"{len(more)} instances were attempted by models the router did not ask for: {some(more)}")
    shares = Counter(chosen.values())
    escalated = sum(len(asked[name]) > 1 for name in chosen)
    how = (
        f"A '{router.policy.name}' router fitted on {router.provenance.get('instances', 'an unknown number of')} other "
        "instances reads the problem statement and picks the model before an attempt starts; of the instance nothing "
        "but its text is seen. "
        + (
            f"It looks at the finished attempt and took {escalated} of {len(chosen)} instances to a further model; one "
            " patch is handed in, chosen without any test, and every attempt is paid for. "
            if escalated
            else "One attempt per instance. "
        )
        + f"Patches here are by: {', '.join(f'{name} {count}' for name, count in shares.most_common())}."
    )
    if absent := models_missing_from(router, pool):
        how += f" The router also knew {', '.join(absent)}, which took no part: the next best took their instances."
    return chosen, asked, how, reasons


def unfit(router: Router, instances: Sequence[str], path: Path) -> list[str]:
    """Why a router must not decide these instances in a submission; nothing when it was fitted on others."""
    from harness.fitting import fitted_on

    both = fitted_on(router, instances)
    if both is None:
        return [f"{path} does not say on which instances it was fitted (an older checkpoint): fit it again"]
    if both:
        return [
            f"{path} was fitted on the outcomes of {len(both)} of these instances ({some(both)}): its choices there "
            "know the tests; fit it on other instances"
        ]
    return []
