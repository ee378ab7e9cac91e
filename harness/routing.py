"""Fitting a router on recorded outcomes, loading its checkpoint, showing a decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.embeddings import embed_texts
from harness.errors import EnvironmentFault, InputError
from harness.importers import load_outcomes, outcome_matrix
from harness.replay import read_problem_statements

if TYPE_CHECKING:
    from router.router import Route, Router


def fit_router(
    outcomes: Sequence[str],
    tasks: str,
    out: Path,
    *,
    pool: Sequence[str] | None = None,
    policy: str = "cluster",
    clusters: int | None = None,
    seed: int = 0,
    embedder: str = "all-MiniLM-L6-v2",
) -> str:
    """Fit a policy on every recorded outcome, write its checkpoint, and say in a line what was written.

    Raises:
        InputError: unusable outcomes, tasks, names or parameters.
        EnvironmentFault: no embedder.
    """
    from router.embedding import Embedder, EmbedderUnavailableError
    from router.policies import make_policy
    from router.router import Router

    loaded = load_outcomes(outcomes)
    statements = read_problem_statements(tasks)
    matrix, notes = outcome_matrix(loaded.runs, pool, list(statements))
    params: dict[str, Any] = {"seed": seed} if policy == "cluster" else {}
    if clusters is not None:
        params["n_clusters"] = clusters
    encoder = Embedder(embedder)
    embeddings = embed_texts([statements[instance] for instance in matrix.instances], encoder, show_bar=True)
    try:
        fitted = make_policy(policy, **params).fit(embeddings, matrix)
        router = Router(
            fitted,
            matrix.models,
            encoder,
            provenance={
                "outcomes": [str(source) for source in outcomes],
                "tasks": tasks,
                "instances": len(matrix),
                "instance_ids": list(matrix.instances),
                "fitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "polyswe": version("polyswe"),
                "notes": [*loaded.notes, *notes],
            },
        )
        router.save(out)
    except (ValueError, OSError) as error:  # the router's errors for names, parameters and values
        raise InputError(f"fit: {error}") from error
    except EmbedderUnavailableError as error:
        raise EnvironmentFault(str(error)) from error
    return (
        f"{out}: {policy} router over {len(matrix.models)} models, fitted on {len(matrix)} instances. It was fitted on "
        "all of them: for what it is worth on new instances see the cross-fitted row of 'polyswe replay'."
    )


def load_router(path: Path) -> Router:
    """A fitted router from its checkpoint.

    Raises:
        InputError: not a checkpoint, of a newer version, or of another embedder.
        EnvironmentFault: its embedder is not to be had here.
    """
    from router.checkpoint import CheckpointError
    from router.embedding import EmbedderUnavailableError
    from router.router import Router

    try:
        return Router.load(path)
    except (CheckpointError, OSError) as error:
        raise InputError(str(error)) from error
    except EmbedderUnavailableError as error:
        raise EnvironmentFault(str(error)) from error


def render_route(route: Route) -> str:
    """A decision with its alternatives, best first, and the reason."""
    lines = [f"{route.model}    {route.reason}"]
    for rank, estimate in enumerate(route.scores, 1):
        cost = "cost unknown" if estimate.cost_usd is None else f"${estimate.cost_usd:.3f}"
        lines.append(f"  {rank}. {estimate.model}: P(resolved) {estimate.score:.2f}, {cost}")
    return "\n".join(lines)
