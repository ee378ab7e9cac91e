"""`polyswe grade`: predictions of every format, graded for real on the sample, in runs like any other."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from prediction_sources import COMMANDS, EMPTY, NO_FIX, RIGHT, SOURCES, WRONG, gold, prediction, write_lines

from harness.cli import app
from harness.errors import EXIT_INPUT, EXIT_OK, InputError
from harness.grading.verdict import Verdict
from harness.run.results import results_again
from harness.store.rows import CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.data.instances import Dataset

EXPECTED = {RIGHT: Verdict.RESOLVED, WRONG: Verdict.UNRESOLVED, EMPTY: Verdict.EMPTY_PATCH}


def polyswe(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def rows_of(folder: RunFolder) -> dict[tuple[str, str], CellRow]:
    with Store(folder.store_path, read_only=True) as store:
        return {(row.instance_id, row.model): row for row in store.rows()}


@pytest.fixture(scope="module")
def graded(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One run over a source of each format."""
    folder = tmp_path_factory.mktemp("sources")
    paths = [write(folder) for write in SOURCES.values()]
    done = polyswe("grade", *paths, "--dataset", "sample", "--run-id", "all", "--out", folder / "results")
    assert done.returncode == EXIT_OK, done.stderr
    assert "left out 1 trial without a patch" in done.stderr
    assert "look into a failure:" in done.stderr.partition("next:")[2]
    assert "grade your own patches" not in done.stderr
    return RunFolder(folder / "results" / "all")


@pytest.mark.docker
@pytest.mark.parametrize("model", SOURCES)
def test_each_format_is_graded_with_what_its_source_states(graded: RunFolder, model: str) -> None:
    rows = {instance: row for (instance, name), row in rows_of(graded).items() if name == model}
    expected = {i: v for i, v in EXPECTED.items() if not (i == EMPTY and model == "claude-code m")}
    assert {instance: row.verdict for instance, row in rows.items()} == expected
    row = rows[RIGHT]
    stated = (row.cost_usd, row.api_calls, row.prompt_tokens, row.completion_tokens)
    if model == "plain":
        assert stated == (None, None, None, None)
        assert not {"cost_usd", "calls", "prompt_tokens", "seconds", "submitted"} & row.signals.keys()
        return
    assert stated == (0.25, 2, 200, 20)
    with Store(graded.store_path, read_only=True) as store:
        flags = store.flags()[row.cell]
    assert [(flag.kind, flag.command) for flag in flags] == [("later-history", COMMANDS[1])]


@pytest.mark.docker
def test_results_tell_where_the_attempts_come_from(graded: RunFolder) -> None:
    notes = "\n".join(results_again(graded.path).notes)
    assert "polyswe graded these attempts and did not make them" in notes
    assert "plain: 3 patches from" in notes
    assert "claude-code m: 13 of 15 instances have no prediction" in notes
    assert "plain: the cost of 3 of 3 attempts is unknown" in notes


@pytest.mark.docker
def test_other_commands_take_the_run(graded: RunFolder, tmp_path: Path) -> None:
    seen = polyswe("status", graded.path).stdout
    assert "17 of 17 cells have a verdict" in seen
    assert next(line for line in seen.splitlines() if line.startswith("plain ")).rstrip().endswith("unknown")
    assert COMMANDS[1] in polyswe("show", graded.path, RIGHT, "mini", "--steps").stdout
    assert polyswe("report", graded.path).returncode == EXIT_OK
    same = polyswe("compare", f"{graded.path}::mini", f"{graded.path}::swe-agent", "--out", tmp_path / "c")
    assert same.returncode == EXIT_OK, same.stderr
    replayed = polyswe("replay", graded.path, "--tasks", "sample", "--out", tmp_path / "replay", "--folds", "2")
    assert replayed.returncode == EXIT_OK, replayed.stderr
    again = polyswe("evaluate", graded.path / "run.yaml")
    assert again.returncode == EXIT_INPUT
    assert "polyswe grade" in again.stderr


@pytest.mark.docker
def test_a_submission_claims_nothing_that_polyswe_did_not_see(graded: RunFolder, tmp_path: Path) -> None:
    words = ["--system", "Theirs", "--partial", "--out", tmp_path / "package"]
    done = polyswe("submit", graded.path, "--model", "swe-agent", *words)
    assert done.returncode == EXIT_OK, done.stderr
    (readme,) = tmp_path.glob("package/**/README.md")
    assert "| Agent | SWE-agent |" in readme.read_text()
    assert "[x]" not in readme.read_text()
    refused = polyswe("submit", graded.path, "--model", "plain", *words)
    assert "no trajectory.json" in refused.stdout + refused.stderr


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    source = SOURCES["plain"](tmp_path)
    done = polyswe("grade", source, "--dataset", "sample", "--dry-run", cwd=tmp_path)
    assert done.returncode == EXIT_OK, done.stderr
    (counts,) = (line.split() for line in done.stdout.splitlines() if line.startswith("plain "))
    assert counts == ["plain", "3", "1", "0", "3"]  # predictions, empty, graded, to grade
    assert "plain: 12 of 15 instances have no prediction" in done.stdout
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--dataset", "sample", "--set", "agent.step_limit=3"], "the attempts are made already"),
        (["--dataset", "sample", "--select", "id=polyswe__tabula-101"], "of 1 chosen instance of"),
        (["--dataset", "sample", "--fresh", "--select", "slice=0:1"], "choose another --run-id"),
        (["--dataset", "sample", "--engine", "nowhere"], "run.engine"),
        ([], "--dataset"),
    ],
)
def test_what_cannot_be_graded_so_is_refused(tmp_path: Path, options: list[str], reason: str) -> None:
    done = polyswe("grade", SOURCES["plain"](tmp_path), *options, cwd=tmp_path)
    assert done.returncode == EXIT_INPUT
    assert reason in done.stderr


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    done = CliRunner().invoke(app, ["grade", str(tmp_path / "loop"), "--dataset", "sample", "--dry-run"])
    assert isinstance(done.exception, InputError)
    assert "loop: no such file or folder" in str(done.exception)


