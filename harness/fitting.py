"""Fitting a router on recorded outcomes, loading its checkpoint, showing a decision and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.embeddings import embed_texts
from harness.data.instances import read_problem_statements
from harness.errors import EnvironmentUnavailableError, InputError
from harness.evaluation.formats import bounded_usd, usd
from harness.importers import auxiliary_matrix, load_outcomes, outcome_matrix, unknown_verdicts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from router.checkpoint import Header, RoutedModel
    from router.outcomes import OutcomeMatrix
    from router.policy import Policy
    from router.router import Router

DEFAULT_POLICY = "auto"
FOLDS = 10
LEAST_HELD_OUT = 20
"""fewer instances with every verdict are not cross-fitted: the figures would be noise"""


def fit_router(
    outcomes: Sequence[str],
    tasks: str,
    out: Path,
    *,
    pool: Sequence[str] | None = None,
    policy: str | None = None,
    clusters: int | None = None,
    seed: int = 0,
    embedder: str = "all-MiniLM-L6-v2",
    cost_weight: float | None = None,
    auxiliary: Sequence[str] = (),
    corpus: str | None = None,
    drop_leaks: bool = False,
    config: Path | None = None,
    repeats: int = 1,
) -> str:
    """Fit a policy on every recorded outcome, write its checkpoint, and say what was written and what it is worth.

    Args:
        outcomes, tasks, pool, auxiliary: as for `replay`; cells may be missing.
        out: the checkpoint.
        policy: short name; None is `auto`, or `cluster` where `clusters` is given.
        clusters: number of clusters.
        seed: of everything.
        embedder: name of a sentence-transformers model.
        cost_weight: λ, resolved instances per USD; None leaves the policy its own.
        corpus, drop_leaks: see `harness.data.corpus`.
        config: a run's configuration, for the pool's prices.
        repeats: of the cross-fitting behind the figures in the checkpoint; 0 leaves them out.

    Raises:
        InputError: unusable outcomes, tasks, names or parameters.
        EnvironmentUnavailableError: no embedder.
    """
    from router.embedding import Embedder, EmbedderUnavailableError
    from router.memory import remember
    from router.policies import make_policy
    from router.router import Router

    policy = policy or ("cluster" if clusters is not None else DEFAULT_POLICY)
    loaded = load_outcomes(outcomes)
    statements = read_problem_statements(tasks)
    matrix, notes = outcome_matrix(loaded.runs, pool, list(statements))
    if len(matrix.models) < 2:
        raise InputError(f"a router needs two models or more; the outcomes are of '{matrix.models[0]}' alone")
    notes += unknown_verdicts(matrix)
    others: OutcomeMatrix | None = None
    if auxiliary:
        others, more = auxiliary_matrix(load_outcomes(auxiliary).runs, matrix, benchmark=list(statements))
        notes += more
    encoder = Embedder(embedder)
    texts = [statements[instance] for instance in matrix.instances]
    embeddings = embed_texts(texts, encoder, show_bar=True)
    general = None
    if corpus is not None:
        from harness.data.corpus import corpus_embeddings

        # also what has no outcome yet may be evaluated on later
        every = embed_texts(list(statements.values()), encoder, show_bar=True)
        general, more = corpus_embeddings(corpus, statements, every, encoder, drop_leaks=drop_leaks)
        notes += more
    try:
        made = make_policy(policy)
        has = made.get_params()
        params: dict[str, Any] = {"seed": seed} if "seed" in has else {}
        params |= {} if clusters is None else {"n_clusters": clusters}
        params |= {} if cost_weight is None else {"cost_weight": cost_weight}
        made.set_params(**params)
        figures = _held_out(made, embeddings, matrix, others, general, repeats, seed)
        fitted = made.fit(embeddings, matrix, general, others)
        router = Router(
            fitted,
            _models(matrix, config),
            encoder,
            provenance={
                "outcomes": [str(source) for source in outcomes],
                "tasks": tasks,
                "instances": len(matrix),
                "auxiliary": [] if others is None else list(others.models),
                "corpus": corpus,
                "seed": seed,
                "instance_ids": list(matrix.instances),
                "fitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "polyswe": version("polyswe"),
                "notes": [*loaded.notes, *notes],
            },
            figures=figures,
            memory=remember(fitted, embeddings, texts, matrix, seed),
        )
        router.save(out)
    except (ValueError, OSError) as error:  # the router's errors for names, parameters and values
        raise InputError(f"fit: {error}") from error
    except EmbedderUnavailableError as error:
        raise EnvironmentUnavailableError(str(error)) from error
    fitted_on = f"{out}: {policy} router over {len(matrix.models)} models, fitted on {len(matrix)} instances."
    return "\n".join([f"{fitted_on} {render_figures(figures)}", *(f"- {note}" for note in notes)])


def _models(matrix: OutcomeMatrix, config: Path | None) -> list[RoutedModel]:
    """The pool with mean recorded costs, and with the prices that a run's configuration gives models of these names."""
    import numpy as np

    from router.checkpoint import RoutedModel

    priced = {}
    if config is not None:
        from harness.config import load_config

        priced = {model.name: model for model in load_config(config).pool}
    models = []
    for name, cost in zip(matrix.models, matrix.mean_cost(), strict=True):
        entry = priced.get(name)
        models.append(
            RoutedModel(
                name=name,
                mean_cost_usd=None if np.isnan(cost) else float(cost),
                input_cost_per_token=None if entry is None else entry.input_cost_per_token,
                output_cost_per_token=None if entry is None else entry.output_cost_per_token,
            )
        )
    return models


