"""Policies evaluated side by side are the policies evaluated one after the other."""

import numpy as np
import pytest

from harness.errors import InputError
from harness.evaluation.policy_rows import Laboratory
from router.outcomes import OutcomeMatrix


def test_workers_change_nothing_but_the_time_and_pass_errors_on() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    outcomes = OutcomeMatrix.build(
        [f"i{k}" for k in range(40)], ["ant", "bee"], rng.integers(0, 2, (40, 2)), rng.random((40, 2))
    )
    laboratory = Laboratory(X, outcomes, folds=4, repeats=2, seed=0, permutations=9)
    asked = {"knn": {}, "best-fixed": {}, "cluster": {"n_clusters": 2}}
    alone, together = (list(laboratory.evaluate_all(asked, workers=workers)) for workers in (1, 2))
    assert [name for name, _ in together] == list(asked)
    assert together == alone
    with pytest.raises(InputError, match="valid policies"):
        list(laboratory.evaluate_all({"cluster": {}, "no-such": {}}, workers=2))
