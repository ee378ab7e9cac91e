"""Fitting a router on recorded outcomes, and loading its checkpoint for use with a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from agents.pool import ModelConfig
from harness.config import RouterConfig, load_config
from harness.data.corpus import corpus_embeddings
from harness.data.embeddings import configured_embedder, embed_texts
from harness.data.instances import problem_statements
from harness.data.model_names import match_names
from harness.data.rows import load_rows
from harness.errors import EnvironmentUnavailableError, InputError
from harness.evaluation.formats import bounded_usd, usd
from harness.evaluation.rows import make_row
from harness.importers import auxiliary_matrix, load_outcomes, outcome_matrix, unknown_verdicts
from harness.importers.matrices import selected
from router.checkpoint import CheckpointError, Header, RoutedModel, UntrustedEmbedderError, read_checkpoint
from router.embedding import DEFAULT_EMBEDDER, Embedder, EmbedderUnavailableError
from router.lab.crossfit import crossfit, folds
from router.memory import remember
from router.outcomes import OutcomeMatrix, single
from router.policies import make_policy
from router.policy import Policy
from router.router import Router

DEFAULT_POLICY = "auto"
"""What is fitted when neither a policy nor a number of clusters is given."""
FOLDS = 10
"""Of the cross-fitting behind a checkpoint's figures."""
LEAST_HELD_OUT = 20
"""Fewer instances with every verdict are not cross-fitted: the figures would be noise."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a router is fitted."""

    split: str = "test"
    """split of the dataset with the problem statements"""
    pool: Sequence[str] | None = None
    """parts of model names; None takes every sound run with the widest coverage"""
    policy: str | None = None
    """short name; None is `auto`, or `cluster` where `clusters` is given"""
    clusters: int | None = None
    """number of clusters"""
    seed: int = 0
    """of everything"""
    embedder: str = DEFAULT_EMBEDDER
    """name of a sentence-transformers model"""
    cost_weight: float | None = None
    """λ, resolved instances per USD; None leaves the policy its own"""
    auxiliary: Sequence[str] = ()
    """sources of outcomes that may inform difficulty but never enter the pool"""
    corpus: str | None = None
    """general texts to learn clusters from, see `harness.data.corpus`"""
    drop_leaks: bool = False
    """drop texts of the corpus that know the instances, instead of refusing"""
    config: Path | None = None
    """a run's configuration, for the pool's prices and for where texts are embedded"""
    select: Sequence[str] = ()
    """terms that choose the instances to learn from, see `harness.config.selection`; all without any"""
    repeats: int = 1
    """of the cross-fitting behind the figures in the checkpoint; 0 leaves them out"""


@dataclass(frozen=True)
class FittedRouter:
    """What was written, for the user."""

    summary: str
    """the checkpoint and what it is worth, in one or two sentences"""
    notes: tuple[str, ...]
    """what the user should know of the outcomes: models and instances that were left out, and why"""


class HeldOut(BaseModel):
    """What a policy resolves and costs on instances it was not fitted on; the figures in a checkpoint."""

    evaluation: str
    """how it was measured"""
    instances: int
    notes: list[str] = []
    """parameters that were measured otherwise than fitted"""
    resolved: float
    rate: float
    rate_ci95: tuple[float, float]
    cost_per_instance: float | None
    cost_at_least: float | None = None
    """bound, where some chosen cells have no price"""
    unpriced_share: float = 0.0
    best_single: str
    """the best single model in hindsight"""
    best_single_resolved: float
    best_single_cost_per_instance: float | None
    vs_best_single: float
    vs_best_single_ci95: tuple[float, float]


