"""What one-shot policies share: parameters, decision rule and persistence. A new policy is a subclass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from router.arrays import Features, FloatArray, IntArray, as_features
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policy import Explanation, FittedArrays, PolicyNotFittedError, PolicyParameterError

__all__ = [
    "TIE",
    "Explanation",
    "FittedArrays",
    "OneShotPolicy",
    "PolicyNotFittedError",
    "PolicyParameterError",
    "check_numbers",
    "choose",
    "fill_costs",
    "known_rates",
]

TIE = 1e-12
"""Scores are ratios of small integers: closer than this is a tie, not a preference."""
PARAMETER_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "bool": (bool, "true or false"),
    "int": ((int, np.integer), "a whole number"),
    "float": ((int, float, np.number), "a number"),
    "float | None": ((int, float, np.number, NoneType), "a number"),
}
"""What a parameter annotated so may be, and how a message says it."""


class OneShotPolicy:
    """Parameters, decision rule and persistence of a policy that decides once. Subclasses are dataclasses.

    A subclass's fields are its parameters, `fitted` names its arrays and their shapes in letters: k clusters, m models,
    d dimensions.
    """

    name: ClassVar[str]
    is_baseline: ClassVar[bool] = False
    needs_recorded: ClassVar[bool] = False
    chooses_by: ClassVar[tuple[str, ...]] = ()
    fitted: ClassVar[dict[str, str]]
    may_be_unknown: ClassVar[frozenset[str]] = frozenset({"cost_", "seconds_"})
    """fitted arrays in which NaN has a meaning: not known; anywhere else it would decide at random, or always alike"""
    cost_weight: float
    time_weight: float = 0.0
    models_: tuple[str, ...]
    overall_: FloatArray
    cost_: FloatArray
    seconds_: FloatArray

    @property
    def is_nested(self) -> bool:
        return False

    @property
    def is_sequential(self) -> bool:
        return False

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def set_params(self, **params: Any) -> Self:
        valid = self.get_params()
        for key, value in params.items():
            if key not in valid:
                raise PolicyParameterError(
                    f"policy {self.name!r} has no parameter {key!r}; it has {', '.join(sorted(valid))}"
                )
            self._check_kind(key, value)
            setattr(self, key, value)
        self.check_parameters()
        return self

    def check_parameters(self) -> None:
        """PolicyParameterError for values with which the policy cannot be fitted; found before anything is run."""

    def _check_kind(self, key: str, value: Any) -> None:
        """PolicyParameterError if a parameter that is one number, or true or false, gets something else."""
        kind = next(str(field.type) for field in fields(self) if field.name == key)  # type: ignore[arg-type]
        if kind not in PARAMETER_KINDS:
            return
        wanted, words = PARAMETER_KINDS[kind]
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "bool"):
            raise PolicyParameterError(f"policy {self.name!r}: {key} must be {words}, got {value!r}")

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
        if len(X) != len(outcomes):
            raise OutcomeError(f"{len(outcomes)} instances for {len(X)} rows of X")
        return self.fit_features(X, corpus).fit_outcomes(outcomes, auxiliary)

    def effective_cost_weight(self, cost_weight: float | None) -> float:
        return self.cost_weight if cost_weight is None else cost_weight

    def utilities(self, X: Features) -> FloatArray:
        return self.scores(X)

    def predict(self, X: Features, cost_weight: float | None = None) -> IntArray:
        choices: IntArray = self.sweep(as_features(X), [cost_weight])[0]
        return choices

    def sweep(self, X: Features, cost_weights: Sequence[float | None]) -> IntArray:
        self._check_width(X)
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
            if name not in self.may_be_unknown and np.isnan(arrays[name]).any():
                raise PolicyParameterError(f"policy {self.name!r}: array {name!r} has values that are no numbers (NaN)")
            setattr(self, name, arrays[name])
        self.models_ = models
        return self

    def _check_width(self, X: Features) -> None:
        """ValueError unless X (n, d) is as wide as the embeddings of the fit, for a policy that reads them."""
        self.check_fitted()
        shapes = [(letters, getattr(self, name).shape) for name, letters in self.fitted.items()]
        width = next((shape[letters.index("d")] for letters, shape in shapes if "d" in letters), X.shape[1])
        if X.shape[1] != width:
            raise ValueError(
                f"policy {self.name!r}: embeddings of {X.shape[1]} dimensions, fitted on embeddings of {width}"
            )

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
