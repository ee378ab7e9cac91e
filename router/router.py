"""The router in use: texts in, decisions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from router.arrays import Features, FloatArray, IntArray, as_features
from router.attempt import FinishedAttempt
from router.checkpoint import (
    CheckpointError,
    Header,
    RoutedModel,
    UntrustedEmbedderError,
    check_embedder,
    read_checkpoint,
    restore_policy,
    write_checkpoint,
)
from router.decision import Decision, next_step
from router.embedding import DEFAULT_EMBEDDER, Embedder, TextEmbedder, is_default
from router.memory import ClusterNote, Memory, Neighbour, restore_memory
from router.policies import make_policy
from router.policies.base import TIE, choose
from router.policy import Policy

__all__ = ["CheckpointError", "ModelEstimate", "Route", "RoutedModel", "Router", "UntrustedEmbedderError"]


@dataclass(frozen=True)
class ModelEstimate:
    """What the policy expects of one model on one instance."""

    model: str
    score: float
    """estimated P(resolved)"""
    cost_usd: float | None
    """expected cost, None when no cost of this model is known"""


@dataclass(frozen=True)
class Route:
    """A decision for one text, with what it rests on."""

    model: str
    """the chosen model"""
    score: float
    """its estimated P(resolved)"""
    cost_usd: float | None
    """its expected cost, None when unknown"""
    scores: tuple[ModelEstimate, ...]
    """every model that may be chosen, best first; the first is the chosen one"""
    cluster: int | None
    """the text's cluster, None for policies without clusters"""
    reason: str
    """a sentence to show a user"""
    words: tuple[str, ...] = ()
    """representative words of the training instances it is among, where the router remembers them"""
    neighbours: tuple[Neighbour, ...] = ()
    """the most similar training instances, nearest first"""


class Router:
    """A fitted policy with the embedder its features come from.

    `models` describes the pool in the policy's order, as names or RoutedModels; ValueError when they differ from the
    models the policy was fitted on. `provenance`, `figures` and `memory` travel in the checkpoint.
    """

    def __init__(
        self,
        policy: Policy,
        models: Sequence[RoutedModel | str],
        embedder: TextEmbedder,
        provenance: dict[str, Any] | None = None,
        figures: dict[str, Any] | None = None,
        memory: Memory | None = None,
    ) -> None:
        arrays = policy.fitted_arrays()
        mean_cost = arrays.get("cost_", arrays.get("taken.cost_", np.full(len(models), np.nan)))
        self.policy = policy
        self.embedder = embedder
        self.provenance = provenance or {}
        self.figures = figures or {}
        self.memory = memory
        names = [model if isinstance(model, str) else model.name for model in models]
        if tuple(names) != policy.models_:
            raise ValueError(
                f"the policy was fitted on {list(policy.models_)}, not on {names}: same models, same order"
            )
        self.models = tuple(
            RoutedModel(name=model, mean_cost_usd=None if np.isnan(cost) else float(cost))
            if isinstance(model, str)
            else model
            for model, cost in zip(models, mean_cost, strict=True)
        )

    @overload
    def route(  # type: ignore[overload-overlap]
        self, texts: str, cost_weight: float | None = None, exclude: Sequence[str] = ()
    ) -> Route: ...
    @overload
    def route(
        self, texts: Sequence[str], cost_weight: float | None = None, exclude: Sequence[str] = ()
    ) -> list[Route]: ...
    def route(
        self, texts: str | Sequence[str], cost_weight: float | None = None, exclude: Sequence[str] = ()
    ) -> Route | list[Route]:
        """The route of one text, or of each of several. λ `cost_weight` (per USD) overrides the policy's own.

        Models named in `exclude` are not chosen: see `predict_without`.

        Raises ValueError for an empty text, an unknown name or no model left, and EmbedderUnavailableError.
        """
        if isinstance(texts, str):
            return self.route([texts], cost_weight, exclude)[0]
        return self.route_embeddings(self.embedder.encode(texts), cost_weight, exclude) if len(texts) else []

    def route_embeddings(
        self, X: Features, cost_weight: float | None = None, exclude: Sequence[str] = ()
    ) -> list[Route]:
        """Routes of n texts by their embeddings (n, d)."""
        X = as_features(X)
        choices = predict_without(self.policy, X, exclude, cost_weight)
        explanations = self.policy.explain(X, choices, cost_weight)
        rows = zip(
            _ranking(self.policy, X, choices, cost_weight),
            self.policy.scores(X),
            self.policy.costs(X),
            explanations,
            *self._remembered(X),
            strict=True,
        )
        routes = []
        for ranking, scores, costs, why, note, neighbours in rows:
            order = [model for model in ranking if self.models[model].name not in exclude]
            ranked = tuple(self._estimate(model, scores[model], costs[model]) for model in order)
            best = ranked[0]
            routes.append(
                Route(
                    best.model,
                    best.score,
                    best.cost_usd,
                    ranked,
                    why.cluster,
                    f"{best.model}: {why.reason}",
                    () if note is None else note.words,
                    neighbours,
                )
            )
        return routes

    def choose(self, X: Features, cost_weight: float | None = None) -> list[str]:
        """Only the chosen models' names for n texts by their embeddings (n, d): microseconds, and no reasons."""
        names = self.policy.models_
        return [names[choice] for choice in self.policy.predict(X, cost_weight).tolist()]

    def _remembered(self, X: FloatArray) -> tuple[list[ClusterNote | None], list[tuple[Neighbour, ...]]]:
        """For each row the cluster it lies in and its neighbours, as far as the router remembers."""
        if self.memory is None:
            return [None] * len(X), [()] * len(X)
        notes = [self.memory.clusters[k] for k in self.memory.assign(X)]
        return [*notes], self.memory.neighbours(X)

    def next_step(self, x: FloatArray, attempts: Sequence[FinishedAttempt]) -> Decision:
        """The next decision on one instance with embedding x (d,) and the attempts made so far, oldest first."""
        return next_step(self.policy, x, attempts)

    def save(self, path: Path | str) -> None:
        """Write the checkpoint in one step, replacing an older one."""
        header = Header(
            policy=self.policy.name,
            params=self.policy.get_params(),
            models=self.models,
            embedder=self.embedder.name,
            fingerprint=self.embedder.fingerprint,
            provenance=self.provenance,
            figures=self.figures,
            instances=() if self.memory is None else self.memory.instances,
            clusters=() if self.memory is None else self.memory.clusters,
            own_clusters=self.memory is not None and self.memory.own,
        )
        remembered = {} if self.memory is None else self.memory.arrays()
        write_checkpoint(path, header, self.policy.fitted_arrays() | remembered)

    @classmethod
    def load(cls, path: Path | str, embedder: TextEmbedder | None = None, *, trust_embedder: bool = False) -> Router:
        """Read a checkpoint.

        Args:
            path: of the checkpoint.
            embedder: the one it was fitted with. None loads the one that the checkpoint names, which a foreign file
                may choose at will: so only the default one is loaded unasked.
            trust_embedder: load whatever embedder the checkpoint names.

        Raises:
            UntrustedEmbedderError: it names another embedder than the default.
            CheckpointError: the file is no checkpoint, is newer than this installation, or was fitted with another
                embedder.
            EmbedderUnavailableError: its embedder cannot be loaded.
        """
        header, arrays = read_checkpoint(path)
        policy = restore_policy(path, header, arrays)
        if embedder is None:
            if not trust_embedder and not is_default(header.embedder):
                raise UntrustedEmbedderError(
                    f"{path}: names the embedder {header.embedder!r}; only {DEFAULT_EMBEDDER} is loaded unasked"
                )
            embedder = Embedder(header.embedder)
        check_embedder(path, header, embedder)
        try:
            memory = restore_memory(header.instances, header.clusters, header.own_clusters, arrays)
            if memory is not None:  # a trial: arrays of another width would show at the first decision only
                policy.predict(memory.embeddings[:1])
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}; fit it again") from error
        return cls(policy, header.models, embedder, header.provenance, header.figures, memory)

    def renamed(self, names: Mapping[str, str]) -> Router:
        """The same router with other names for its models, by the names it has; ValueError when two become one."""
        models = tuple(model.model_copy(update={"name": names.get(model.name, model.name)}) for model in self.models)
        policy = make_policy(self.policy.name, **self.policy.get_params())
        policy.restore(tuple(model.name for model in models), self.policy.fitted_arrays())
        if len(set(policy.models_)) < len(models):
            raise ValueError(f"{len(models)} models cannot be called {', '.join(policy.models_)}: a name occurs twice")
        memory = None if self.memory is None else self.memory.renamed(names)
        return Router(policy, models, self.embedder, self.provenance, self.figures, memory)

    def _estimate(self, model: int, score: float, cost: float) -> ModelEstimate:
        known = self.models[model].mean_cost_usd is not None
        return ModelEstimate(self.models[model].name, float(score), float(cost) if known else None)


