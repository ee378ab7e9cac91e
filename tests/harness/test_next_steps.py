"""What `polyswe evaluate` says at its end can be typed as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import app
from harness.commands.evaluate import report_end
from harness.commands.next_steps import say_next_steps
from harness.run.pipeline import RunEnd
from harness.store.run_folder import RunFolder
from harness.store.store import Store

MakeRun = Callable[..., RunFolder]


def test_every_next_step_is_a_command_for_this_run(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run("first")
    with Store(folder.store_path) as store:
        rows = store.rows()
    say_next_steps(folder, RunEnd(rows, None, "", folder.path), dataset="sample")
    said = capsys.readouterr().err
    steps = dict(re.findall(r"^  ([a-z ]+): +(.*)$", said, re.MULTILINE))
    assert len(steps) == 5
    assert Path(steps["open the report"]) == folder.path / "results.html"
    # the program may be one word or `python -m harness`
    words = {what: shlex.split(step) for what, step in steps.items() if what != "open the report"}
    typed = {what: step[3:] if step[1] == "-m" else step[1:] for what, step in words.items()}
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {step[0] for step in typed.values()} <= names

    shown = CliRunner().invoke(app, typed["look into a failure"])
    assert shown.exit_code == 0, shown.output
    assert "FAILED" in shown.output
    other = make_run("other")
    compared = [str(other.path) if word == "OTHER_RUN" else word for word in typed["compare with another run"]]
    assert CliRunner().invoke(app, compared).exit_code in (0, 1)


@pytest.mark.parametrize(
    ("fresh", "line"),
    [
        (False, "the same command continues the run"),
        (True, "the same command without --fresh continues the run"),
    ],
)
def test_the_command_that_continues_a_run_does_not_begin_it_anew(
    fresh: bool, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        report_end(RunEnd([], None, "", tmp_path, missing_evidence=["no evidence on 1 of 1 instance"]), fresh=fresh)
    assert capsys.readouterr().err.splitlines()[-1].endswith(line)
