"""What the laboratory's studies start from: every sound recorded run of a kind, complete, with embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.embeddings import embed_texts
from harness.data.instances import read_problem_statements
from harness.errors import InputError
from harness.importers import RecordedRun, auxiliary_matrix, load_outcomes, outcome_matrix, unknown_verdicts
from harness.importers.same_model import may_be_of, run_date
from harness.text import counted_part
from router.outcomes import OutcomeMatrix


@dataclass(frozen=True)
class RecordedStudy:
    """What a study starts from."""

    name: str
    """Of the record, for the reader."""
    outcomes: OutcomeMatrix
    """(n, m) complete."""
    embeddings: NDArray[np.floating[Any]]
    """(n, d)."""
    reference: OutcomeMatrix | None = None
    """(n, r) other runs on the same instances."""
    known_before: NDArray[np.bool_] | None = None
    """(m, m + r) which of all these runs could inform somebody to whom a run of `outcomes` is new: those of other
    models that are not dated after it."""
    notes: tuple[str, ...] = ()
    """What was left out, for the reader."""


def recorded(
    sources: Sequence[str],
    tasks: str,
    *,
    split: str = "test",
    agent: str | None = None,
    reference: Sequence[str] = (),
) -> RecordedStudy:
    """Every sound run of `sources` with the widest coverage of `tasks`, of agents whose name has `agent` in it.

    Reference runs are the others of `sources`, where `agent` leaves some out, and those of `reference`. Raises
    InputError and EnvironmentUnavailableError as `replay` does.
    """
    loaded = load_outcomes(sources)
    statements = read_problem_statements(tasks, split=split)
    kept = [run for run in loaded.runs if agent is None or agent.casefold() in (run.agent or "").casefold()]
    if not kept:
        agents = sorted({run.agent or "unknown" for run in loaded.runs})
        raise InputError(f"no run's agent has {agent!r} in its name; recorded agents: {', '.join(agents)}")
    matrix, notes = _complete(*outcome_matrix(kept, None, list(statements)))
    others = None
    if reference or len(kept) < len(loaded.runs):
        everything = load_outcomes([*sources, *reference]).runs
        others, auxiliary_notes = auxiliary_matrix(everything, matrix, benchmark=list(statements))
        notes += auxiliary_notes
    embeddings = embed_texts([statements[instance] for instance in matrix.instances], show_bar=True)
    everyone = {**by_column(load_outcomes([*sources, *reference]).runs), **by_column(kept)}
    columns = [*matrix.models, *(() if others is None else others.models)]
    known_before = np.array([[informs(everyone, own, other) for other in columns] for own in matrix.models])
    name = Path(sources[0]).stem + (f", {agent}" if agent else "")
    return RecordedStudy(
        name=name,
        outcomes=matrix,
        embeddings=embeddings,
        reference=others,
        known_before=known_before,
        notes=tuple(notes),
    )


def _complete(outcomes: OutcomeMatrix, notes: list[str]) -> tuple[OutcomeMatrix, list[str]]:
    """The instances that every model has a verdict on; the notes say what is left out.

    Raises:
        InputError: there is none.
    """
    complete = outcomes.complete_rows()
    if not len(complete):
        raise InputError(f"no instance has a verdict from every one of {len(outcomes.models)} runs; name fewer runs")
    notes = [*notes, *unknown_verdicts(outcomes)]
    if len(complete) < len(outcomes):
        left_out = len(outcomes) - len(complete)
        notes.append(
            f"left out: {counted_part(left_out, len(outcomes), 'instance', 'lacks', 'lack')} a verdict of some run"
        )
    return complete, notes


def by_column(runs: Sequence[RecordedRun]) -> dict[str, RecordedRun]:
    """Runs by each name that a column of theirs may have."""
    return {name: run for run in runs for name in (run.name, f"{run.name} [{run.label}]")}


def informs(runs: Mapping[str, RecordedRun], own: str, other: str) -> bool:
    """Whether the run `other` is of another model than the run `own`, and not later."""
    day, other_day = (run_date(runs[name]) for name in (own, other))
    return not may_be_of(own, other) and (day is None or other_day is None or other_day <= day)


def joint(
    sources: Sequence[str],
    tasks: str,
    other_sources: Sequence[str],
    other_tasks: str,
    pool: Sequence[str] | None,
    also_called: Sequence[str] = (),
    *,
    split: str = "test",
    other_split: str = "test",
) -> tuple[RecordedStudy, RecordedStudy]:
    """A pool on the evaluation (complete) and what is recorded of the same models on another benchmark's instances.

    Instances of the evaluation that the other benchmark shares, by id or by text, are left out of the latter. Raises
    InputError and EnvironmentUnavailableError as `replay` does.
    """
    statements = read_problem_statements(tasks, split=split)
    others = read_problem_statements(other_tasks, split=other_split)
    matrix, notes = _complete(*outcome_matrix(load_outcomes(sources).runs, pool, list(statements)))
    texts = {" ".join(text.split()) for text in statements.values()}
    fresh = [name for name, text in others.items() if name not in statements and " ".join(text.split()) not in texts]
    if not fresh:
        raise InputError(f"tasks {other_tasks}: every instance is of the evaluation too; nothing is left to transfer")
    elsewhere = [
        run for run in load_outcomes(other_sources).runs if run.fault is None and set(fresh) & run.cells.keys()
    ]
    if wrong := [pair for pair in also_called if pair.count("=") != 1]:
        raise InputError(f"transfer: {wrong[0]!r} is not of the form NAME=OTHER")
    own = {other.strip(): name.strip() for name, other in (pair.split("=") for pair in also_called)}
    renamed = [dataclasses.replace(run, name=own.get(run.name, run.name)) for run in elsewhere]
    # one record a name: the first, as an importer orders them
    named = {run.name: run for run in reversed(renamed) if run.name in matrix.models}
    if not named:
        raise InputError(
            f"transfer: no model of the pool has outcomes on {other_tasks}; it has {', '.join(matrix.models)}"
        )
    transferred, _ = outcome_matrix(list(named.values()), list(named), fresh)
    embedded = embed_texts([*(statements[i] for i in matrix.instances), *(others[i] for i in transferred.instances)])
    n = len(matrix)
    return (
        RecordedStudy(name=tasks, outcomes=matrix, embeddings=embedded[:n], notes=tuple(notes)),
        RecordedStudy(name=other_tasks, outcomes=transferred, embeddings=embedded[n:]),
    )
