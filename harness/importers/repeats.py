"""Repeated runs of one model among recorded runs: what tells skill from luck."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

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
    """(n, r), the runs as columns; every verdict is known"""
    agents: tuple[str, ...]
    """what ran it; with several, these are near-repeats: the agent's version changed in between"""
    left_out: int = 0
    """instances that lack the verdict of some run"""


def repeated_model(
    name: str, attempts: Sequence[Mapping[str, bool | None]], *, agent: str = "unknown"
) -> RepeatedModel | None:
    """A model's repeated attempts within one run; None where no instance has a second verdict.

    Where attempts are missing, as many are taken as let most repeated verdicts count, over the instances that have all
    of them.

    Args:
        name: of the model
        attempts: verdicts by instance, of the first attempt, of the second, …
        agent: what ran it
    """
    instances = list(dict.fromkeys(instance for verdicts in attempts for instance in verdicts))
    known = {i: _leading(verdicts.get(i) is not None for verdicts in attempts) for i in instances}
    having = {k: sum(number >= k for number in known.values()) for k in range(2, len(attempts) + 1)}
    k = max(having, key=lambda k: (having[k] * (k - 1), k), default=0)
    if not k or not having[k]:
        return None
    complete = [i for i in instances if known[i] >= k]
    resolved = [[float(bool(verdicts[i])) for verdicts in attempts[:k]] for i in complete]
    runs = OutcomeMatrix.build(complete, [f"attempt {number}" for number in range(1, k + 1)], resolved)
    return RepeatedModel(name, runs, (agent,), len(instances) - len(complete))


def attempts_of(run: RecordedRun, instances: Collection[str], name: str | None = None) -> RepeatedModel | None:
    """A recorded run's repeated attempts at some instances; None without any. `name` is another one to give it."""
    attempts = (run.cells, *run.repeats)
    verdicts = [{i: cells[i].resolved for i in instances if i in cells} for cells in attempts]
    return repeated_model(name or run.name, verdicts, agent=run.agent or "unknown")


def repeated_models(runs: Sequence[RecordedRun], instances: Sequence[str]) -> tuple[list[RepeatedModel], list[str]]:
    """Runs of one model put together, over those of `instances` that all its runs know.

    Repeated attempts of one run are of one model. So are runs whose names agree up to details in brackets ("Opus (v1)",
    "Opus (v2)"), or up to the last word within one CSV ("Opus run1", "Opus run2"). Left out is a run that its recorder
    flags as made otherwise (several attempts, a changed prompt), that has a fault, or that shares fewer than 30
    instances with the others.

    Raises:
        InputError: no model was run twice.
    """
    wanted = frozenset(instances)
    groups: dict[str, list[RecordedRun]] = {}
    notes: list[str] = []
    found: list[RepeatedModel] = []
    for run in runs:
        own = attempts_of(run, instances)
        if run.fault is not None or (run.flag and NOT_A_REPEAT.search(run.flag)):
            notes.append(f"repeats: '{run.name}' is left out ({run.fault or run.flag})")
        elif own is not None and len(own.runs) >= LEAST_COMMON:
            found.append(own)
        elif wanted & run.cells.keys():
            groups.setdefault(_model_of(run), []).append(run)
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


def _leading(known: Iterable[bool]) -> int:
    """How many are true before the first that is not."""
    return sum(1 for _ in takewhile(bool, known))


def _model_of(run: RecordedRun) -> str:
    name = run.name
    if run.folder is None:
        return name.rpartition(" ")[0] or name
    while _DETAIL.search(name):
        name = _DETAIL.sub("", name)
    # "mini-SWE-agent + Claude 4.5 Opus": the agent is not the model
    return name.rpartition(" + ")[2].casefold()
