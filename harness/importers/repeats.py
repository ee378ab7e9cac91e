"""Repeated runs of one model among recorded runs: what tells skill from luck."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import InputError
from harness.importers.recorded import RecordedRun
from router.outcomes import OutcomeMatrix

NOT_A_REPEAT = re.compile(r"multi-attempt|selector|perturbed|variant", re.IGNORECASE)
"""Remarks of a recorder on runs that were not made like the others."""
_DETAIL = re.compile(r"\s*(\([^()]*\)|\[[^\[\]]*\])\s*$")
LEAST_COMMON = 30


@dataclass(frozen=True)
class RepeatedModel:
    """A model that was run several times on the same instances."""

    name: str
    runs: OutcomeMatrix
    """(n, r), the runs as columns"""
    agents: tuple[str, ...]
    """what ran it; with several, these are near-repeats: the agent's version changed in between"""


def repeated_models(runs: Sequence[RecordedRun], instances: Sequence[str]) -> tuple[list[RepeatedModel], list[str]]:
    """Runs of one model put together, over those of `instances` that all its runs know.

    Runs are of one model when their names agree up to details in brackets ("Opus (v1)", "Opus (v2)"), or up to the last
    word within one CSV ("Opus run1", "Opus run2"). A run that its recorder flags as made otherwise (several attempts, a
    changed prompt), has a fault, or shares fewer than 30 instances with the others is left out.

    Raises:
        InputError: no model was run twice.
    """
    wanted = frozenset(instances)
    groups: dict[str, list[RecordedRun]] = {}
    notes: list[str] = []
    for run in runs:
        if run.fault is not None or (run.flag and NOT_A_REPEAT.search(run.flag)):
            notes.append(f"repeats: '{run.name}' is left out ({run.fault or run.flag})")
        elif wanted & run.cells.keys():
            groups.setdefault(_model_of(run), []).append(run)
    found: list[RepeatedModel] = []
    for name, group in groups.items():
        shared = [i for i in instances if all(run.cell(i).resolved is not None for run in group)]
        if len(group) < 2 or len(shared) < LEAST_COMMON:
            continue
        columns = [f"{run.name} [{run.label}] {k}" for k, run in enumerate(group)]
        resolved = [[float(bool(run.cell(i).resolved)) for run in group] for i in shared]
        agents = tuple(dict.fromkeys(run.agent or "unknown" for run in group))
        found.append(RepeatedModel(name, OutcomeMatrix.build(shared, columns, resolved), agents))
    if not found:
        raise InputError(
            f"repeats: of {len(runs)} runs no two are of one model on {LEAST_COMMON} of these instances; name runs "
            "of a model alike up to the last word ('Opus run1', 'Opus run2'), or give a record with near-repeats"
        )
    return found, notes


def _model_of(run: RecordedRun) -> str:
    name = run.name
    if run.folder is None:
        return name.rpartition(" ")[0] or name
    while _DETAIL.search(name):
        name = _DETAIL.sub("", name)
    # "mini-SWE-agent + Claude 4.5 Opus": the agent is not the model
    return name.rpartition(" + ")[2].casefold()