def fit_router(outcomes: Sequence[str], tasks: str, out: Path, settings: FitSettings | None = None) -> FittedRouter:
    """Fit a policy on every recorded outcome and write its checkpoint.

    Args:
        outcomes: sources, as for `replay`; cells may be missing.
        tasks: the instances with their problem statements: a file or a dataset of the hub.
        out: the checkpoint.
        settings: see there.

    Raises:
        InputError: unusable outcomes, tasks, names or parameters, or fewer than two models to choose between.
        EnvironmentUnavailableError: no embedder.
    """
    settings = settings or FitSettings()
    config = None if settings.config is None else load_config(settings.config)
    loaded = load_outcomes(outcomes)
    rows = load_rows(tasks, settings.split)
    statements = problem_statements(rows, tasks)
    matrix, notes = outcome_matrix(loaded.runs, settings.pool, list(statements))
    matrix = selected(matrix, settings.select, rows, f"tasks {tasks}")
    notes = [*loaded.notes, *notes, *unknown_verdicts(matrix)]
    if len(matrix.models) < 2:
        raise InputError(f"a router needs two models or more; the outcomes are of '{matrix.models[0]}' alone")
    others: OutcomeMatrix | None = None
    if settings.auxiliary:
        others, more = auxiliary_matrix(load_outcomes(settings.auxiliary).runs, matrix, benchmark=list(statements))
        notes += more
    router_config = RouterConfig() if config is None else config.router
    encoder = configured_embedder(router_config.model_copy(update={"embedder": settings.embedder}))
    texts = [statements[instance] for instance in matrix.instances]
    embeddings = embed_texts(texts, encoder, show_bar=True)
    general = None
    if settings.corpus is not None:
        # also what has no outcome yet may be evaluated on later
        every = embed_texts(list(statements.values()), encoder, show_bar=True)
        general, more = corpus_embeddings(
            settings.corpus, statements, every, encoder, drop_leaks=settings.drop_leaks, show_bar=True
        )
        notes += more
    try:
        policy = _unfitted(settings)
        held_out = _held_out(
            policy,
            embeddings,
            matrix,
            auxiliary=others,
            corpus=general,
            repeats=settings.repeats,
            seed=settings.seed,
        )
        figures = {} if held_out is None else held_out.model_dump(mode="json")
        policy.fit(embeddings, matrix, general, others)
        router = Router(
            policy,
            _models(matrix, () if config is None else config.pool),
            encoder,
            provenance={
                "outcomes": [str(source) for source in outcomes],
                "tasks": tasks,
                "instances": len(matrix),
                "auxiliary": [] if others is None else list(others.models),
                "corpus": settings.corpus,
                "seed": settings.seed,
                "instance_ids": list(matrix.instances),
                "fitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "polyswe": version("polyswe"),
                "notes": notes,
            },
            figures=figures,
            memory=remember(policy, embeddings, texts, matrix, settings.seed),
        )
        router.save(out)
    except (ValueError, OSError) as error:  # the router's errors for names, parameters and values
        raise InputError(f"fit: {error}") from error
    except EmbedderUnavailableError as error:
        raise EnvironmentUnavailableError(str(error)) from error
    written = f"{out}: {policy.name} router over {len(matrix.models)} models, fitted on {len(matrix)} instances."
    return FittedRouter(f"{written} {render_figures(figures)}", tuple(notes))


def _unfitted(settings: FitSettings) -> Policy:
    policy = make_policy(settings.policy or ("cluster" if settings.clusters is not None else DEFAULT_POLICY))
    if "seed" in policy.get_params():
        policy.set_params(seed=settings.seed)
    given = {"n_clusters": settings.clusters, "cost_weight": settings.cost_weight}
    return policy.set_params(**{name: value for name, value in given.items() if value is not None})


def _models(matrix: OutcomeMatrix, pool: Sequence[ModelConfig]) -> list[RoutedModel]:
    """The models with their mean recorded costs, and with the prices of the pool's entries of these names."""
    priced = {entry.name: entry for entry in pool}
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
    *,
    auxiliary: OutcomeMatrix | None,
    corpus: NDArray[np.floating[Any]] | None,
    repeats: int,
    seed: int,
) -> HeldOut | None:
    """What the policy resolves and costs on instances it was not fitted on; None where it was not measured."""
    from sklearn.base import clone

    whole = np.flatnonzero(~np.isnan(matrix.resolved).any(axis=1))
    # recorded attempts started afresh: what those that do not are worth, no record shows
    carries = policy.get_params().get("carry", "none") != "none"
    if len(whole) < LEAST_HELD_OUT or repeats < 1 or carries:
        return None
    complete = matrix.take(whole)
    splits = folds(len(complete), FOLDS, repeats, seed)
    others = None if auxiliary is None else auxiliary.take(whole)
    measured = clone(policy)
    notes = _clamp(measured, min(len(train) for parts in splits for train, _ in parts), corpus)
    replay = crossfit(measured, embeddings[whole], complete, splits, auxiliary=others, corpus=corpus)
    best = complete.best_single()
    alone = single(complete, best)
    row = make_row(policy.name, "policy", "cross-fitted", replay, best=alone, seed=seed)
    assert row.vs_best_single is not None  # `best` was given
    return HeldOut(
        evaluation=f"cross-fitted, {FOLDS} folds × {repeats} repeats, seed {seed}",
        instances=row.n,
        notes=notes,
        resolved=row.resolved,
        rate=row.rate,
        rate_ci95=row.rate_ci95,
        cost_per_instance=row.cost_per_instance,
        cost_at_least=row.cost_at_least,
        unpriced_share=row.unpriced_share,
        best_single=complete.models[best],
        best_single_resolved=alone.resolved_count,
        best_single_cost_per_instance=None if np.isnan(alone.cost_per_instance) else alone.cost_per_instance,
        vs_best_single=row.vs_best_single.delta,
        vs_best_single_ci95=row.vs_best_single.ci95,
    )


def _clamp(policy: Policy, rows: int, corpus: NDArray[np.floating[Any]] | None) -> list[str]:
    """Bring down what a training fold of `rows` rows has not enough of, and say so. Clusters of general texts stay."""
    has = policy.get_params()
    general = corpus is not None or "centroids" in has
    names = ["n_neighbors"] if general else ["n_clusters", "n_neighbors"]
    over = [name for name in names if isinstance(has.get(name), int) and has[name] > rows]
    policy.set_params(**dict.fromkeys(over, rows))
    return [f"measured with {name} {rows}, not {has[name]}: a training fold has no more rows" for name in over]


