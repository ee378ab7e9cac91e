"""The store is what a resumed run believes: it must not forget, mix up or accept outcomes of other settings."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.attempt import Attempt
from agents.budget import Call
from agents.leaks import Flag
from harness.errors import InputError, RunMismatchError
from harness.grading.verdict import Grade, Verdict
from harness.store.database import connect
from harness.store.keys import make_key
from harness.store.matrix import matrix_of_run
from harness.store.rows import Cell, State
from harness.store.store import Store

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
    store.agent_done(A, replace(attempt(A), measured={"neighbour_tests_passed": 1.0}))
    store.add_signals(A, {"patch_lines": 4.0, "own_tests_passed": float("nan"), "calls": 3.0})
    store.graded(A, Grade(Verdict.RESOLVED))
    store.add_signals(A, {"patch_lines": 5.0, "review_score": float("nan")}, cost_usd=0.25)
    store.add_signals(A, {"patch_lines": 4.0})
    row_b, row_a = store.rows()
    assert row_a.cost_usd == 0.75
    assert row_a.signals == {"neighbour_tests_passed": 1.0, "patch_lines": 4.0, "calls": 3.0}
    assert row_b.signals == {}
    matrix = matrix_of_run(store.rows(), ["i-1"], ["small", "large"])
    assert matrix.signals.keys() == {"neighbour_tests_passed", "patch_lines"}, "calls are a column of their own"
    np.testing.assert_array_equal(matrix.signals["patch_lines"], [[4.0, np.nan]])
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("ALTER TABLE cells DROP COLUMN signals")
        db.execute("ALTER TABLE cells DROP COLUMN test_seconds")
    for read_only in (True, False):
        with Store(store.path, read_only=read_only) as older:
            assert [(row.signals, row.test_seconds) for row in older.rows()] == [({}, None), ({}, None)]


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


def key(attempt: str, grading: str, earlier: str = "old.old") -> str:
    return make_key(attempt=attempt, grading=grading, earlier=earlier)


def test_another_grading_keeps_the_paid_attempt_and_grades_it_again(store: Store) -> None:
    store.plan({A: key("attempt", "parser: x"), B: key("attempt", "parser: x")})
    store.agent_done(A, attempt(A, cost=2.0))
    store.graded(A, Grade(Verdict.UNRESOLVED, seconds=3.0, test_seconds=1.0))
    assert store.plan({A: key("attempt", "parser: y"), B: key("attempt", "parser: y")}) == 1
    row = store.row(A)
    assert row is not None
    assert (row.state, row.verdict, row.grading_seconds, row.test_seconds) == (State.AGENT_DONE, None, None, None)
    assert (row.cost_usd, row.exit_status) == (2.0, "Submitted")
    assert store.plan({A: key("attempt", "parser: y")}) == 0
    with pytest.raises(RunMismatchError):
        store.plan({A: key("another attempt", "parser: y")})


def test_cells_of_earlier_versions_are_known_by_the_key_they_had(store: Store) -> None:
    """Their key had one part for both; what it stands for now is found again, and anything else is refused."""
    store.plan({A: "problem.settings"})
    store.agent_done(A, attempt(A))
    store.graded(A, Grade(Verdict.RESOLVED))
    with pytest.raises(RunMismatchError):
        store.plan({A: key("attempt", "grading", earlier="problem.others")})
    assert store.plan({A: key("attempt", "grading", earlier="problem.settings")}) == 0
    row = store.row(A)
    assert row is not None
    assert row.state is State.GRADED
    assert store.plan({A: key("attempt", "mended", earlier="mended.settings")}) == 1, "from now on its parts are known"


@pytest.mark.parametrize(
    ("column", "value"), [("signals", '{"calls": 3'), ("state", "half done"), ("verdict", "splendid")]
)
def test_a_damaged_cell_is_named_on_one_line(store: Store, column: str, value: str) -> None:
    store._db.execute(f"UPDATE cells SET {column} = ? WHERE instance_id = ?", (value, A.instance_id))
    with pytest.raises(InputError) as refusal:
        store.rows()
    assert "\n" not in str(refusal.value)
    assert all(part in str(refusal.value) for part in (str(store.path), A.instance_id, "--fresh"))


def test_a_damaged_page_is_named_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.sqlite"
    with Store(path) as store:
        store.plan({Cell(f"i-{n}", "m"): "k" * 200 for n in range(500)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = os.urandom(len(content) - len(content) // 2)
    path.write_bytes(content)
    with Store(path, read_only=True) as store, pytest.raises(InputError, match="damaged"):
        store.rows()


def test_a_missing_or_empty_file_is_no_store_to_read(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.sqlite"
    with pytest.raises(InputError, match=r"outcomes\.sqlite is gone"):
        Store(path, read_only=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(InputError, match=r"outcomes\.sqlite is empty"):
        Store(path, read_only=True)
    assert path.stat().st_size == 0


@pytest.mark.parametrize("killed", [False, True])
def test_no_file_of_sqlites_own_stays_behind(tmp_path: Path, killed: bool) -> None:
    """Neither after a reader nor after a writer that was killed, once another has looked."""
    path = tmp_path / "outcomes.sqlite"
    ending = "os._exit(9)" if killed else "store.close()"
    script = f"""
import os
from pathlib import Path
from harness.store.rows import Cell
from harness.store.store import Store
store = Store(Path({str(path)!r}))
store.plan({{Cell("i", "m"): "k"}})
{ending}
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert (path.with_name(f"{path.name}-wal").exists()) == killed
    # who must not write there reads the changes in the `-wal` file, too
    reader = connect(path, read_only=True, writable=False)
    assert reader.execute("SELECT COUNT(*) FROM cells").fetchone()[0] == 1
    reader.close()
    with Store(path, read_only=True) as store:
        assert [row.cell for row in store.rows()] == [Cell("i", "m")]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_store_in_a_folder_that_cannot_be_written_to_is_read(tmp_path: Path) -> None:
    """Also without a way to make SQLite's own files."""
    path = tmp_path / "outcomes.sqlite"
    with Store(path) as store:
        store.plan({A: "k"})
    assert connect(path, read_only=True, writable=False).execute("SELECT COUNT(*) FROM cells").fetchone()[0] == 1
