"""What every policy can do, as the laboratory, the checkpoint and the router see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from numpy.typing import NDArray

from router.arrays import Features, FloatArray, IntArray
from router.outcomes import OutcomeMatrix

FittedArrays = dict[str, NDArray[Any]]
"""A fitted policy's arrays by name."""


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
    is_baseline: ClassVar[bool]
    """whether it is a yardstick that does not read the text: it claims nothing, so no null test is due"""
    needs_recorded: ClassVar[bool]
    """whether it reads the verdicts of what it decides: it can be replayed, but neither run nor saved"""
    chooses_by: ClassVar[tuple[str, ...]]
    """signals of which at least one has to be known if it is to choose among finished attempts; none for most"""
    models_: tuple[str, ...]
    """(m,) model names, after fitting"""

    @property
    def is_nested(self) -> bool:
        """Whether a fit fits other policies on parts of its rows, which makes it many times slower."""

    @property
    def is_sequential(self) -> bool:
        """Whether it looks at finished attempts, see `router.decision.SequentialPolicy`."""

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
