import numpy as np
import pytest
from scipy.special import expit

from router.lab.anchors import ReferenceRuns


@pytest.fixture(scope="module")
def runs() -> np.ndarray:
    rng = np.random.default_rng(5)
    ability, difficulty = rng.normal(1, 1, 50), rng.normal(0, 2, 300)
    return (rng.random((300, 50)) < expit(ability - difficulty[:, None])).astype(float)


def errors(runs: np.ndarray, n: int, *, chosen: bool) -> list[float]:
    found = []
    for h in range(12):
        reference, y = ReferenceRuns(np.delete(runs, h, axis=1)), runs[:, h]
        for draw in range(1 if chosen else 5):
            rows = reference.choose_anchors(n) if chosen else np.random.default_rng([h, draw]).choice(300, n, False)
            labels = np.full(300, np.nan)
            labels[rows] = y[rows]
            found.append(abs(reference.estimate(labels).rate - y.mean()))
    return found


def test_chosen_anchors_beat_random_ones_and_both_beat_the_plain_mean(runs) -> None:
    plain = np.sqrt(0.25 / 30)
    assert np.mean(errors(runs, 30, chosen=True)) < np.mean(errors(runs, 30, chosen=False)) < 0.8 * plain


def test_more_labels_mean_less_error_and_all_labels_none(runs) -> None:
    assert np.mean(errors(runs, 150, chosen=True)) < np.mean(errors(runs, 15, chosen=True))
    whole = ReferenceRuns(runs[:, 1:]).estimate(runs[:, 0])
    assert whole.rate == pytest.approx(runs[:, 0].mean())
    assert whole.high - whole.low == pytest.approx(0, abs=1e-9)


def test_the_interval_covers_and_shrinks(runs) -> None:
    inside, widths = [], {}
    for h in range(25):
        reference, y = ReferenceRuns(np.delete(runs, h, axis=1)), runs[:, h]
        for n in (20, 120):
            labels = np.full(300, np.nan)
            rows = reference.choose_anchors(n)
            labels[rows] = y[rows]
            found = reference.estimate(labels)
            inside.append(found.low <= y.mean() <= found.high)
            widths.setdefault(n, []).append(found.high - found.low)
    # approximate, as documented: item parameters are taken as known
    assert np.mean(inside) >= 0.8
    assert np.mean(widths[120]) < np.mean(widths[20])


def test_anchors_are_distinct_in_range_and_deterministic(runs) -> None:
    reference = ReferenceRuns(runs)
    for n in (1, 7, 299, 300):
        rows = reference.choose_anchors(n)
        assert len(set(rows.tolist())) == n
        assert rows.min() >= 0
        assert rows.max() < 300
        assert np.array_equal(rows, ReferenceRuns(runs).choose_anchors(n))
    with pytest.raises(ValueError, match="301 anchors among 300"):
        reference.choose_anchors(301)


def test_clusters_give_anchors_by_their_size(runs) -> None:
    clusters = np.repeat([0, 1, 2], [150, 100, 50])
    rows = ReferenceRuns(runs).choose_anchors(30, clusters)
    assert np.bincount(clusters[rows]).tolist() == [15, 10, 5]


def test_labels_of_one_kind_stay_inside_the_unit_interval(runs) -> None:
    for value in (0.0, 1.0):
        labels = np.full(300, np.nan)
        labels[:10] = value
        found = ReferenceRuns(runs).estimate(labels)
        assert 0 <= found.low <= found.rate <= found.high <= 1
    with pytest.raises(ValueError, match="0 known"):
        ReferenceRuns(runs).estimate(np.full(300, np.nan))
