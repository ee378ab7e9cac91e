import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.clustering import CLUSTERINGS, CentroidClusters, nearest


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 8), st.integers(1, 6))
def test_nearest_equals_brute_force(seed: int, n: int, k: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    X, centroids = rng.normal(size=(n, d)), rng.normal(size=(k, d))
    distance = np.linalg.norm(X[:, None, :] - centroids[None, :, :], axis=2)
    chosen = distance[np.arange(n), nearest(X, centroids)]
    assert np.allclose(chosen, distance.min(axis=1))


def test_a_point_between_two_centroids_goes_to_the_first() -> None:
    assert nearest(np.array([[0.0]]), np.array([[1.0], [-1.0]])).tolist() == [0]


def test_kmeans_finds_separate_groups_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(loc, 0.01, size=(10, 3)) for loc in (-1, 0, 1)])
    labels = CentroidClusters(3, seed=1).fit(X).assign(X)
    assert [len(set(labels[i : i + 10])) for i in (0, 10, 20)] == [1, 1, 1]
    assert len(set(labels)) == 3
    # a copy of the data in another layout is the same data
    again = CentroidClusters(3, seed=1).fit(np.asfortranarray(X))
    assert np.array_equal(again.centroids_, CentroidClusters(3, seed=1).fit(X).centroids_)


def test_remembered_clusters_do_not_survive_a_change_of_the_data() -> None:
    X = np.random.default_rng(3).normal(size=(20, 2))
    before = CentroidClusters(2).fit(X).centroids_
    X += 5
    assert np.allclose(CentroidClusters(2).fit(X).centroids_.mean(), before.mean() + 5, atol=1.5)


def test_more_clusters_than_rows_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"n_clusters=9 .* 4 rows"):
        CentroidClusters(9).fit(np.eye(4))


def test_embeddings_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="3 dimensions"):
        nearest(np.eye(2), np.eye(3))
    with pytest.raises(ValueError, match="NaN or infinite value in row 1"):
        CentroidClusters(1).fit(np.array([[0.0], [np.nan]]))


@pytest.mark.parametrize("method", sorted(CLUSTERINGS))
def test_every_clustering_finds_separate_groups_and_repeats_itself(method: str) -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(loc, 0.01, size=(20, 3)) for loc in (-1, 0, 1)])
    clusters = CentroidClusters(3, method=method).fit(X)
    labels = clusters.assign(X)
    groups = [set(labels[i : i + 20]) for i in (0, 20, 40)]
    assert not groups[0] & groups[1] | groups[1] & groups[2]
    assert np.array_equal(CLUSTERINGS[method](X, clusters), clusters.centroids_)


@pytest.mark.parametrize("method", sorted(CLUSTERINGS))
def test_every_clustering_copes_with_one_row_and_with_equal_rows(method: str) -> None:
    assert CentroidClusters(1, method=method).fit(np.ones((1, 2))).centroids_.tolist() == [[1, 1]]
    assert CentroidClusters(1, method=method).fit(np.ones((9, 2))).assign(np.ones((2, 2))).tolist() == [0, 0]


def test_unknown_clusterings_are_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match="unknown clustering 'spectral'; valid clusterings: kmeans, mini-batch"):
        CentroidClusters(2, method="spectral").fit(np.eye(3))
