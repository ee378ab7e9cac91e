"""The command line as a user meets it: quick, one clear line for what is wrong, exit codes that scripts can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import EXIT_INTERRUPTED

HEAVY = {
    "torch",
    "litellm",
    "sentence_transformers",
    "swebench",
    "sklearn",
    "docker",
    "minisweagent",
    "numpy",
    "pydantic",
}
POOL = "- {name: a, model: openai/a, free: true, api_base: 'http://127.0.0.1:9'}"


ROOT = str(Path(__file__).resolve().parents[2])


def polyswe(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **environment},
    )  # fmt: skip


def config(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_help_waits_for_nothing_heavy() -> None:
    code = f"import harness.cli, sys; print(*({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def helps(command: Any, *path: str) -> Iterator[tuple[str, str]]:
    """Each command and group below this one, with what its help says."""
    for name, below in getattr(command, "commands", {}).items():
        yield " ".join([*path, name]), f"{below.help} {below.epilog}"
        yield from helps(below, *path, name)


def test_every_help_has_an_example() -> None:
    known = dict(helps(typer.main.get_command(app)))
    assert {"figures", "results", "config", "config reference", "dataset", "lab", "lab signals"} <= known.keys()
    assert [name for name, text in known.items() if f"polyswe {name}" not in text.partition("Example")[2]] == []


@pytest.mark.parametrize("group", ["config", "dataset"])
def test_the_example_of_a_group_works(group: str) -> None:
    text = dict(helps(typer.main.get_command(app)))[group]
    words = text.partition("Example: `polyswe ")[2].partition("`")[0].split()
    done = CliRunner().invoke(app, words)
    assert (words[0], done.exit_code) == (group, 0), done.output


@pytest.mark.parametrize(
    ("study", "function", "options", "becomes"),
    [
        ("calibrate", "calibration.calibrate", ["--pools", "1"], "kept, and the same command continues"),
        ("signals", "signals.study_signals", ["--data", "."], "keeps nothing of an unfinished study"),
    ],
)
def test_ctrl_c_says_what_becomes_of_a_study(
    study: str, function: str, options: list[str], becomes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"harness.lab.{function}", interrupted)
    done = CliRunner().invoke(app, ["lab", study, *options, "--out", str(tmp_path / "out")])
    assert done.exit_code == EXIT_INTERRUPTED
    assert f"lab {study} " in done.stderr
    assert becomes in done.stderr


@pytest.mark.parametrize("command", ["evaluate", "replay", "fit", "route"])
def test_help_of_a_command_shows_an_example(command: str) -> None:
    done = polyswe(command, "--help", COLUMNS="200")
    assert done.returncode == 0
    assert f"polyswe {command}" in done.stdout.split("Example", 1)[1]


@pytest.mark.parametrize(
    ("text", "code", "parts"),
    [
        ("dataset: {name: sample}\npol: []\n", 2, ["'pol'", "'pool'"]),
        (f"dataset: {{name: sample}}\nrouter: {{policy: clustr}}\npool:\n  {POOL}\n", 2, ["clustr", "'cluster'"]),
        (f"dataset: {{name: no-such.jsonl}}\npool:\n  {POOL}\n", 2, ["no-such.jsonl", "no such file"]),
        (
            "dataset: {name: sample}\npool:\n  - {name: a, model: openai/gpt-4o, api_key_env: POLYSWE_NO_SUCH_KEY}\n",
            3,
            ["POLYSWE_NO_SUCH_KEY"],
        ),
        (
            "dataset: {name: sample}\npool:\n  - {name: a, model: openai/zzz, api_base: 'http://x'}\n",
            2,
            ["price", "zzz"],
        ),
    ],
)
def test_a_run_that_cannot_work_ends_before_it_begins(tmp_path: Path, text: str, code: int, parts: list[str]) -> None:
    done = polyswe("evaluate", config(tmp_path, text), "--out", str(tmp_path / "results"))
    assert done.returncode == code, done.stderr
    assert all(part in done.stderr for part in parts), done.stderr
    assert done.stderr.startswith("polyswe: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_without_an_engine_one_line_says_what_to_do(tmp_path: Path) -> None:
    done = polyswe("evaluate", "sample", "--out", str(tmp_path), DOCKER_HOST="unix:///no/such/socket")
    assert done.returncode == 3
    assert "make engine" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_says_what_a_missing_engine_costs() -> None:
    done = polyswe("doctor", DOCKER_HOST="unix:///no/such/socket")
    assert done.returncode == 3
    line = next(line for line in done.stdout.splitlines() if "Docker Engine" in line)
    assert line.startswith("MISSING")
    assert "only replay" in line


@pytest.mark.docker
def test_the_doctor_names_the_engine_and_what_isolates_its_containers() -> None:
    lines = polyswe("doctor").stdout.splitlines()
    assert any("Docker Engine" in line and " at unix://" in line for line in lines)
    assert any("isolation" in line for line in lines)


def test_the_doctor_names_missing_keys_and_no_values(tmp_path: Path) -> None:
    text = (
        "dataset: {name: sample}\npool:\n"
        "  - {name: a, model: openai/gpt-4o, api_key_env: POLYSWE_SET_KEY}\n"
        "  - {name: b, model: openai/gpt-4o, api_key_env: POLYSWE_UNSET_KEY}\n"
    )
    done = polyswe("doctor", config(tmp_path, text), POLYSWE_SET_KEY="canary-0815-value")
    assert done.returncode == 3
    lines = {line.split()[2]: line for line in done.stdout.splitlines() if " model " in line}
    assert lines["a"].startswith("ok")
    assert "POLYSWE_SET_KEY is set" in lines["a"]
    assert lines["b"].startswith("MISSING")
    assert "POLYSWE_UNSET_KEY" in lines["b"]
    assert "canary-0815" not in done.stdout


def test_fit_and_route(tmp_path: Path) -> None:
    """Outcomes that follow the topic: a new problem goes to the model that is good at its topic."""
    topics = {
        "dates": "The date parser returns the wrong day for {} because the time zone offset is added twice",
        "tables": "Rendering a table with {} columns misaligns the right border when a cell holds wide characters",
    }
    outcomes, tasks = ["instance_id,model,resolved,cost_usd"], []
    for topic, text in topics.items():
        for number in range(6):
            name = f"{topic}__{topic}-{number}"
            tasks.append(json.dumps({"instance_id": name, "problem_statement": text.format(f"{topic} {number}")}))
            outcomes += [f"{name},{model}-expert,{int(model == topic)},0.1" for model in topics]
    (tmp_path / "outcomes.csv").write_text("\n".join(outcomes) + "\n")
    (tmp_path / "tasks.jsonl").write_text("\n".join(tasks) + "\n")
    checkpoint = tmp_path / "router.safetensors"
    fitted = polyswe(
        "fit", str(tmp_path / "outcomes.csv"), "--tasks", str(tmp_path / "tasks.jsonl"),
        "--out", str(checkpoint), "--clusters", "2",
    )  # fmt: skip
    assert fitted.returncode == 0, fitted.stderr
    new = [
        "Leap days are parsed as March 1st when the date has no year",
        "Table header cells overlap in narrow terminals",
    ]
    routed = polyswe("route", str(checkpoint), *new)
    assert routed.returncode == 0, routed.stderr
    decisions = [line.split()[0] for line in routed.stdout.splitlines() if not line.startswith(" ")]
    assert decisions == ["dates-expert", "tables-expert"]
    known = polyswe("route", str(checkpoint), "--tasks", str(tmp_path / "tasks.jsonl"), "--select", "id=*-3 slice=0:1")
    assert [line.split()[:2] for line in known.stdout.splitlines() if not line.startswith(" ")] == [
        ["dates__dates-3:", "dates-expert"]
    ]
    others = polyswe("route", str(checkpoint), *new, "--exclude", "dates")
    assert [line.split()[0] for line in others.stdout.splitlines() if not line.startswith(" ")] == ["tables-expert"] * 2
    none = polyswe("route", str(checkpoint), *new, "--exclude", "dates", "--exclude", "tables")
    assert (none.returncode, "leaves no model" in none.stderr) == (2, True)


def test_results_of_a_folder_without_a_run(tmp_path: Path) -> None:
    done = polyswe("results", str(tmp_path))
    assert done.returncode == 2
    assert "holds no run" in done.stderr


def test_the_version_is_the_installed_one() -> None:
    done = polyswe("--version")
    assert (done.returncode, done.stdout) == (0, f"polyswe {metadata.version('polyswe')}\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_terminals_encoding_ends_a_command(encoding: str) -> None:
    done = polyswe("--help", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "evaluate" in done.stdout


OUTCOMES = "instance_id,model,resolved\n" + "".join(f"own__repo-{k},{m},{k % 2}\n" for k in range(4000) for m in "ab")


@pytest.mark.parametrize("redirection", ["| head -c 10", ">&-", "> /dev/full"])
def test_an_output_that_cannot_be_written_is_no_finding(tmp_path: Path, redirection: str) -> None:
    (tmp_path / "o.csv").write_text(OUTCOMES)
    (tmp_path / "n.csv").write_text(OUTCOMES.replace(",a,0", ",a,1"))
    command = f"set -o pipefail; {sys.executable} -m harness compare o.csv n.csv --pool b {redirection}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONPATH": ROOT}, check=False
    )
    assert done.returncode != 1, done.stderr.decode()
    if "full" in redirection:
        assert done.returncode == 3
        assert done.stderr == b"polyswe: No space left on device; what was recorded before is kept\n"


def test_an_out_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    """Every command that takes one: test_early_checks.py."""
    (tmp_path / "file").write_text("kept")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "replay", "o.csv", "--tasks", "sample", "--out", "file/inside"],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ROOT}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "polyswe: --out file/inside: file is a file, not a folder\n"
    assert (tmp_path / "file").read_text() == "kept"


def test_the_table_is_printed_whatever_becomes_of_the_files(tmp_path: Path) -> None:
    rows = [f"polyswe__{name},{model},1" for name in ("billing-201", "tabula-101") for model in "ab"]
    (tmp_path / "o.csv").write_text("instance_id,model,resolved\n" + "\n".join(rows) + "\n")
    (tmp_path / "out" / "results.md").mkdir(parents=True)
    arguments = ["replay", str(tmp_path / "o.csv"), "--tasks", "sample", "--policy", "best-fixed"]
    done = polyswe(*arguments, "--folds", "2", "--repeats", "1", "--out", str(tmp_path / "out"))
    assert done.returncode == 3
    assert "oracle (any model resolves)" in done.stdout


def test_an_error_of_our_own_has_an_exit_code_of_its_own() -> None:
    code = "import harness.cli as cli; cli.app.command('boom')(lambda: 1 / 0); cli.main()"
    done = subprocess.run([sys.executable, "-c", code, "boom"], capture_output=True, text=True, check=False)
    assert done.returncode == 70, "1 would say that a comparison found something"
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("polyswe: an error in polyswe")


def test_a_foreign_package_of_our_name_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("raise SystemExit('somebody else')\n")
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "harness", "doctor"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert str(tmp_path / "agents") in done.stderr
    assert "environment of its own" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_locale_of_another_encoding_changes_no_file(tmp_path: Path) -> None:
    """swebench reads the sample in the locale's encoding, which cannot hold it."""
    row = {"instance_id": "a__b-1", "problem_statement": "Größe – 寸法", "repo": "a/b"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    ascii_only = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    for source, found in (("sample", "15 can be graded"), (str(tmp_path / "rows.jsonl"), "1 row of 1 repository; ")):
        done = polyswe("dataset", "show", source, **ascii_only)
        assert (done.returncode, done.stderr) == (0, "")
        assert found in done.stdout
        assert done.stdout.isascii(), "the terminal keeps its encoding"