def render_figures(figures: Mapping[str, Any]) -> str:
    """The held-out figures of a checkpoint in a sentence."""
    if not figures.get("instances"):
        return (
            "Its worth on new instances was not measured (too few instances with every verdict, not asked for, or a "
            "policy that only runs live): see the cross-fitted row of 'polyswe replay'."
        )
    try:
        held_out = HeldOut.model_validate(figures)
    except ValidationError:
        return "Its held-out figures are not those of a fit: see the cross-fitted row of 'polyswe replay'."
    low, high = held_out.vs_best_single_ci95
    cost = bounded_usd(held_out.cost_per_instance, held_out.cost_at_least, held_out.unpriced_share)
    return (
        f"Held out ({held_out.evaluation}) it resolves {held_out.resolved:.1f} of {held_out.instances} at {cost} an "
        f"instance; {held_out.best_single}, the best single model in hindsight, {held_out.best_single_resolved:g} at "
        f"{usd(held_out.best_single_cost_per_instance)}: {held_out.vs_best_single:+.1f} [{low:+.1f}, {high:+.1f}]."
        + "".join(f" ({note[:1].upper()}{note[1:]}.)" for note in held_out.notes)
    )


def load_router(path: Path, settings: RouterConfig | None = None) -> Router:
    """A fitted router from its checkpoint.

    Only the default embedder is loaded unasked; another one where `settings` name it too, or trust the checkpoint's.

    Raises:
        InputError: not a checkpoint, of a newer version, of another embedder, or of one that nobody here asked for.
        EnvironmentUnavailableError: its embedder cannot be loaded.
    """
    settings = settings or RouterConfig()
    named = read_header(path).embedder
    embedder: Embedder | None = None
    if settings.trust_embedder or named == settings.embedder:
        embedder = configured_embedder(settings.model_copy(update={"embedder": named}))
    try:
        return Router.load(path, embedder)
    except UntrustedEmbedderError as error:
        raise InputError(
            f"{error}. If you trust the file, pass --trust-embedder, or set router.embedder to that name"
        ) from error
    except (CheckpointError, OSError) as error:
        raise InputError(str(error)) from error
    except EmbedderUnavailableError as error:
        raise EnvironmentUnavailableError(str(error)) from error


def router_for_pool(path: Path, pool: Sequence[ModelConfig], settings: RouterConfig | None = None) -> Router:
    """A fitted router whose models have the names of the pool's entries.

    An entry is the checkpoint's model of its own name, or else the one that its `record` stands for. Models of the
    checkpoint without an entry keep their names.

    Raises:
        InputError: as `load_router`; a `record` that stands for no model of the checkpoint, or for several; two entries
            for one model.
        EnvironmentUnavailableError: its embedder cannot be loaded.
    """
    names = names_in_pool(path, pool)  # before the embedder, which takes seconds to load
    router = load_router(path, settings)
    try:
        return router.renamed(names) if any(old != new for old, new in names.items()) else router
    except ValueError as error:
        raise InputError(f"checkpoint {path}: {error}") from error


def names_in_pool(path: Path, pool: Sequence[ModelConfig]) -> dict[str, str]:
    """What the pool calls each model of a checkpoint; those without an entry keep their names. Loads no embedder.

    Raises:
        InputError: not a checkpoint, or a `record` that stands for no model of it, or for several.
    """
    fitted = [model.name for model in read_header(path).models]
    entries = {entry.name: entry.name if entry.name in fitted else entry.record for entry in pool}
    queries = {name: query for name, query in entries.items() if query is not None}
    try:
        matched = match_names(list(queries.values()), fitted)
    except InputError as error:
        raise InputError(f"checkpoint {path}, 'record' of the pool: {error}") from error
    return {name: name for name in fitted} | dict(zip(matched, queries, strict=True))


def not_in_pool(path: Path, missing: Sequence[str], pool: Sequence[ModelConfig]) -> str:
    """What is wrong, and how to mend it, where a checkpoint routes to models that the pool does not name."""
    names = ", ".join(entry.name for entry in pool)
    return (
        f"checkpoint {path} routes to {', '.join(missing)}, not in the pool: {names}. An entry that is one of these "
        f"models under another name says so by 'record: {missing[0]}'"
    )


def fitted_on(router: Router, instances: Sequence[str]) -> list[str] | None:
    """Which of these instances the router was fitted on; None where its checkpoint does not say (an older one)."""
    trained = router.provenance.get("instance_ids")
    if not isinstance(trained, list):
        return None
    return sorted({name for name in trained if isinstance(name, str)} & set(instances))


def read_header(path: Path) -> Header:
    """A checkpoint's header, without its embedder. Raises InputError."""
    try:
        return read_checkpoint(path)[0]
    except (CheckpointError, OSError) as error:
        raise InputError(str(error)) from error
