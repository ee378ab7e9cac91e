"""A run can be looked into from a second terminal, at any moment, without disturbing it."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.run.journal import Event, Journal
from harness.run.status import run_status
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store


def polyswe(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_counts_and_costs_are_those_of_the_store(make_run) -> None:  # type: ignore[no-untyped-def]
    folder = make_run(unfinished=[("polyswe__billing-201", "scripted-large")])
    seen = run_status(folder)
    with Store(folder.store_path, read_only=True) as store:
        rows = store.rows()
    assert (seen.cells, seen.graded) == (45, 44)
    large = next(model for model in seen.models if model.name == "scripted-large")
    assert (large.cells, large.graded, large.failed) == (15, 14, 1)
    assert large.resolved == sum(row.model == "scripted-large" and row.verdict == "resolved" for row in rows)
    assert seen.cost_usd == pytest.approx(sum((row.cost_usd or 0) + row.lost_cost_usd for row in rows))
    (event,) = seen.failures
    assert (event.instance_id, event.kind) == ("polyswe__billing-201", "container")
    assert json.loads(json.dumps(seen.as_json()))["graded"] == 44


@pytest.mark.parametrize(("seconds", "known"), [(1, False), (60, True)])
def test_cells_that_end_together_make_no_rate(make_run, seconds: int, known: bool) -> None:  # type: ignore[no-untyped-def]
    folder = make_run(only=["polyswe__billing-201", "polyswe__spanset-303"])
    with closing(sqlite3.connect(folder.store_path)) as db, db:
        db.execute("UPDATE cells SET updated_at = '2026-01-01T00:00:00+00:00'")
        last = f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}+00:00"
        db.execute("UPDATE cells SET updated_at = ? WHERE model = 'scripted-large'", (last,))
    seen = run_status(folder)
    assert (seen.cells_per_hour is not None) is known
    if known:
        assert seen.cells_per_hour == pytest.approx(2 * 60)


def test_it_says_whether_a_process_is_at_work_and_lets_it_work(make_run) -> None:  # type: ignore[no-untyped-def]
    folder = make_run()
    assert not run_status(folder).at_work
    with folder.locked():
        assert run_status(folder).at_work
        with Store(folder.store_path) as store:
            store.failed(store.rows()[0].cell, "container", "gone")  # the run can write meanwhile
            assert run_status(folder).graded == 44


def test_a_folder_without_a_run_is_named_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        run_status(RunFolder(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_id_alone_gets_the_folder_that_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results" / "week").mkdir(parents=True)
    (tmp_path / "results" / "week" / "outcomes.sqlite").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^week holds no run .*; did you mean results/week\?$"):
        run_status(RunFolder(Path("week")))
    with pytest.raises(InputError, match="did you mean results/week"):
        RunFolder(Path("week")).read_manifest()


def test_the_commands_show_run_cells_and_one_cell(make_run) -> None:  # type: ignore[no-untyped-def]
    folder = make_run()
    shown = polyswe("status", folder.path)
    assert shown.returncode == 0, shown.stderr
    assert "45 of 45 cells have a verdict" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100
    assert "costs are pretended" in shown.stdout
    listed = polyswe("cells", folder.path, "--model", "large", "--state", "empty patch", "--json")
    (cell,) = map(json.loads, listed.stdout.splitlines())
    assert (cell["model"], cell["ended"]) == ("scripted-large", "empty patch")
    resolved = polyswe("cells", folder.path, "--state", "resolved", "--json")
    assert {json.loads(line)["ended"] for line in resolved.stdout.splitlines()} == {"resolved"}
    without = polyswe("cells", folder.path, "--state", "test timeout")
    assert without.stdout == "0 of 45 cells\n"
    wrong = polyswe("cells", folder.path, "--state", "timeot")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "--state 'timeot': no cell can end so; cells of this run: empty patch, " in wrong.stderr
    some = polyswe("cells", folder.path, "--select", "repo=*/billing|*/logsift", "--model", "*-large")
    assert some.stdout.splitlines()[-1] == "2 of 45 cells"
    few = polyswe("status", folder.path, "--select", "slice=0:4", "--model", "large", "--json")
    assert json.loads(few.stdout)["cells"] == 4
    several = polyswe("cells", folder.path, "--model", "scripted")
    assert (several.returncode, several.stderr.count("\n")) == (2, 1)
    assert "stands for 3 models: 'scripted-" in several.stderr
    patch = polyswe("show", folder.path, "billing", "medium", "--patch")
    assert "# scripted-medium on polyswe__billing-201" in patch.stdout
    steps = polyswe("show", folder.path, "billing", "medium", "--steps")
    assert "── 1 assistant ──" in steps.stdout
    one = polyswe("show", folder.path, "billing", "medium")
    assert "costs are pretended" in one.stdout
    trajectory = folder.cell_dir(Cell("polyswe__billing-201", "scripted-medium")) / "trajectory.json"
    for content in ("[" * 100_000, '{"messages": ["half"]}'):
        trajectory.write_text(content)
        damaged = polyswe("show", folder.path, "billing", "medium", "--steps")
        assert (damaged.returncode, damaged.stderr.count("\n")) == (2, 1)
        assert "trajectory.json: not a trajectory of mini-swe-agent, or damaged" in damaged.stderr
    trajectory.write_text('{"messages": [{"role": "exit", "extra": null}]}')
    assert "── 0 exit ──" in polyswe("show", folder.path, "billing", "medium", "--steps").stdout
    tests = polyswe("show", folder.path, "billing", "medium", "--evidence")
    assert "no tests were run on this attempt" in tests.stdout
    unclear = polyswe("show", folder.path, "polyswe", "medium")
    assert (unclear.returncode, unclear.stderr.count("\n")) == (2, 1)
    assert "no single instance" in unclear.stderr


def test_a_killed_run_names_its_interrupted_cells_and_the_command_that_continues_it(make_run) -> None:  # type: ignore[no-untyped-def]
    folder = make_run(unfinished=[("polyswe__billing-201", "scripted-large")])
    with Store(folder.store_path) as store:
        store.agent_started(Cell("polyswe__billing-201", "scripted-large"))
    without_record = polyswe("status", folder.path).stdout
    assert "the command that started the run continues it" in without_record
    typed = ["evaluate", "my week.yaml", "--fresh", "--select", "repo=*/billing; true"]
    with Journal(folder.path, ()) as journal:
        journal.record(Event.RUN_STARTED, command=["evaluate", "an-earlier-start"])
        journal.record(Event.RUN_STARTED, command=typed)
        journal.say('"event": "run_started"')
    head, *lines = polyswe("status", folder.path).stdout.splitlines()
    assert "not at work" in head
    assert "running" not in lines[0]
    (large,) = [line.split() for line in lines if line.startswith("scripted-large")]
    assert large[lines[0].split().index("interrupted")] == "1"
    (continues,) = [line for line in lines if line.startswith("the same command continues the run: ")]
    assert shlex.split(continues)[-4:] == ["evaluate", *(word for word in typed[1:] if word != "--fresh")]
    listed = polyswe("cells", folder.path, "--state", "interrupted").stdout
    assert listed.splitlines()[-1] == "1 of 45 cells"
    assert "running" not in listed
    with folder.locked():
        busy = polyswe("status", folder.path).stdout
        assert "interrupted" not in busy
        assert "continues" not in busy
        assert " running" in polyswe("cells", folder.path, "--state", "running").stdout


def test_show_without_a_model_lists_the_cells_and_the_command_for_one(make_run) -> None:  # type: ignore[no-untyped-def]
    folder = make_run(unfinished=[("polyswe__billing-201", "scripted-large")])
    shown = polyswe("show", folder.path, "billing")
    assert shown.returncode == 0, shown.stderr
    *cells, _, one = shown.stdout.splitlines()
    listed = {line.split()[0]: line.split()[1:] for line in cells}
    assert listed["scripted-small"] == ["attempt", "1", "unresolved", "$1.000"]
    assert listed["scripted-medium"][-1] == "$2.000"
    assert listed["scripted-large"][2] == "container"
    words = shlex.split(one.removeprefix("show one: "))
    assert "billing" in polyswe(*words[words.index("show") :], "--patch").stdout
    refused = polyswe("show", folder.path, "billing", "--patch")
    assert refused.returncode == 2
    assert "name one of the models: scripted-" in refused.stderr
