"""Repeats of a run: attempts that are added later, told apart everywhere, and counted honestly."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.compare.load import load_side
from harness.config import find_config, load_config, with_overrides
from harness.data.instances import load_dataset
from harness.errors import EXIT_OK
from harness.grading.verdict import Verdict
from harness.importers import load_outcomes
from harness.report.html.write import write_report
from harness.run.forecast import forecast
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.run.results import results_again
from harness.sample import PLAYBOOK
from harness.store.rows import Cell, CellRow, State
from harness.store.run_folder import RunFolder, read_patch
from harness.store.store import Store
from harness.submission.collect import collect_run
from harness.submission.findings import RefusedError
from tests.harness.conftest import LARGE, MEDIUM, MakeRun

ROTATOR, SPANSET = "polyswe__rotator-402", "polyswe__spanset-303"


def rows_of(folder: RunFolder) -> dict[Cell, CellRow]:
    with Store(folder.store_path, read_only=True) as store:
        return {row.cell: row for row in store.rows()}


def polyswe(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_OK, done.stderr
    return done.stdout + done.stderr


def test_tables_are_of_first_attempts_and_repeats_have_their_own(make_run: MakeRun) -> None:
    once = results_again(make_run("once").path)
    flipped = {Cell(ROTATOR, LARGE, 2): Verdict.PATCH_FAILED, Cell(SPANSET, MEDIUM, 3): Verdict.EMPTY_PATCH}
    run = make_run("thrice", repeats=3, later=flipped)
    results = results_again(run.path)
    assert results.rows == once.rows
    assert results.clusters == once.clusters
    assert once.repeated == []
    by_model = {repeated.model: repeated for repeated in results.repeated}
    first = rows_of(run)[Cell(ROTATOR, LARGE)].verdict
    assert by_model[LARGE].flip_rate == pytest.approx(2 / 3 / 15 if first is Verdict.RESOLVED else 0)
    assert by_model[LARGE].attempts == 3
    assert (
        sum(failure.cells.get(LARGE, 0) for failure in results.failures if failure.kind == "patch did not apply") == 1
    )

    (recorded,) = [one for one in load_outcomes([run.path]).runs if one.name == LARGE]
    assert [len(cells) for cells in (recorded.cells, *recorded.repeats)] == [15, 15, 15]
    assert recorded.repeats[0][ROTATOR].resolved is False
    assert [model.name for model in load_side(str(run.path)).repeated] == list(once.pool)
    predictions = sorted(path.name for path in (run.path / "predictions").iterdir())
    assert predictions[:3] == [f"{LARGE}.jsonl", f"{LARGE}@2.jsonl", f"{LARGE}@3.jsonl"]


def test_the_report_has_a_table_of_repeats_and_a_page_for_every_attempt(make_run: MakeRun) -> None:
    run = make_run(only=[ROTATOR, SPANSET], repeats=2, later={Cell(ROTATOR, LARGE, 2): Verdict.PATCH_FAILED})
    results = results_again(run.path)
    page = write_report(run.path, results).read_text()
    assert 'id="repeats"' in page
    assert "pass^k" in page
    first, second = (run.cell_dir(Cell(ROTATOR, LARGE, attempt)) / "cell.html" for attempt in (1, 2))
    link = f'<a href="../{LARGE}@2/cell.html">{LARGE}, attempt 2</a> <span class="bad">patch did not apply</span>'
    assert link in first.read_text()
    assert f"{ROTATOR} · {LARGE}, attempt 2" in second.read_text()
    assert f'<a href="../{LARGE}/cell.html">{LARGE}</a>' in second.read_text()


def test_an_attempt_that_is_missing_leaves_its_instance_out(make_run: MakeRun) -> None:
    run = make_run(repeats=2)
    with Store(run.store_path) as store:
        store.failed(Cell(ROTATOR, LARGE, 2), "engine", "gone")
    large = next(repeated for repeated in results_again(run.path).repeated if repeated.model == LARGE)
    assert (large.instances, large.left_out) == (14, 1)
    assert any("1 of 90 cells has no verdict" in note for note in results_again(run.path).notes)


def test_one_attempt_is_looked_at_and_submitted(make_run: MakeRun) -> None:
    run = make_run(repeats=2, later={Cell(ROTATOR, LARGE, 2): Verdict.PATCH_FAILED})
    shown = polyswe("show", run.path, "rotator", "large", "--attempt", 2)
    assert "patch did not apply" in shown
    assert f"{LARGE}@2" in shown
    assert f"{LARGE} @2" in polyswe("cells", run.path, "--select", "id=*rotator*", "--model", "large")
    first, second = (collect_run(run.path, model="large", attempt=attempt) for attempt in (1, 2))
    folders = {path.parent.name for path in (run.cells_path / ROTATOR).glob("scripted-large*/patch.diff")}
    assert folders == {LARGE, f"{LARGE}@2"}
    assert {attempt.folder.name for attempt in first.attempts} == {LARGE}
    assert {attempt.folder.name for attempt in second.attempts} == {f"{LARGE}@2"}
    assert (second.attempt, second.repeats, second.attempts_tag) == (2, 2, "1")
    with pytest.raises(RefusedError, match=r"15 attempts with no cell.*attempt 3"):
        collect_run(run.path, model="large", attempt=3)


def test_a_forecast_counts_every_attempt(make_run: MakeRun) -> None:
    run = make_run(only=[ROTATOR, SPANSET])
    changes = {"dataset.instances": [ROTATOR, SPANSET], "run.repeats": 3}
    config = with_overrides(load_config(find_config("sample")), changes)
    expected = forecast(config, load_dataset(config.dataset), run)
    assert {(model.planned, model.graded, model.to_attempt) for model in expected.models} == {(6, 2, 4)}


@pytest.mark.docker
@pytest.mark.slow
def test_repeats_added_later_run_only_the_missing_attempts(tmp_path: Path) -> None:
    """Also after a kill; equal patches of one model are graded side by side."""
    from agents.scripted.server import ScriptedServer

    with ScriptedServer(PLAYBOOK, delay=0.1) as server:
        folder, config = RunFolder(tmp_path / "run"), tmp_path / "run.yaml"
        sample = with_overrides(load_config(find_config("sample")), {"dataset.instances": [ROTATOR, SPANSET]})
        pool = [model.model_copy(update={"api_base": server.url}) for model in sample.pool if model.name != MEDIUM]
        frozen = sample.model_copy(update={"pool": pool}).model_dump(mode="json", exclude_none=True)
        config.write_text(yaml.safe_dump(frozen))
        command = ["evaluate", str(config), "--out", str(tmp_path)]

        def begun() -> Counter[tuple[str, str]]:
            return Counter((call.instance_id, call.model) for call in server.log() if call.turn == 0)

        polyswe(*command)
        once = rows_of(folder)
        assert set(begun().values()) == {1}

        run = subprocess.Popen(
            [sys.executable, "-m", "harness", *command, "--repeats", "3"], stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_for(lambda: sum(row.state is State.GRADED for row in rows_of(folder).values()) > len(once), run)
        run.kill()
        run.wait()
        killed = rows_of(folder)
        running = Counter((row.instance_id, row.model) for row in killed.values() if row.state is State.RUNNING)
        missing = [row for row in killed.values() if row.state in (State.RUNNING, State.PLANNED)]
        assert missing, "nothing was left to go on with"

        polyswe(*command, "--repeats", "3")
        after, attempts = rows_of(folder), begun()
    assert len(after) == 3 * len(once) == 12
    assert {cell: after[cell] for cell in once} == once, "a first attempt was touched"
    for place, number in attempts.items():
        assert 3 <= number <= 3 + running[place], "an attempt was made again that had finished"
    for cell, row in after.items():
        first = after[Cell(cell.instance_id, cell.model)]
        assert (row.verdict, row.api_calls) == (first.verdict, first.api_calls)
        assert read_patch(folder, cell) == read_patch(folder, first.cell)


@pytest.mark.docker
@pytest.mark.slow
def test_stand_ins_flip_on_purpose_and_fewer_repeats_keep_what_there_is(tmp_path: Path) -> None:
    config = with_overrides(load_config(find_config("sample")), {"dataset.instances": [ROTATOR], "run.repeats": 2})
    config = config.model_copy(update={"pool": [model for model in config.pool if model.name == LARGE]})
    folder = RunFolder(tmp_path / "run")
    end = evaluate(config, folder, stop=Stop())
    assert end.results is not None
    (large,) = end.results.repeated
    assert (large.resolved, large.flip_rate, large.pass_at[-1], large.pass_hat[-1]) == ([1, 0], 1.0, 1.0, 0.0)
    before, said = rows_of(folder), []
    again = evaluate(with_overrides(config, {"run.repeats": 1}), folder, stop=Stop(), say=said.append)
    assert rows_of(folder) == before
    assert any("1 cell beyond 'repeats'; their verdicts count" in line for line in said)
    assert again.written_to == folder.path
    assert again.results is not None
    assert again.results.repeated == [large]


def wait_for(condition: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 300
    while not condition():
        assert run.poll() is None, "it ended before"
        assert time.monotonic() < until
        time.sleep(0.1)
