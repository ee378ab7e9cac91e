"""What the laboratory's studies start from: every sound recorded run of a kind, complete, with embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.embeddings import embed_texts
from harness.errors import InputError
from harness.importers import auxiliary_matrix, load_outcomes, outcome_matrix
from harness.replay import read_problem_statements

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from router.outcomes import OutcomeMatrix


@dataclass(frozen=True)
class RecordedStudy:
    name: str
    outcomes: OutcomeMatrix
    """(n, m) complete"""
    reference: OutcomeMatrix | None
    """(n, r) other runs on the same instances"""
    embeddings: NDArray[np.floating[Any]]
    """(n, d)"""


def recorded(
    sources: Sequence[str], tasks: str, *, agent: str | None = None, reference: Sequence[str] = ()
) -> RecordedStudy:
    """Every sound run of `sources` with the widest coverage of `tasks`, of agents whose name has `agent` in it.

    Reference runs are the others of `sources`, where `agent` leaves some out, and those of `reference`. Raises
    InputError and EnvironmentFault as `replay` does.
    """
    loaded = load_outcomes(sources)
    statements = read_problem_statements(tasks)
    kept = [run for run in loaded.runs if agent is None or agent.casefold() in (run.agent or "").casefold()]
    if not kept:
        agents = sorted({run.agent or "unknown" for run in loaded.runs})
        raise InputError(f"no run's agent has {agent!r} in its name; recorded agents: {', '.join(agents)}")
    matrix, _ = outcome_matrix(kept, None, list(statements))
    matrix = matrix.complete_rows()
    others = None
    if reference or len(kept) < len(loaded.runs):
        everything = load_outcomes([*sources, *reference]).runs
        others, _ = auxiliary_matrix(everything, matrix, benchmark=list(statements))
    embeddings = embed_texts([statements[instance] for instance in matrix.instances], show_bar=True)
    name = Path(sources[0]).stem + (f", {agent}" if agent else "")
    return RecordedStudy(name, matrix, others, embeddings)
