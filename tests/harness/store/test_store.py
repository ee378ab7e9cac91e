"""The store is what a resumed run believes: it must not forget, mix up or accept outcomes of other settings."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from agents.attempt import Attempt
from agents.budget import Call
from agents.leaks import Flag
from harness.errors import InputError, RunMismatchError
from harness.grading.verdict import Grade, Verdict
from harness.store.matrix import matrix_of_run
from harness.store.store import Cell, State, Store

A, B = Cell("i-1", "small"), Cell("i-1", "large")


def attempt(cell: Cell, cost: float = 0.5, unsubmitted: str = "") -> Attempt:
    return Attempt(
        instance_id=cell.instance_id, model=cell.model, patch="p", exit_status="Submitted", cost_usd=cost, api_calls=3,
        prompt_tokens=10, completion_tokens=5, cached_tokens=2, failed_calls=1, seconds=7.0, trajectory=Path("t"),
        unsubmitted_patch=unsubmitted, scripted=True,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "outcomes.sqlite")
    store.plan({A: "k1", B: "k2"})
    return store


def test_what_was_recorded_is_there_after_the_file_is_opened_again(store: Store) -> None:
    store.agent_started(A)
    store.agent_done(A, attempt(A))
    store.graded(A, Grade(Verdict.RESOLVED, seconds=2.0))
    store.close()
    row_b, row_a = Store(store.path).rows()
    assert (row_a.state, row_a.verdict, row_a.cost_usd, row_a.api_calls) == (State.GRADED, Verdict.RESOLVED, 0.5, 3)
    assert row_a.scripted
    assert row_b.state is State.PLANNED


def test_planning_again_keeps_what_is_finished_and_adds_what_is_new(store: Store) -> None:
    store.agent_done(A, attempt(A))
    new = Cell("i-2", "small")
    store.plan({A: "k1", B: "k2", new: "k1"})
    assert {row.cell: row.state for row in store.rows()} == {
        A: State.AGENT_DONE,
        B: State.PLANNED,
        new: State.PLANNED,
    }


def test_planning_what_is_planned_already_writes_nothing(store: Store) -> None:
    before = store._db.total_changes
    store.plan({A: "k1", B: "k2"})
    assert store._db.total_changes == before
    store.plan({A: "k1", B: "k3"})  # never worked on: the new key replaces the old
    assert {row.cell: row.key for row in store.rows()} == {A: "k1", B: "k3"}
    assert store._db.total_changes == before + 1
    unnamed = Cell("i-3", "small")
    store.plan({unnamed: ""})  # a new cell is added whatever its key
    assert unnamed in {row.cell for row in store.rows()}


def test_outcomes_of_other_settings_are_refused_and_nothing_is_changed(store: Store) -> None:
    store.graded(A, Grade(Verdict.RESOLVED))
    with pytest.raises(RunMismatchError, match=r"models: small.*--run-id.*--fresh"):
        store.plan({A: "other", B: "other", Cell("i-9", "small"): "other"})
    assert {row.cell: row.key for row in store.rows()} == {A: "k1", B: "k2"}


@pytest.mark.parametrize("what", ["planned", "started", "failed"])
def test_cells_without_an_outcome_take_new_settings(store: Store, what: str) -> None:
    """A misspelt model id, once mended, must not hold up the outcomes of the others."""
    if what == "started":
        store.agent_started(A)
    if what == "failed":
        store.failed(A, "provider: not-found", "no such model")
    store.plan({A: "changed"})
    assert {row.cell: row.key for row in store.rows()}[A] == "changed"


def test_a_grading_that_failed_keeps_the_paid_patch_waiting(store: Store) -> None:
    store.agent_done(A, attempt(A))
    store.graded(A, Grade(Verdict.INFRASTRUCTURE, "engine gone"), "engine")
    row = next(row for row in store.rows() if row.cell == A)
    assert (row.state, row.verdict) == (State.AGENT_DONE, None)
    assert row.failure == "engine"
    assert not Verdict.INFRASTRUCTURE.final
    assert [event.kind for event in store.failures()] == ["engine"]


def test_money_lost_to_failures_is_counted_every_time(store: Store) -> None:
    store.failed(A, "provider: timeout", "…", 0.25)
    store.failed(A, "provider: timeout", "…", 0.25)
    store.agent_done(A, attempt(A, cost=1.0))
    assert store.spent() == pytest.approx(1.5)


def call(cost: float, failure: str = "") -> Call:
    return Call(
        started_at=0.0, seconds=1.0, prompt_tokens=10, cached_tokens=4, completion_tokens=2, cost_usd=cost,
        estimated=False, failure=failure,
    )  # fmt: skip


def test_what_a_killed_attempt_had_paid_is_known_to_the_call(store: Store) -> None:
    store.agent_started(A)
    store.called(A, call(0.2))
    store.called(A, call(0.3))
    store.killed(A)
    assert store.spent() == pytest.approx(0.5)
    store.agent_started(A)
    store.called(A, call(0.1))
    store.failed(A, "provider: timeout", "…", 0.1)
    store.agent_started(A)
    store.called(A, call(0.25))
    store.killed(A, cost_on_record=99.0)
    assert store.spent() == pytest.approx(0.85), "only what the last attempt paid was added"
    assert [event.kind for event in store.failures()] == ["killed", "provider: timeout", "killed"]


def test_a_killed_attempt_of_a_store_without_calls_counts_what_its_trajectory_says(store: Store) -> None:
    store.agent_started(A)
    store.killed(A, cost_on_record=0.7)
    assert store.spent() == pytest.approx(0.7)


def test_reading_changes_nothing(store: Store) -> None:
    store.close()
    before = store.path.read_bytes()
    with Store(store.path, read_only=True) as reader:
        assert len(reader.rows()) == 2
        with pytest.raises(sqlite3.OperationalError):
            reader.agent_started(A)
    assert store.path.read_bytes() == before


def test_only_verdicts_enter_the_outcome_matrix(store: Store) -> None:
    store.agent_done(A, attempt(A))
    store.graded(A, Grade(Verdict.PATCH_FAILED))
    store.failed(B, "container", "image missing")
    matrix = matrix_of_run(store.rows(), ["i-1", "i-2"], ["small", "large"])
    assert np.array_equal(matrix.resolved, [[0, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert matrix.cost[0, 0] == 0.5


def test_many_threads_may_write_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    cells = [Cell(f"i-{n}", "m") for n in range(60)]
    store.plan({cell: "k" for cell in cells})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda cell: store.agent_done(cell, attempt(cell)), cells))
    assert store.spent() == pytest.approx(30)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.sqlite"
    path.write_text("not a database, but long enough to look like one" * 50)
    with pytest.raises(InputError, match="not a readable outcome store"):
        Store(path)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(InputError, match=r"schema 99.*update polyswe"):
        Store(path)


def test_a_cell_that_was_never_planned_is_a_bug_not_a_silent_loss(store: Store) -> None:
    with pytest.raises(KeyError):
        store.agent_started(Cell("nope", "small"))


def test_signals_are_kept_and_a_store_from_before_them_is_read(store: Store, tmp_path: Path) -> None:
    store.agent_done(A, attempt(A), {"patch_lines": 4.0, "own_tests_passed": float("nan"), "calls": 3.0})
    store.graded(A, Grade(Verdict.RESOLVED))
    store.add_signals(A, {"patch_lines": 5.0, "review_score": float("nan")}, cost_usd=0.25)
    store.add_signals(A, {"patch_lines": 4.0})
    row_b, row_a = store.rows()
    assert row_a.cost_usd == 0.75
    assert row_a.signals == {"patch_lines": 4.0, "calls": 3.0}
    assert row_b.signals == {}
    matrix = matrix_of_run(store.rows(), ["i-1"], ["small", "large"])
    assert matrix.signals.keys() == {"patch_lines"}, "calls are a column of their own"
    np.testing.assert_array_equal(matrix.signals["patch_lines"], [[4.0, np.nan]])
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("ALTER TABLE cells DROP COLUMN signals")
    with Store(store.path) as older:
        assert [row.signals for row in older.rows()] == [{}, {}]


def test_half_a_surrogate_pair_does_not_stop_the_store(store: Store) -> None:
    store.flagged(A, [Flag("download", 1, "curl \ud83d")])
    store.failed(A, "provider: unknown", "no \ud83d", 0.25)
    store.graded(B, Grade(Verdict.RESOLVED))  # by others, afterwards
    assert store.flags() == {A: [Flag("download", 1, "curl ?")]}
    assert {row.cell: row.detail for row in store.rows()} == {A: "no ?", B: ""}


def test_flags_that_cannot_be_recorded_leave_the_store_to_others(store: Store) -> None:
    store.flagged(A, [Flag("download", 1, "curl")])
    with pytest.raises(OverflowError):
        store.flagged(A, [Flag("download", 2**70, "curl")])
    store.graded(B, Grade(Verdict.RESOLVED))
    store.failed(A, "container", "gone")
    assert store.flags() == {A: [Flag("download", 1, "curl")]}