def _held_out(
    policy: Policy,
    embeddings: NDArray[np.floating[Any]],
    matrix: OutcomeMatrix,
    auxiliary: OutcomeMatrix | None,
    corpus: NDArray[np.floating[Any]] | None,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    """What the policy resolves and costs on instances it was not fitted on; empty where it was not measured."""
    import numpy as np
    from sklearn.base import clone

    from harness.evaluation.rows import make_row
    from router.lab.crossfit import crossfit, folds
    from router.outcomes import single

    whole = np.flatnonzero(~np.isnan(matrix.resolved).any(axis=1))
    if len(whole) < LEAST_HELD_OUT or repeats < 1:
        return {}
    complete = matrix.take(whole)
    splits = folds(len(complete), FOLDS, repeats, seed)
    others = None if auxiliary is None else auxiliary.take(whole)
    measured = clone(policy)
    notes = _clamp(measured, min(len(train) for parts in splits for train, _ in parts), corpus)
    replay = crossfit(measured, embeddings[whole], complete, splits, auxiliary=others, corpus=corpus)
    best = complete.best_single()
    alone = single(complete, best)
    row = make_row(policy.name, "policy", "cross-fitted", replay, best=alone, seed=seed)
    return {
        "evaluation": f"cross-fitted, {FOLDS} folds × {repeats} repeats, seed {seed}",
        "instances": row.n,
        "notes": notes,
        "resolved": row.resolved,
        "rate": row.rate,
        "rate_ci95": list(row.rate_ci95),
        "cost_per_instance": row.cost_per_instance,
        "cost_at_least": row.cost_at_least,
        "unpriced_share": row.unpriced_share,
        "best_single": complete.models[best],
        "best_single_resolved": alone.resolved_count,
        "best_single_cost_per_instance": None if np.isnan(alone.cost_per_instance) else alone.cost_per_instance,
        "vs_best_single": None if row.vs_best_single is None else row.vs_best_single.delta,
        "vs_best_single_ci95": None if row.vs_best_single is None else list(row.vs_best_single.ci95),
    }


def _clamp(policy: Policy, rows: int, corpus: NDArray[np.floating[Any]] | None) -> list[str]:
    """Bring down what a training fold of `rows` rows has not enough of, and say so. Clusters of a corpus stay."""
    has = policy.get_params()
    names = ["n_neighbors"] if corpus is not None else ["n_clusters", "n_neighbors"]
    over = [name for name in names if isinstance(has.get(name), int) and has[name] > rows]
    policy.set_params(**dict.fromkeys(over, rows))
    return [f"measured with {name} {rows}, not {has[name]}: a training fold has no more rows" for name in over]


def render_figures(figures: Mapping[str, Any]) -> str:
    """The held-out figures of a checkpoint in a sentence."""
    if not figures.get("instances") or "best_single" not in figures:
        return (
            "Its worth on new instances was not measured (too few instances with every verdict, or not asked for): "
            "see the cross-fitted row of 'polyswe replay'."
        )
    low, high = figures["vs_best_single_ci95"]
    bound, unpriced = figures.get("cost_at_least"), figures.get("unpriced_share", 0.0)
    cost = bounded_usd(figures["cost_per_instance"], bound, unpriced)
    return (
        f"Held out ({figures['evaluation']}) it resolves {figures['resolved']:.1f} of {figures['instances']} at "
        f"{cost} an instance; {figures['best_single']}, the best single model in "
        f"hindsight, {figures['best_single_resolved']:g} at {usd(figures['best_single_cost_per_instance'])}: "
        f"{figures['vs_best_single']:+.1f} [{low:+.1f}, {high:+.1f}]."
        + "".join(f" ({note[:1].upper()}{note[1:]}.)" for note in figures.get("notes", ()))
    )


def load_router(path: Path) -> Router:
    """A fitted router from its checkpoint.

    Raises:
        InputError: not a checkpoint, of a newer version, or of another embedder.
        EnvironmentUnavailableError: its embedder is not to be had here.
    """
    from router.checkpoint import CheckpointError
    from router.embedding import EmbedderUnavailableError
    from router.router import Router

    try:
        return Router.load(path)
    except (CheckpointError, OSError) as error:
        raise InputError(str(error)) from error
    except EmbedderUnavailableError as error:
        raise EnvironmentUnavailableError(str(error)) from error


def fitted_on(router: Router, instances: Sequence[str]) -> list[str] | None:
    """Which of these instances the router was fitted on; None where its checkpoint does not say (an older one)."""
    trained = router.provenance.get("instance_ids")
    return sorted(set(trained) & set(instances)) if isinstance(trained, list) else None


def read_header(path: Path) -> Header:
    """A checkpoint's header, without its embedder. Raises InputError."""
    from router.checkpoint import CheckpointError, read_checkpoint

    try:
        return read_checkpoint(path)[0]
    except (CheckpointError, OSError) as error:
        raise InputError(str(error)) from error