def predict_without(
    policy: Policy, X: Features, exclude: Sequence[str] = (), cost_weight: float | None = None
) -> IntArray:
    """(n,) choices of a fitted policy among the models not named in `exclude`; ValueError when that leaves none.

    A choice that is not excluded stands. One that is goes to the best of what is left by the policy's values − λ·cost
    (None: the policy's own λ); nothing is fitted again.
    """
    choices = policy.predict(X, cost_weight)
    if not exclude:
        return choices
    if unknown := sorted(set(exclude) - set(policy.models_)):
        raise ValueError(f"cannot exclude {', '.join(unknown)}: the pool is {', '.join(policy.models_)}")
    left = np.array([k for k, name in enumerate(policy.models_) if name not in exclude], dtype=np.int64)
    if not len(left):
        raise ValueError("every model of the pool is excluded; leave one")
    time_weight = _time_weight(policy)
    seconds = policy.seconds(X)[:, left] if time_weight else None
    weight = policy.effective_cost_weight(cost_weight)
    others = left[choose(policy.utilities(X)[:, left], policy.costs(X)[:, left], weight, seconds, time_weight)]
    return np.where(np.isin(choices, left), choices, others)


def _ranking(policy: Policy, X: Features, choices: IntArray, cost_weight: float | None) -> list[list[int]]:
    """For each row all models by the policy's values − λ·cost − μ·seconds, ties to the cheaper; `choices` (n,) lead."""
    values, costs, weight = policy.utilities(X), policy.costs(X), policy.effective_cost_weight(cost_weight)
    if time_weight := _time_weight(policy):
        values = values - time_weight * policy.seconds(X)
    keys = (-values, costs) if np.isinf(weight) else (costs, -np.round((values - weight * costs) / TIE) * TIE)
    order = np.lexsort(keys, axis=1).tolist()
    return [
        [choice, *(model for model in line if model != choice)]
        for choice, line in zip(choices.tolist(), order, strict=True)
    ]


def _time_weight(policy: Policy) -> float:
    return float(policy.get_params().get("time_weight", 0.0))
