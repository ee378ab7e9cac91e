"""One side of a comparison: a run folder, an outcome file, or chosen rows of a leaderboards.json."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.leaks import Flag
from agents.pool import RECORD, ModelConfig
from harness.config import DatasetConfig, RouterConfig
from harness.data.instances import load_dataset
from harness.data.model_names import match_names
from harness.errors import InputError
from harness.files import user_path
from harness.fitting import router_for_pool
from harness.grading.verdict import Verdict
from harness.importers import RecordedRun, load_outcomes
from harness.importers.repeats import RepeatedModel, attempts_of
from harness.run.redo import redo_notes
from harness.run.rollout import roll_out
from harness.store.keys import instance_of
from harness.store.matrix import matrix_of_run, repeats_of_run
from harness.store.rows import ATTEMPTED, Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from router.outcomes import OutcomeMatrix

PICK = "::"
"""`FILE::NAME` takes one model of a file."""


@dataclass(frozen=True)
class RunOutcomes:
    """The outcomes of one side, and what may make them incomparable."""

    label: str
    matrix: OutcomeMatrix
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of each instance, where a run recorded it."""
    routed: Mapping[str, tuple[float, float, float]] | None = None
    """Verdict, USD and seconds by instance, of a run in mode `routed`; every attempt of a cascade is paid for."""
    accepted: Mapping[str, str] | None = None
    """Whose attempt the routed system handed in, by instance."""
    failures: tuple[str, ...] = ()
    """Cells without a verdict for reasons that were not the model's."""
    swebench: str | None = None
    """Version that graded."""
    router: RouterConfig | None = None
    """How a run evaluated its policies."""
    dataset: str | None = None
    """Where the problem statements are."""
    split: str = "test"
    """Of the dataset."""
    repeated: tuple[RepeatedModel, ...] = ()
    """Repeated attempts of its models; `matrix` is of the first ones."""
    notes: tuple[str, ...] = ()
    flags: Mapping[tuple[str, str], Sequence[str]] | None = None
    """Kinds of flags by instance and model; None where attempts were not examined, as in a file of outcomes."""


def load_side(source: str, pool: Sequence[str] = (), *, trust_embedder: bool = False) -> RunOutcomes:
    """Read one side.

    Args:
        source: A run folder; anything `harness.importers.load_outcomes` reads; either followed by `::NAME`.
        pool: Parts of names; empty means every sound model.
        trust_embedder: Load the embedder that the checkpoint of a routed run names, whatever it is.

    Raises:
        InputError: nothing there, unknown names, or no verdict in it.
    """
    place, _, picked = source.partition(PICK)
    wanted = [picked] if picked else list(pool)
    folder = user_path(place)
    whole = (folder / "run.yaml").is_file() and not RunFolder(folder).is_part
    side = _run(folder, wanted, trust_embedder) if whole else _recorded(place, wanted)
    if wanted:
        names = match_names(wanted, side.matrix.models, globs=True)
        side = RunOutcomes(source, side.matrix.pool(names), **{k: getattr(side, k) for k in _REST})
    import numpy as np

    if np.isnan(side.matrix.resolved).all():
        raise InputError(f"{source}: no cell has a verdict, there is nothing to compare")
    return side


EVALUATED = ("policy", "params", "folds", "repeats", "seed")
_REST = (
    *("fingerprints", "routed", "accepted", "failures", "swebench", "router", "dataset", "split", "notes", "flags"),
    "repeated",
)


def _run(path: Path, wanted: Sequence[str], trust_embedder: bool) -> RunOutcomes:
    folder = RunFolder(path)
    frozen = folder.read_manifest()
    config = frozen["config"]  # as it was frozen: another version of polyswe may have known other settings
    if not folder.store_path.is_file():
        raise InputError(f"{path}: no outcomes.sqlite in it; the run was never started")
    with Store(folder.store_path, read_only=True) as store:
        attempts = store.rows()
        flags = {cell: kinds for cell, kinds in store.flags().items() if cell.attempt == 1}
        replaced = store.replaced()
    rows = [row for row in attempts if row.attempt == 1]
    if not rows:
        raise InputError(f"{path}: an empty run: no cell was ever planned")
    instances = sorted({row.instance_id for row in rows})
    models = [entry["name"] for entry in config["pool"] if any(row.model == entry["name"] for row in rows)]
    is_routed = config.get("run", {}).get("mode") == "routed"
    # a run's folder may come from anybody: for its checkpoint only the default embedder is loaded unasked
    router = RouterConfig(trust_embedder=trust_embedder)
    accepted, routed = _live(config, folder, rows, router) if is_routed else (None, None)
    looked_at = match_names(wanted, models, globs=True) if wanted else models
    unfinished = [row for row in rows if row.state is not State.GRADED and row.model in looked_at]
    return RunOutcomes(
        label=str(path),
        matrix=matrix_of_run(rows, instances, models),
        repeated=tuple(repeats_of_run(attempts, models)),
        fingerprints={row.instance_id: instance_of(row.key) for row in rows},
        routed=routed,
        accepted=accepted,
        failures=tuple(f"{row.cell}: {row.failure or row.state}" for row in unfinished),
        swebench=frozen.get("versions", {}).get("swebench"),
        router=_evaluated(config.get("router", {})),
        dataset=config["dataset"]["name"],
        notes=(*(f"{path}: {note}" for note in redo_notes(replaced)), *_pretended(rows)),
        flags=_kinds(flags),
        split=config["dataset"].get("split", "test"),
    )