def test_predictions_for_other_instances_are_named(tmp_path: Path) -> None:
    foreign = write_lines(tmp_path / "a.jsonl", [prediction("django__django-1", NO_FIX, "m")])
    done = polyswe("grade", foreign, "--dataset", "sample", cwd=tmp_path)
    assert "not one of 1 prediction is for an instance of sample" in done.stderr
    typo = write_lines(tmp_path / "b.jsonl", [prediction(RIGHT, "", "m"), prediction(RIGHT[:-1], "", "m")])
    done = polyswe("grade", typo, "--dataset", "sample", cwd=tmp_path)
    assert done.returncode == EXIT_INPUT
    assert f"1 of 2 predictions are for instances that sample, split test, lacks: {RIGHT[:-1]}" in done.stderr
    assert f"did you mean {RIGHT}?" in done.stderr


@pytest.mark.docker
@pytest.mark.slow
def test_a_changed_prediction_is_graded_anew_and_the_others_are_not(sample: Dataset, tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.jsonl", [prediction(RIGHT, NO_FIX, "m"), prediction(WRONG, "", "m")])
    command = ["grade", first, "--dataset", "sample", "--run-id", "r", "--out", tmp_path]
    assert polyswe(*command).returncode == EXIT_OK
    folder = RunFolder(tmp_path / "r")
    before = rows_of(folder)
    write_lines(first, [prediction(RIGHT, gold(RIGHT), "m"), prediction(WRONG, None, "m")])
    done = polyswe(*command)
    assert "1 prediction changed since" in done.stderr
    notes = " ".join(results_again(folder.path).notes)
    assert "redone" in notes
    assert "the first verdicts were 1 unresolved" in notes
    kept = [path.read_text() for path in folder.cells_path.glob(f"{RIGHT}/*/patch.diff")]
    assert sorted(kept) == sorted([gold(RIGHT), NO_FIX])
    after = rows_of(folder)
    assert after[RIGHT, "m"].verdict is Verdict.RESOLVED
    assert after[WRONG, "m"].updated_at == before[WRONG, "m"].updated_at
    # a second file of the model: further attempts where it meets the first, first ones elsewhere
    second = write_lines(tmp_path / "b.jsonl", [prediction(RIGHT, "", "m"), prediction(EMPTY, "", "m")])
    assert polyswe(*command, second).returncode == EXIT_OK
    with Store(folder.store_path, read_only=True) as store:
        cells = {(row.instance_id, row.attempt): row.verdict for row in store.rows()}
    empty = Verdict.EMPTY_PATCH
    assert cells == {(RIGHT, 1): Verdict.RESOLVED, (RIGHT, 2): empty, (WRONG, 1): empty, (EMPTY, 1): empty}
    # the run is no run of agents
    refused = polyswe("evaluate", "sample", "--run-id", "r", "--out", tmp_path)
    assert refused.returncode == EXIT_INPUT
    assert "choose another --run-id" in refused.stderr


@pytest.mark.docker
@pytest.mark.slow
def test_a_killed_grading_continues_and_grades_nothing_twice(sample: Dataset, tmp_path: Path) -> None:
    ids = [instance.instance_id for instance in sample.instances]
    source = write_lines(tmp_path / "all.jsonl", [prediction(i, gold(i), "m") for i in ids])
    words = ["grade", source, "--dataset", "sample", "--run-id", "r", "--out", tmp_path]
    command = [sys.executable, "-m", "harness", *map(str, words)]
    folder = RunFolder(tmp_path / "r")
    graded_before: dict[tuple[str, str], str] = {}
    for enough in (0, 3, 8):  # killed before the first verdict, then after a few more each time
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and _graded(folder) < max(enough, 1) and not (enough == 0 and _planned(folder)):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for key, row in rows_of(folder).items():
            if row.state is State.GRADED:
                assert graded_before.setdefault(key, row.updated_at) == row.updated_at
    assert subprocess.run(command, capture_output=True, check=False).returncode == EXIT_OK
    rows = rows_of(folder)
    assert {row.verdict for row in rows.values()} == {Verdict.RESOLVED}
    assert len(rows) == len(ids)
    assert all(rows[key].updated_at == at for key, at in graded_before.items())


def _planned(folder: RunFolder) -> int:
    return len(_rows_while_written(folder))


def _graded(folder: RunFolder) -> int:
    return sum(state == State.GRADED for state in _rows_while_written(folder))


def _rows_while_written(folder: RunFolder) -> list[str]:
    """States of the cells in a store that another process writes to; nothing before it is made."""
    try:
        with closing(sqlite3.connect(f"file:{folder.store_path}?mode=ro", uri=True)) as db:
            return [state for (state,) in db.execute("SELECT state FROM cells")]
    except sqlite3.OperationalError:
        return []
