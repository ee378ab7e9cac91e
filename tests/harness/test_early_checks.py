"""What cannot work is refused before anything is read: no source that these commands name exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import InputError

NONE = "no-such-file.csv"
TASKS = ("--tasks", "no-such-tasks.jsonl")


def refusal(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


@pytest.mark.parametrize(
    "command",
    [
        ("replay", NONE, *TASKS, "--policy", "clutser"),
        ("fit", NONE, *TASKS, "--out", "{tmp}/r.safetensors", "--policy", "clutser"),
        ("pool", NONE, *TASKS, "--policy", "clutser"),
        ("lab", "calibrate", "--tasks", "no-such-tasks.jsonl", "--policy", "clutser"),
        ("lab", "tables", "--data", "no-such-folder", "--policy", "clutser"),
        ("lab", "transfer", NONE, *TASKS, "--other-tasks", "none.jsonl", "--policy", "clutser"),
        ("evaluate", "sample", "--set", "router.policy=clutser", "--set", "dataset.name=none.jsonl"),
        ("evaluate", "sample", "--set", "router.policy=clutser", "--set", "dataset.name=none.jsonl", "--dry-run"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_an_unknown_policy(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(*(word.format(tmp=tmp_path) for word in command))
    assert "unknown policy 'clutser' (did you mean 'cluster'?)" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ("replay", NONE, *TASKS),
        ("fit", NONE, *TASKS),
        ("pool", NONE, *TASKS),
        ("compare", "no-base", "no-new"),
        ("onboard", "m", "--budget", "3", "--reference", NONE, "--from", NONE, *TASKS),
        ("lab", "calibrate"),
        ("lab", "pools", "--data", NONE, *TASKS),
        ("lab", "labels", "--data", NONE, *TASKS),
        ("lab", "tables", "--data", "no-such-folder"),
        ("lab", "transfer", NONE, *TASKS, "--other-tasks", "none.jsonl"),
        ("lab", "signals", "--data", "no-such-folder"),
        ("submit", "no-such-run", "--system", "s"),
        ("evaluate", "sample", "--set", "dataset.name=none.jsonl"),
        ("demo",),
        ("dataset", "convert", NONE),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_place_that_cannot_be_written(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = refusal(*command, "--out", str(tmp_path / "file" / "out.jsonl"))
    assert "is a file, not a folder" in message


def test_an_address_without_the_engine_that_takes_it(tmp_path: Path) -> None:
    message = refusal("evaluate", "sample", "--address", "10.0.0.1:6379", "--out", str(tmp_path))
    assert message == "--address names the head node of a Ray cluster: add --engine ray"
    predictions = tmp_path / "preds.json"
    predictions.write_text(
        '{"polyswe__tabula-101": {"model_name_or_path": "m", "model_patch": "", "instance_id": "polyswe__tabula-101"}}'
    )
    message = refusal("grade", str(predictions), "--dataset", "sample", "--address", "10.0.0.1:6379")
    assert "add --engine ray" in message
