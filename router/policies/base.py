"""What every policy can do, and the part of it that one-shot policies share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from router.arrays import Features, FloatArray, IntArray
from router.outcomes import OutcomeError, OutcomeMatrix

# scores are ratios of small integers: closer than this is a tie, not a preference
TIE = 1e-12

FittedArrays = dict[str, NDArray[Any]]

UNKNOWN_ALLOWED = frozenset({"cost_", "seconds_", "resolved_", "change_"})
"""Fitted arrays in which NaN has a meaning: not known. Anywhere else it would decide at random, or always alike."""


class PolicyNotFittedError(RuntimeError):
    """The policy was asked to decide before it was fitted."""


class PolicyParameterError(ValueError):
    """The policy has no such parameter, or not with such a value."""


@dataclass(frozen=True)
class Explanation:
    """Why a model is chosen for an instance: its cluster, where the policy has clusters, and a sentence to read."""

    cluster: int | None
    reason: str


class Policy(Protocol):
    """A policy as the laboratory, the checkpoint and the router see it; scikit-learn's estimator shape.

    Features (n, d) are fitted apart from outcomes so that a permutation test can refit outcomes without learning the
    features again; `fit_features` never sees outcomes.
    """

    name: ClassVar[str]
    """short name in the registry"""
    models_: tuple[str, ...]
    """(m,) model names, after fitting"""

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...
    def set_params(self, **params: Any) -> Self: ...

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        """Learn from training embeddings X (n, d) and optional unlabelled texts' embeddings `corpus` (c, d)."""

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        """Learn from the outcomes of the rows given to `fit_features`.

        `auxiliary` are other models' outcomes on the same rows: they may tell how hard an instance is, but are never
        routed to. A policy that has no use for them ignores them.
        """

    def fit(
        self,
        X: Features,
        outcomes: OutcomeMatrix,
        corpus: Features | None = None,
        auxiliary: OutcomeMatrix | None = None,
    ) -> Self:
        """`fit_features` then `fit_outcomes`."""

    def scores(self, X: Features) -> FloatArray:
        """(n, m) estimated P(resolved)."""

    def costs(self, X: Features) -> FloatArray:
        """(n, m) estimated USD, free of NaN."""

    def seconds(self, X: Features) -> FloatArray:
        """(n, m) estimated seconds, free of NaN."""

    def predict(self, X: Features, cost_weight: float | None = None) -> IntArray:
        """(n,) index of the chosen model: `choose(scores, costs, cost_weight, seconds, time_weight)`."""

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        """(w, n) `predict` for each λ of `cost_weights` (None: the policy's own), estimating only once."""

    def effective_cost_weight(self, cost_weight: float | None) -> float:
        """The λ of a decision: the one given, or what the policy decides by on its own."""

    def utilities(self, X: Features) -> FloatArray:
        """(n, m) what a decision weighs against costs: the scores, unless the policy prefers otherwise."""

    def explain(self, X: Features, choices: IntArray, cost_weight: float | None = None) -> list[Explanation]:
        """Why `choices` (n,), made with λ `cost_weight` (None: the policy's own), as read from the fitted arrays."""

    def fitted_arrays(self) -> FittedArrays:
        """Everything a decision needs, for a checkpoint."""

    def restore(self, models: tuple[str, ...], arrays: FittedArrays) -> Self:
        """The inverse of `fitted_arrays`; PolicyParameterError when arrays are missing or of the wrong shape."""


