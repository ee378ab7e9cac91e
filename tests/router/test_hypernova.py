"""`hypernova`: clusters that come from elsewhere, success that comes from the training rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.outcomes import OutcomeMatrix
from router.policies import PolicyParameterError, make_policy
from router.policies.hypernova import GENERAL, read_centroids

X = np.array([[1.0, 0.1]] * 4 + [[0.9, 0.2]] * 4)
OUTCOMES = OutcomeMatrix.build([f"i{k}" for k in range(8)], ["a", "b"], [[1, 0]] * 4 + [[0, 1]] * 4)


def test_clusters_do_not_follow_the_instances(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, centroids=np.eye(2))
    policy = make_policy("hypernova", centroids=str(path), cost_weight=0.5).fit(X, OUTCOMES)
    assert policy.centroids_.tolist() == [[1, 0], [0, 1]]
    assert policy.scores(X)[[0, -1]].tolist() == [[0.5, 0.5]] * 2, "all instances lie in one cluster"
    assert policy.scores(np.array([[0.0, 1.0]])).tolist() == [[0.5, 0.5]], "nobody lies there: the overall rates"
    own = make_policy("hypernova", centroids=str(path), n_clusters=2).fit(X, OUTCOMES, corpus=X[[0, -1]])
    assert own.predict(X).tolist() == [0] * 4 + [1] * 4, "a corpus takes the file's place"


def test_another_embedders_vectors_are_refused_in_one_line() -> None:
    with pytest.raises(PolicyParameterError, match=r"384 dimensions do not fit .* 2; .*lab clusters") as caught:
        make_policy("hypernova").fit(X, OUTCOMES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["missing", "text", "pickle", "other array", "not finite", "empty", "cut"])
def test_a_file_without_centroids_is_named(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    if fault == "text":
        path.write_text("hello")
    elif fault == "cut":
        path.write_bytes(GENERAL.read_bytes()[:1000])
    elif fault != "missing":
        arrays = {
            "pickle": {"centroids": np.array([{}])},
            "other array": {"points": np.eye(2)},
            "not finite": {"centroids": np.full((2, 2), np.nan)},
            "empty": {"centroids": np.zeros((0, 2))},
        }
        np.savez(path, **arrays[fault])
    with pytest.raises(PolicyParameterError, match=r"odd\.npz"):
        make_policy("hypernova", centroids=str(path)).fit(X, OUTCOMES)


def test_the_centroids_that_come_with_polyswe_are_as_described() -> None:
    described = json.loads(GENERAL.with_suffix(".json").read_text(encoding="utf-8"))
    centroids = read_centroids(GENERAL)
    assert centroids.shape == (described["clusters"], described["dimensions"]) == (20, 384)
    assert sum(described["cluster_sizes"]) == sum(described["texts_by_source"].values()) == described["texts"]
    assert described["licence"]
    assert np.linalg.norm(centroids, axis=1).max() <= 1.0 + 1e-6, "means of unit vectors"
