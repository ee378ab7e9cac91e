"""What is evaluated and how: passed through unchanged from the commands to the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.config.tree import DEFAULT_POLICIES
from harness.errors import InputError
from harness.evaluation.formats import money_kind
from harness.evaluation.schema import Failure
from harness.importers.repeats import RepeatedModel
from router.arrays import IntArray
from router.outcomes import OutcomeMatrix
from router.policies import make_policy


@dataclass(frozen=True)
class EvaluationSettings:
    """How policies are evaluated; the same settings on the same inputs give the same numbers.

    Raises:
        InputError: fewer than 2 folds, or no repeat.
    """

    policies: Sequence[str] = tuple(DEFAULT_POLICIES)
    """Short names of the router's policies, also with parameters: `cascade:prior=shared-difficulty`."""
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Parameters by policy name, e.g. `{"cluster": {"n_clusters": 10}}`."""
    folds: int = 10
    """Of the cross-fitting; fewer are used when there are fewer instances."""
    repeats: int = 10
    """How often the folds are drawn anew."""
    seed: int = 0
    """Of folds, clusters, permutations and bootstrap."""
    permutations: int | None = None
    """Redrawn outcomes of a policy's null; None takes enough for a claim among all `policies`."""
    null_sizes: Sequence[int] = ()
    """Sizes of clusters (of all complete instances) to draw at random beside the policies' own."""

    def __post_init__(self) -> None:
        if self.folds < 2 or self.repeats < 1:
            raise InputError(f"{self.folds} folds × {self.repeats} repeats: at least 2 folds and 1 repeat are needed")

    def params_of(self, policy: str) -> dict[str, Any]:
        """A copy of the parameters given for a policy."""
        return dict(self.params.get(policy, {}))


def shared_params(policies: Sequence[str], params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Parameters by policy: each takes those it has; what none has goes to the first, whose error then names it.

    Raises:
        UnknownPolicyError: there is no policy of a name.
        PolicyParameterError: a name contains a parameter that its policy lacks.
    """
    has = {policy: make_policy(policy).get_params() for policy in policies}
    unknown = {name: value for name, value in params.items() if not any(name in own for own in has.values())}
    taken = {policy: {name: value for name, value in params.items() if name in own} for policy, own in has.items()}
    taken[policies[0]] |= unknown
    return taken


@dataclass(frozen=True, eq=False)
class EvaluationInputs:
    """What is evaluated: a pool's outcomes on a dataset, and what else is known of the same instances."""

    outcomes: OutcomeMatrix
    """n instances × m models; unknown cells are left out, never counted as failures."""
    embeddings: NDArray[np.floating[Any]]
    """(n, d), one row per instance in the matrix' order."""
    dataset: str
    """Its name, for the title."""
    evaluation: Literal["recorded", "live"] = "recorded"
    """Where the outcomes are from; labels all rows but the policies'."""
    scripted: bool = False
    """The models are scripted stand-ins; the verdict says so first."""
    simulated: bool = False
    """The outcomes come from a simulation; verdict and recommendation say so first."""
    auxiliary: OutcomeMatrix | None = None
    """Runs on the same instances that may inform difficulty and are never candidates."""
    corpus: NDArray[np.floating[Any]] | None = None
    """(c, d) embeddings of general texts to learn clusters from, see `harness.data.corpus`."""
    repositories: Sequence[str] | None = None
    """(n,) the repository of each instance: adds rows that leave each repository out in turn."""
    repeated: Sequence[RepeatedModel] = ()
    """Models that were run several times elsewhere, for the repeatable oracle."""
    attempts: Sequence[RepeatedModel] = ()
    """The pool's own repeated attempts, `outcomes` being the first ones; they serve the repeatable oracle, too."""
    failures: Sequence[Failure] = ()
    """How cells ended that have no plain verdict."""
    notes: Sequence[str] = ()
    """What is already known of the outcomes' faults."""

    @property
    def money_kind(self) -> str:
        """See `harness.evaluation.formats.money_kind`."""
        return money_kind(scripted=self.scripted, simulated=self.simulated)

    def take(self, rows: IntArray) -> EvaluationInputs:
        """The inputs on some instances."""
        return replace(
            self,
            outcomes=self.outcomes.take(rows),
            embeddings=self.embeddings[rows],
            auxiliary=None if self.auxiliary is None else self.auxiliary.take(rows),
            repositories=None if self.repositories is None else [self.repositories[i] for i in rows],
        )