class OneShotPolicy:
    """Parameters, decision rule and persistence of a policy that decides once. Subclasses are dataclasses.

    A subclass's fields are its parameters, `fitted` names its arrays and their shapes in letters: k clusters, m models,
    d dimensions.
    """

    name: ClassVar[str]
    fitted: ClassVar[dict[str, str]]
    cost_weight: float
    time_weight: float = 0.0
    models_: tuple[str, ...]
    overall_: FloatArray
    cost_: FloatArray
    seconds_: FloatArray

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def set_params(self, **params: Any) -> Self:
        valid = self.get_params()
        for key, value in params.items():
            if key not in valid:
                raise PolicyParameterError(
                    f"policy {self.name!r} has no parameter {key!r}; it has {', '.join(sorted(valid))}"
                )
            setattr(self, key, value)
        return self

    def fit_features(self, X: Features, corpus: Features | None = None) -> Self:
        raise NotImplementedError

    def fit_outcomes(self, outcomes: OutcomeMatrix, auxiliary: OutcomeMatrix | None = None) -> Self:
        raise NotImplementedError

    def scores(self, X: Features) -> FloatArray:
        raise NotImplementedError

    def costs(self, X: Features) -> FloatArray:
        """(n, m) training means `cost_` (m,), unless the subclass knows better."""
        self.check_fitted()
        return np.broadcast_to(fill_costs(self.cost_), (len(X), len(self.cost_)))

    def seconds(self, X: Features) -> FloatArray:
        """(n, m) training means `seconds_` (m,), unless the subclass knows better; zeros where it has none."""
        self.check_fitted()
        seconds = getattr(self, "seconds_", np.zeros(len(self.models_)))
        return np.broadcast_to(fill_costs(seconds), (len(X), len(self.models_)))

    def fit(
        self,
        X: Features,
        outcomes: OutcomeMatrix,
        corpus: Features | None = None,
        auxiliary: OutcomeMatrix | None = None,
    ) -> Self:
        return self.fit_features(X, corpus).fit_outcomes(outcomes, auxiliary)

    def effective_cost_weight(self, cost_weight: float | None) -> float:
        return self.cost_weight if cost_weight is None else cost_weight

    def utilities(self, X: Features) -> FloatArray:
        return self.scores(X)

    def predict(self, X: Features, cost_weight: float | None = None) -> IntArray:
        choices: IntArray = self.sweep(X, [cost_weight])[0]
        return choices

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        scores, costs = self.scores(X), self.costs(X)
        seconds = self.seconds(X) if self.time_weight else None
        weights = [self.cost_weight if weight is None else weight for weight in cost_weights]
        return np.stack([choose(scores, costs, weight, seconds, self.time_weight) for weight in weights])

    def learn_means(self, outcomes: OutcomeMatrix) -> None:
        """What every policy knows of a model: `models_`, training rate `overall_`, mean `cost_` and `seconds_` (m,)."""
        self.models_ = outcomes.models
        self.overall_ = known_rates(outcomes)
        self.cost_ = outcomes.mean_cost()
        self.seconds_ = outcomes.mean_seconds()

    def fitted_arrays(self) -> FittedArrays:
        self.check_fitted()
        return {name: getattr(self, name) for name in self.fitted}

    def restore(self, models: tuple[str, ...], arrays: FittedArrays) -> Self:
        sizes = {"m": len(models)}
        for name, letters in self.fitted.items():
            if name not in arrays or arrays[name].ndim != len(letters):
                raise PolicyParameterError(f"policy {self.name!r} needs array {name!r} of shape ({', '.join(letters)})")
            for letter, size in zip(letters, arrays[name].shape, strict=True):
                if sizes.setdefault(letter, size) != size:
                    raise PolicyParameterError(
                        f"policy {self.name!r}: array {name!r} has {size} where others have {letter}={sizes[letter]}"
                    )
            if name not in UNKNOWN_ALLOWED and np.isnan(arrays[name]).any():
                raise PolicyParameterError(f"policy {self.name!r}: array {name!r} has values that are no numbers (NaN)")
            setattr(self, name, arrays[name])
        self.models_ = models
        return self

    def check_fitted(self) -> None:
        """PolicyNotFittedError unless every fitted array is there."""
        if not all(hasattr(self, name) for name in self.fitted):
            raise PolicyNotFittedError(f"policy {self.name!r} is not fitted; call fit(X, outcomes) first")


def choose(
    scores: FloatArray,
    costs: FloatArray,
    cost_weight: float,
    seconds: FloatArray | None = None,
    time_weight: float = 0.0,
) -> IntArray:
    """(n,) argmax over models of scores − λ·costs − μ·seconds, all (n, m); λ in resolved instances per USD, μ per
    second.

    Ties go to the cheaper model, then to the first. λ = ∞ picks the cheapest, among equally cheap ones the best of
    scores − μ·seconds.
    """
    if not cost_weight >= 0:
        raise PolicyParameterError(f"cost_weight must be a number >= 0, got {cost_weight}")
    if not 0 <= time_weight < np.inf:
        raise PolicyParameterError(f"time_weight must be a finite number >= 0, got {time_weight}")
    if seconds is not None and time_weight:
        scores = scores - time_weight * seconds
    if np.isinf(cost_weight):
        value, tie_break = -costs, -scores
    else:
        value, tie_break = scores - cost_weight * costs, costs
    tied = value >= value.max(axis=1, keepdims=True) - TIE
    return np.asarray(np.where(tied, tie_break, np.inf).argmin(axis=1), dtype=np.int64)


def check_numbers(policy: str, name: str, array: NDArray[Any], least: int, most: int) -> None:
    """PolicyParameterError unless a restored array has at least one element, all whole numbers in least … most."""
    if not array.size or not ((array >= least) & (array <= most) & (array == np.floor(array))).all():
        raise PolicyParameterError(f"policy {policy!r}: array {name!r} needs whole numbers from {least} to {most}")


def fill_costs(mean_cost: FloatArray) -> FloatArray:
    """(m,) mean costs (or seconds) without NaN: zeros when none is known.

    Where only some are known, an unknown one counts as the dearest known: no model looks cheap for want of a price.
    """
    unknown = np.isnan(mean_cost)
    if not unknown.any():
        return mean_cost
    return np.where(unknown, 0.0 if unknown.all() else np.nanmax(mean_cost), mean_cost)


def known_rates(outcomes: OutcomeMatrix) -> FloatArray:
    """(m,) training rates; a model nobody has seen counts as 0, so it is never chosen on no evidence."""
    rates = outcomes.rates()
    unknown = np.isnan(rates)
    if unknown.all():
        raise OutcomeError(f"no verdict is known for any model on the {len(outcomes)} training instances")
    return np.where(unknown, 0.0, rates)
