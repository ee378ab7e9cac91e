"""The commands that need no Docker and no key, from the command line to the files they promise, on recorded data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def tasks(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tenth of the benchmark: most of the time goes to embedding its texts."""
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    lines = (shared_data / "tasks" / "swebench_verified.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[::10]))
    return str(path)


@pytest.fixture(scope="module")
def board(shared_data: Path) -> str:
    return str(shared_data / "outcomes" / "leaderboards-2026-02-26.json")


SONNET = "sonnet (20250929)"
POOL = ("--pool", "opus medium", "--pool", "gemini 3 pro", "--pool", SONNET)


def test_replay_and_what_reads_its_folder(board: str, tasks: str, tmp_path: Path) -> None:
    out = tmp_path / "replay"
    said = run(
        "replay", board, "--tasks", tasks, *POOL, "--policy", "cluster", "--folds", "3", "--repeats", "1",
        "--null-sizes", "20,20,10", "--out", str(out),
    )  # fmt: skip
    for name in ("results.md", "results.json", "results.csv", "outcomes.csv", "results.html"):
        assert (out / name).stat().st_size > 0
    assert "oracle" in said
    drawn = run("figures", str(out)).split()
    assert drawn and all(Path(name).stat().st_size > 0 for name in drawn)  # noqa: PT018
    (out / "results.html").unlink()
    run("report", str(out))
    assert (out / "results.html").stat().st_size > 0


def test_onboard_profiles_a_recorded_model(board: str, tasks: str, tmp_path: Path) -> None:
    arguments = ("onboard", SONNET, "--budget", "12", "--reference", board, "--tasks", tasks, *POOL[:4])
    plan = run(*arguments, "--plan").split()
    assert len(set(plan)) == 12
    out = tmp_path / "profile"
    run(*arguments, "--from", board, "--out", str(out))
    assert json.loads((out / "profile.json").read_text())
    assert (out / "outcomes.csv").stat().st_size > 0


def test_pool_tells_how_it_grew(board: str, tasks: str, tmp_path: Path) -> None:
    out = tmp_path / "history.json"
    said = run(
        "pool", board, "--tasks", tasks, "--at", "2025-12", "--member", "opus medium", "--member", SONNET,
        "--out", str(out),
    )  # fmt: skip
    assert "2025-12" in said
    assert json.loads(out.read_text())


def test_the_laboratory_reads_tables_of_signals(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "signals"
    said = run(
        "lab", "signals", "--data", str(shared_data / "signals"), "--folds", "2", "--repeats", "1", "--out", str(out)
    )
    assert "effort" in said
    assert json.loads((out / "signals.json").read_text())["instances"] == 500