def _pretended(rows: Sequence[CellRow]) -> Sequence[str]:
    """What to say of costs that nobody paid; the same words on both sides are shown once."""
    attempted = [row.scripted for row in rows if row.state in ATTEMPTED]
    return ["costs of scripted stand-in models are pretended"] if any(attempted) else []


def _evaluated(frozen: Mapping[str, Any]) -> RouterConfig:
    """What decides a policy's held-out numbers; the rest of the section concerns live routing and the embedder."""
    return RouterConfig.model_validate({key: frozen[key] for key in EVALUATED if key in frozen})


def _kinds(flags: Mapping[Cell, Sequence[Flag]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The kinds of flags of each instance and model, over all its attempts."""
    kinds: dict[tuple[str, str], dict[str, None]] = {}
    for cell, seen in flags.items():
        kinds.setdefault((cell.instance_id, cell.model), {}).update(dict.fromkeys(flag.kind for flag in seen))
    return {cell: tuple(found) for cell, found in kinds.items()}


def _live(
    config: Mapping[str, Any], folder: RunFolder, rows: Sequence[CellRow], settings: RouterConfig
) -> tuple[dict[str, str], dict[str, tuple[float, float, float]]]:
    """Whose attempt was accepted (of several, the router says which), and the routed system's outcomes."""
    by_instance: dict[str, list[CellRow]] = {}
    for row in rows:
        by_instance.setdefault(row.instance_id, []).append(row)
    accepted = {instance: cells[0].model for instance, cells in by_instance.items() if len(cells) == 1}
    paid: dict[str, tuple[float, float]] = {}
    tested = bool(config.get("evidence"))
    if tested or len(accepted) < len(by_instance):  # a policy that reads tests pays for them, also after one attempt
        dataset = load_dataset(DatasetConfig.model_validate(config["dataset"]))
        pool = [ModelConfig.model_validate(entry, context=RECORD) for entry in config["pool"]]
        router = router_for_pool(Path(config["router"]["checkpoint"]), pool, settings)
        names = [entry.name for entry in pool]
        rollouts = roll_out(router, dataset, rows, folder, names, needs_evidence=tested)
        accepted = {instance: how.accepted for instance, how in rollouts.items() if how.accepted is not None}
        paid = {instance: (how.paid_usd, how.paid_seconds) for instance, how in rollouts.items()}
    outcomes = {}
    for instance, model in accepted.items():
        cells = by_instance[instance]
        final = next(row for row in cells if row.model == model)
        if final.state is State.GRADED:
            cost = sum(math.nan if row.cost_usd is None else row.cost_usd for row in cells)
            seconds = sum(math.nan if row.agent_seconds is None else row.agent_seconds for row in cells)
            usd, took = paid.get(instance, (0.0, 0.0))
            outcomes[instance] = (float(final.verdict is Verdict.RESOLVED), cost + usd, seconds + took)
    return accepted, outcomes


def _recorded(place: str, wanted: Sequence[str]) -> RunOutcomes:
    loaded = load_outcomes([place])
    sound = [run for run in loaded.runs if run.fault is None]
    counts = Counter(run.name for run in sound)
    named = {run.name if counts[run.name] == 1 else f"{run.name} [{run.label}]": run for run in sound}
    if not named:
        raise InputError(f"{place}: every run in it contradicts its published rate: {loaded.runs[0].fault}")
    if wanted:
        faulty = [run.name for run in loaded.runs if run.fault is not None]
        names = match_names(wanted, list(named), globs=True) if not faulty else _matched(wanted, named, loaded.runs)
        named = {name: named[name] for name in names}
    notes = [f"{run.name} is left out: {run.fault}" for run in loaded.runs if run.fault is not None and not wanted]
    matrix = _matrix(named)
    repeated = (attempts_of(run, matrix.instances, name) for name, run in named.items())
    return RunOutcomes(
        label=place,
        matrix=matrix,
        repeated=tuple(model for model in repeated if model is not None),
        notes=tuple(notes),
    )


def _matched(wanted: Sequence[str], named: Mapping[str, RecordedRun], runs: Sequence[RecordedRun]) -> list[str]:
    """As `match_names`, but a run that must not be used says why."""
    try:
        return match_names(wanted, list(named), globs=True)
    except InputError:
        for name in match_names(wanted, [*named, *(run.name for run in runs if run.fault is not None)]):
            fault = next((run.fault for run in runs if run.name == name), None)
            if name not in named:
                raise InputError(f"'{name}' cannot be compared: {fault}") from None
        raise


def _matrix(named: Mapping[str, RecordedRun]) -> OutcomeMatrix:
    instances = sorted({i for run in named.values() for i in (*run.cells, *(run.universe or ()))})
    cells = [[run.cell(i) for run in named.values()] for i in instances]

    def column(name: str) -> list[list[float]]:
        values = [[getattr(cell, name) for cell in row] for row in cells]
        return [[float("nan") if value is None else float(value) for value in row] for row in values]

    return OutcomeMatrix.build(
        instances, list(named), column("resolved"), column("cost_usd"), column("api_calls"), column("seconds")
    )
