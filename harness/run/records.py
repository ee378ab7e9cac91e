"""What is on record of the pool's models: their cells in earlier runs, in a history, and published means."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from agents.pool import ModelConfig
from harness.data.model_names import match_names
from harness.errors import InputError
from harness.importers import load_outcomes
from harness.run.expected import Published
from harness.run.preflight import is_stand_in
from harness.sample import RECORDED
from harness.store.rows import Cell, CellRow
from harness.store.run_folder import RunFolder
from harness.store.store import Store

KNOWN_COSTS = Path(__file__).parent / "known_costs.csv"
"""Means over runs of mini-SWE-agent 2.0.0 on SWE-bench Verified.

Computed from the leaderboard of 2026-02-26 (`bash-only`, SWE-bench/swe-bench.github.io at f229e2b).
"""


@dataclass(frozen=True)
class PastCell:
    """What a finished cell took, as far as it is known."""

    cost_usd: float | None = None
    agent_seconds: float | None = None
    test_seconds: float | None = None
    calls: float | None = None


@dataclass(frozen=True)
class Past:
    """What is on record of a model."""

    cells: Mapping[str, PastCell] = field(default_factory=dict)
    """Its finished cells by instance."""
    cost: Published | None = None
    """A published mean, where there are no cells."""
    calls: float | None = None
    """The published mean of its calls."""
    name: str = ""
    """The run's name on record."""
    other_costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By run of the history but this one: USD by instance."""


def stored_rows(folder: RunFolder) -> dict[Cell, CellRow]:
    """The cells in a run folder's store; none where there is no store."""
    if not folder.store_path.is_file():
        return {}
    with Store(folder.store_path, read_only=True) as store:
        return {row.cell: row for row in store.rows()}


def records_of(pool: Sequence[ModelConfig], history: Sequence[str]) -> dict[str, Past]:
    """What is on record of each model of the pool, by its name in the pool.

    A run of the history counts before what comes with polyswe: the sample's record and `KNOWN_COSTS`.

    Args:
        pool: the models; an entry's `record` is a part of its run's name, else the run has the entry's own name.
        history: sources of recorded outcomes, as for `polyswe replay`.

    Raises:
        InputError: the history cannot be read, no run of it is of a model of the pool, or a `record` stands for none
            of its runs or for several.
    """
    records = {model.name: _published(model) for model in pool}
    if any(map(is_stand_in, pool)):
        records |= _sample(set(records))
    if not history:
        return records
    tests = _test_seconds(history)
    runs = {run.name: run for run in load_outcomes(list(history)).runs}
    matched = {model.name: name for model in pool if (name := _name_on_record(model, list(runs)))}
    if not matched:
        raise InputError(
            f"history: no recorded run is named like a model of the pool ({', '.join(records)}); recorded: "
            f"{', '.join(sorted(runs)[:8])}; 'record: part of a name' in a pool's entry says which run it is"
        )
    costs = {
        name: {instance: cell.cost_usd for instance, cell in run.cells.items() if cell.cost_usd is not None}
        for name, run in runs.items()
    }
    for model, past in records.items():
        records[model] = replace(past, other_costs=costs)
    for model, name in matched.items():
        cells = {
            instance: PastCell(cell.cost_usd, cell.seconds, tests.get(instance), cell.api_calls)
            for instance, cell in runs[name].cells.items()
        }
        others = {other: values for other, values in costs.items() if other != name}
        records[model] = Past(cells, name=name, other_costs=others)
    return records


def _published(model: ModelConfig) -> Past:
    """The published mean that an entry's `record` stands for, or that has its name; nothing for none or several."""
    with KNOWN_COSTS.open(encoding="utf-8", newline="") as file:
        known = {row["model"]: row for row in csv.DictReader(file)}
    same = [name for name in known if name.casefold() == model.name.casefold()]
    try:
        name = same[0] if same else match_names([model.record or ""], list(known))[0]
    except InputError:
        return Past()
    row = known[name]
    cost = Published(int(row["instances"]), float(row["cost_usd"]), float(row["cost_sd"]))
    return Past(cost=cost, calls=float(row["calls"]), name=name)


def _sample(names: set[str]) -> dict[str, Past]:
    """The record of the sample's stand-ins, which comes with it."""
    cells: dict[str, dict[str, PastCell]] = {}
    with RECORDED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cells.setdefault(row["model"], {})[row["instance_id"]] = PastCell(
                cost_usd=float(row["cost_usd"]),
                agent_seconds=float(row["agent_seconds"]),
                test_seconds=float(row["test_seconds"]),
            )
    return {name: Past(known) for name, known in cells.items() if name in names}


def _name_on_record(model: ModelConfig, recorded: Sequence[str]) -> str | None:
    """The recorded run of a model: of its own name, or the one that its `record` stands for.

    Raises:
        InputError: `record` stands for no run, or for several.
    """
    own = [name for name in recorded if name.casefold() == model.name.casefold()]
    if own or model.record is None:
        return own[0] if own else None
    try:
        return match_names([model.record], recorded)[0]
    except InputError as error:
        raise InputError(f"history, 'record' of model {model.name}: {error}") from error


def _test_seconds(history: Sequence[str]) -> dict[str, float]:
    """By instance: the mean run time of its tests in those sources that are run folders."""
    seconds: dict[str, list[float]] = {}
    for source in history:
        for row in stored_rows(RunFolder(Path(source))).values():
            if row.test_seconds is not None:
                seconds.setdefault(row.instance_id, []).append(row.test_seconds)
    return {instance: float(np.mean(values)) for instance, values in seconds.items()}
