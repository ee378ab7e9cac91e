import numpy as np
import pytest

from router.outcomes import OutcomeError, OutcomeMatrix, replay_choices, single


def matrix(resolved: list[list[float]], cost: list[list[float]] | None = None) -> OutcomeMatrix:
    n, m = np.shape(resolved)
    return OutcomeMatrix.build([f"i{k}" for k in range(n)], "abcdef"[:m], resolved, cost)


@pytest.mark.parametrize(
    ("resolved", "cost", "message"),
    [
        ([[0, 1], [0.5, 1]], None, "resolved of model 'a' on instance 'i1' is 0.5"),
        ([[0, 1], [0, 1]], [[1, 2], [1, -2]], "cost of model 'b' on instance 'i1' is -2.0"),
        ([[0, 1], [0, 1]], [[1, np.inf], [1, 2]], "cost of model 'b' on instance 'i0' is inf"),
        ([[0, 1], [0, 1]], [[1, 2]], r"cost has shape \(1, 2\)"),
    ],
)
def test_a_faulty_cell_is_named(resolved: list[list[float]], cost: list[list[float]] | None, message: str) -> None:
    with pytest.raises(OutcomeError, match=message):
        matrix(resolved, cost)


def test_duplicate_names_are_refused() -> None:
    with pytest.raises(OutcomeError, match="model 'a' occurs twice"):
        OutcomeMatrix.build(["i"], ["a", "a"], [[1, 0]])
    with pytest.raises(OutcomeError, match="instance 'i' occurs twice"):
        OutcomeMatrix.build(["i", "i"], ["a"], [[1], [0]])


def test_arrays_can_not_be_changed_behind_the_matrix() -> None:
    source = np.array([[0.0, 1.0]])
    outcomes = matrix(source)  # type: ignore[arg-type]
    source[0, 0] = 1
    assert outcomes.resolved[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        outcomes.resolved[0, 0] = 1


def test_means_ignore_unknown_cells() -> None:
    outcomes = matrix([[1, np.nan], [0, np.nan], [np.nan, np.nan]], [[1, np.nan], [3, np.nan], [np.nan, np.nan]])
    assert outcomes.rates()[0] == 0.5
    assert outcomes.mean_cost()[0] == 2
    assert np.isnan(outcomes.rates()[1])
    assert np.isnan(outcomes.mean_seconds()).all()
    assert not outcomes.complete()
    assert len(outcomes.complete_rows()) == 0


def test_best_single_breaks_ties_by_price_and_unknown_price_comes_last() -> None:
    tied = [[1, 1, 1], [0, 0, 0]]
    assert matrix(tied, [[3, 2, 2], [3, 2, 2]]).best_single() == 1
    assert matrix(tied, [[np.nan, 9, 9], [np.nan, 9, 9]]).best_single() == 1
    assert matrix(tied).best_single() == 0
    assert matrix([[np.nan, 0]]).best_single() == 1
    with pytest.raises(OutcomeError, match="no verdict is known"):
        matrix([[np.nan, np.nan]]).best_single()


def test_pool_reorders_and_names_the_nearest_model() -> None:
    outcomes = OutcomeMatrix.build(["i"], ["opus-4.5", "sonnet-4.5"], [[1, 0]], [[2, 1]])
    assert outcomes.pool(["sonnet-4.5", "opus-4.5"]).cost.tolist() == [[1, 2]]
    with pytest.raises(OutcomeError, match=r"no outcomes of model 'opus-45'.*opus-4.5"):
        outcomes.pool(["opus-45"])


def test_take_keeps_rows_and_ids_together() -> None:
    taken = matrix([[0, 1], [1, 0], [1, 1]]).take(np.array([2, 0]))
    assert taken.instances == ("i2", "i0")
    assert taken.resolved.tolist() == [[1, 1], [0, 1]]


def test_taken_rows_are_checked_for_repeats_and_read_only() -> None:
    outcomes = matrix([[0, 1], [1, 0], [1, 1]])
    with pytest.raises(OutcomeError, match="'i1' occurs twice"):
        outcomes.take(np.array([1, 0, -2]))
    taken = outcomes.take(np.array([1]))
    with pytest.raises(ValueError, match="read-only"):
        taken.cost[0, 0] = 1.0


def test_with_resolved_still_checks_verdicts() -> None:
    outcomes = matrix([[0, 1]])
    assert outcomes.with_resolved(np.array([[1.0, 0.0]])).rates().tolist() == [1, 0]
    with pytest.raises(OutcomeError, match="not 0, 1 or NaN"):
        outcomes.with_resolved(np.array([[2.0, 0.0]]))


def test_replay_averages_over_repeats_and_known_cells() -> None:
    outcomes = matrix([[1, 0], [0, np.nan]], [[1, 3], [1, 3]])
    replay = replay_choices(outcomes, np.array([[0, 0], [1, 1]]))
    assert replay.resolved.tolist() == [0.5, 0]
    assert replay.cost.tolist() == [2, 2]
    assert replay.share.tolist() == [0.5, 0.5]
    assert replay.rate == 0.25
    assert np.isnan(replay.seconds_per_instance)
    assert single(outcomes, 1).resolved_count == 0


def test_a_matrix_with_signals_travels_between_processes() -> None:
    import pickle

    matrix = OutcomeMatrix.build(["i", "j"], ["a"], [[1], [0]], signals={"patch_lines": [[3], [4]]})
    copy = pickle.loads(pickle.dumps(matrix))
    assert copy.instances == matrix.instances
    assert copy.signals["patch_lines"].tolist() == [[3.0], [4.0]]
