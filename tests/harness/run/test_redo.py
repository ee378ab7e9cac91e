"""Finished cells are attempted again: nothing on record is lost, nothing is paid twice, and the results say it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.budget import Call
from agents.leaks import Flag
from harness.commands.options import narrowing
from harness.compare.load import load_side
from harness.config import Config, find_config, load_config, with_overrides
from harness.errors import InputError, RunMismatchError
from harness.grading.verdict import Verdict
from harness.run.interrupt import Stop
from harness.run.pipeline import RunEnd, evaluate
from harness.run.redo import RedoRequest, choose, move_folders
from harness.run.results import results_again
from harness.run.status import run_status
from harness.store.rows import Cell, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from harness.submission.collect import collect_run
from harness.submission.findings import RefusedError

MakeRun = Callable[..., RunFolder]
INSTANCE = "polyswe__rotator-402"
CELL = Cell(INSTANCE, "scripted-medium")
EMPTY = {(INSTANCE, "scripted-medium"): Verdict.EMPTY_PATCH, (INSTANCE, "scripted-large"): Verdict.EMPTY_PATCH}
AGAIN = RedoRequest(["empty patch"], ["scripted-medium"])


@pytest.fixture
def folder(make_run: MakeRun) -> RunFolder:
    """A finished run over three instances; in it two cells of one instance ended as an empty patch."""
    folder = make_run(only=[INSTANCE, "polyswe__spanset-303", "polyswe__billing-201"], verdicts=EMPTY, cost=0.5)
    with Store(folder.store_path) as store:
        store.called(CELL, Call(started_at=1.0, seconds=1, prompt_tokens=1, cached_tokens=0, completion_tokens=1,
                                cost_usd=1.0, estimated=False, failure=""))  # fmt: skip
        store.flagged(CELL, [Flag(kind="later-history", step=1, command="git log --all")])
    return folder


def config_of(folder: RunFolder, **changes: object) -> Config:
    base = Config.model_validate(folder.read_manifest()["config"])
    return with_overrides(base, {key.replace("__", "."): value for key, value in changes.items()})


def all_cells(store: Store) -> set[Cell]:
    return {row.cell for row in store.rows()}


def files_of(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_endings_models_and_all_choose_cells(folder: RunFolder) -> None:
    with Store(folder.store_path) as store:
        cells = all_cells(store)

        def chosen(*endings: str, models: tuple[str, ...] = ()) -> set[Cell]:
            return set(choose(RedoRequest(endings, models), store, cells).cells)

        large = Cell(INSTANCE, "scripted-large")
        assert chosen("empty patch") >= {CELL, large}
        assert chosen("EMPTY", models=("scripted-medium",)) == {CELL}
        assert chosen("resolved", "unresolved") < chosen("all") == cells
        assert chosen("resolved").isdisjoint(chosen("unresolved")), "the whole word wins"
        with pytest.raises(InputError, match=r"'solved' stands for several endings of cells: '(un)?resolved' \("):
            chosen("solved")
        with pytest.raises(InputError, match=r"'test timeout': no chosen cell .* 'empty patch' \(.* or 'all'"):
            chosen("test timeout")
        text = choose(AGAIN, store, cells).render()
        assert "to attempt again: 1 cell with a verdict" in text
        assert "1 × empty patch  scripted-medium  $1.00 before" in text
        assert "expected cost: about as much as before, $1.00" in text


def test_of_a_cascade_all_attempts_of_the_instance_are_redone(folder: RunFolder) -> None:
    with Store(folder.store_path) as store:
        redo = choose(AGAIN, store, all_cells(store), "routed")
    assert {cell.instance_id for cell in redo.cells} == {INSTANCE}
    assert len(redo.cells) == 3


@pytest.mark.parametrize("killed", ["before the first name", "between the names", "before it is noted", "never"])
def test_a_kill_between_the_steps_loses_nothing_and_the_same_command_chooses_nothing_again(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    """The steps are real, the process is cut off between them."""
    request = RedoRequest(["empty patch"])
    with Store(folder.store_path) as store:
        cells, spent = all_cells(store), store.spent()
        redo = choose(request, store, cells)
        before = {cell: files_of(folder.cell_dir(cell)) for cell in redo.cells}
        rows = {row.cell: row for row in store.rows()}
        store.replace(redo.cells)
    names = 0

    def rename(self: Path, target: Path, real: Callable[[Path, Path], Path] = Path.rename) -> Path:
        nonlocal names
        names += 1
        if killed == "before the first name" or (killed == "between the names" and names == 2):
            raise KeyboardInterrupt
        real(self, target)
        if killed == "before it is noted":
            raise KeyboardInterrupt
        return target

    with monkeypatch.context() as patch, Store(folder.store_path) as store:
        patch.setattr(Path, "rename", rename)
        if killed == "never":
            move_folders(folder, store)
        else:
            with pytest.raises(KeyboardInterrupt):
                move_folders(folder, store)

    with Store(folder.store_path) as store:  # the next start
        folder.check_store()
        move_folders(folder, store)
        move_folders(folder, store)
        assert {one.cell: one.row for one in store.replaced()} == {cell: rows[cell] for cell in redo.cells}
        assert store.spent() == pytest.approx(spent), "what was paid stays in the books"
        assert [one.flags[0].kind for one in store.replaced() if one.flags] == ["later-history"]
        assert CELL not in store.flags()
        for cell in redo.cells:
            assert files_of(folder.earlier_dir(cell, 1)) == before[cell]
            assert not folder.cell_dir(cell).exists()
        again = choose(request, store, cells)
        assert (again.cells, again.going_on) == (frozenset(), len(redo.cells))
        assert "has not ended: it goes on" in again.render()


def test_a_killed_new_attempt_is_charged_its_own_calls_only(folder: RunFolder) -> None:
    with Store(folder.store_path) as store:
        spent = store.spent()
        store.replace([CELL])
        move_folders(folder, store)
        store.plan({CELL: store.replaced()[0].row.key})
        store.agent_started(CELL)
        store.called(CELL, Call(started_at=4e9, seconds=1, prompt_tokens=1, cached_tokens=0, completion_tokens=1,
                                cost_usd=0.25, estimated=False, failure=""))  # fmt: skip
        store.killed(CELL)
        assert store.spent() == pytest.approx(spent + 0.25)


def test_a_folder_in_the_way_is_not_written_over(folder: RunFolder) -> None:
    folder.earlier_dir(CELL, 1).mkdir()
    with Store(folder.store_path) as store:
        store.replace([CELL])
        with pytest.raises(InputError, match="in the way"):
            move_folders(folder, store)
        assert folder.cell_dir(CELL).is_dir()


@pytest.mark.docker
def test_redone_cells_get_a_new_verdict_and_everything_says_so(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(folder)
    before = files_of(folder.cell_dir(CELL))
    with Store(folder.store_path) as store:
        spent, others = store.spent(), {row.cell: row for row in store.rows() if row.cell != CELL}
    part = with_overrides(config, {"dataset.select": ["id=*rotator*"]})
    with pytest.raises(RunMismatchError, match="other settings"):
        evaluate(with_overrides(part, {"agent.step_limit": 9}), folder, stop=Stop(), redo=AGAIN)
    said: list[str] = []

    def run() -> RunEnd:
        return evaluate(part, folder, stop=Stop(), redo=AGAIN, say=said.append)

    with monkeypatch.context() as patch:  # the results' computation is cut off: all cells have their verdicts
        patch.setattr("harness.run.results.results_again", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run()
    with Store(folder.store_path) as store:
        row, calls = store.row(CELL), store.spent()
        assert row is not None
        assert (row.state, row.verdict) == (State.GRADED, Verdict.RESOLVED)
    end = run()
    assert any("a redo of 1 cell has not ended" in text for text in said)
    with Store(folder.store_path) as store:
        assert store.row(CELL) == row, "the same command paid for a second new attempt"
        assert store.spent() == calls == pytest.approx(spent + (row.cost_usd or 0))
        assert {one.cell: one for one in store.rows() if one.cell != CELL} == others
        assert [one.closed for one in store.replaced()] == [True]
    assert files_of(folder.earlier_dir(CELL, 1)) == before
    assert end.written_to == folder.path
    note = "1 cell redone after the verdicts were known: the first verdicts were 1 empty patch"
    assert end.results is not None
    assert end.results.instances == 3, "the results are the whole run's"
    for text in (json.loads((folder.path / "results.json").read_text())["notes"], load_side(str(folder.path)).notes):
        assert any(note in line for line in text)
    assert note in (folder.path / "results.md").read_text()
    seen = run_status(folder)
    assert seen.cost_usd == pytest.approx(calls)
    assert sum(model.redone for model in seen.models) == 1
    with pytest.raises(RefusedError, match=r"1 attempt redone .* \(first verdicts: 1 empty patch\)"):
        collect_run(folder.path, model="medium", partial=True)

    def polyswe(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "redone, before: empty patch" in polyswe("cells", folder.path, "--select", "id=*rotator*").stdout
    shown = polyswe("show", folder.path, "rotator", "medium").stdout
    assert f"earlier            empty patch, $1.000, {folder.earlier_dir(CELL, 1)}" in shown
    assert "ended              empty patch" in polyswe("show", folder.path, "rotator", "medium", "--earlier", 1).stdout
    planned = polyswe(
        "evaluate", "sample", "--out", folder.path.parent, "--run-id", folder.path.name, "--dry-run",
        "--select", "id=*rotator*", "--model", "large", "--redo", "empty",
    )  # fmt: skip
    assert "1 × empty patch  scripted-large" in planned.stdout, planned.stderr
    refused = polyswe("evaluate", "sample", "--fresh", "--select", "slice=0:2", "--model", "large")
    assert "polyswe evaluate sample --redo all --select slice=0:2 --model large" in refused.stderr


@pytest.mark.slow
@pytest.mark.docker
def test_a_redo_killed_at_work_goes_on_with_the_same_command(folder: RunFolder) -> None:
    command = [
        sys.executable, "-m", "harness", "evaluate", "sample", "--out", str(folder.path.parent), "--run-id",
        folder.path.name, "--select", "id=*rotator*", "--model", "medium", "--redo", "empty",
    ]  # fmt: skip
    with Store(folder.store_path) as store:
        spent = store.spent()
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while paid_by_calls(folder) == 1.0 and run.poll() is None:
        time.sleep(0.02)
    run.kill()
    assert run.wait() == -signal.SIGKILL, "it was over before it could be killed"
    cut_off = paid_by_calls(folder) - 1.0
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    with Store(folder.store_path) as store:
        row, (earlier,) = store.row(CELL), store.replaced()
        assert row is not None
        assert (row.verdict, earlier.row.verdict) == (Verdict.RESOLVED, Verdict.EMPTY_PATCH)
        assert row.lost_cost_usd == pytest.approx(cut_off)
        assert store.spent() == pytest.approx(spent + row.lost_cost_usd + (row.cost_usd or 0))
        assert store.spent() - spent == pytest.approx(paid_by_calls(folder) - 1.0)


def paid_by_calls(folder: RunFolder) -> float:
    """USD of every call on record for the cell; one of 1 USD is of the first attempt."""
    with sqlite3.connect(f"file:{folder.store_path}?mode=ro", uri=True) as db:
        query = "SELECT TOTAL(cost_usd) FROM calls WHERE instance_id = ? AND model = ?"
        return float(db.execute(query, (CELL.instance_id, CELL.model)).fetchone()[0])


def test_a_part_of_the_results_leaves_those_of_the_whole_run_alone(folder: RunFolder) -> None:
    results_again(folder.path)
    whole = (folder.path / "results.json").read_bytes()
    part = results_again(folder.path, part=narrowing(["id=*rotator*|*billing*"], ["*-large", "small"]))
    assert (part.instances, part.pool) == (2, ["scripted-small", "scripted-large"])
    assert (folder.part.path / "results.json").is_file()
    assert (folder.path / "results.json").read_bytes() == whole


def test_redo_without_a_run_is_refused_before_anything_starts(tmp_path: Path) -> None:
    config = with_overrides(load_config(find_config("sample")), {"out.root": tmp_path})
    from harness.data.instances import load_dataset
    from harness.run.redo import preview

    with pytest.raises(InputError, match="holds no run"):
        preview(AGAIN, config, load_dataset(config.dataset), RunFolder(tmp_path / "none"))
