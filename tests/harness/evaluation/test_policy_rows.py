"""Policies evaluated side by side are the policies evaluated one after the other."""

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import InputError
from harness.evaluation.policy_rows import Laboratory
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from router.outcomes import OutcomeMatrix


def test_workers_change_nothing_but_the_time_and_pass_errors_on() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    outcomes = OutcomeMatrix.build(
        [f"i{k}" for k in range(40)], ["ant", "bee"], rng.integers(0, 2, (40, 2)), rng.random((40, 2))
    )
    inputs = EvaluationInputs(outcomes=outcomes, embeddings=X, dataset="toy")
    settings = EvaluationSettings(
        policies=["knn", "best-fixed", "cluster"],
        params={"cluster": {"n_clusters": 2}},
        folds=4,
        repeats=2,
        permutations=9,
    )
    alone, together = (list(Laboratory(inputs, settings).evaluate_all(workers)) for workers in (1, 2))
    assert [policy.name for policy in together] == list(settings.policies)
    assert together == alone
    with pytest.raises(InputError, match="valid policies"):
        list(Laboratory(inputs, replace(settings, policies=["cluster", "no-such"])).evaluate_all(2))
