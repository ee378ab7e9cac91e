"""Doctor: what is missing stands out with one culprit and one thing to do, whatever the width and the names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.scripted.server import ScriptedServer
from harness.cli import app
from harness.config import RunConfig
from harness.docker.engine import connect
from harness.doctor import Finding, Level, render
from harness.errors import EngineUnavailableError
from harness.run.disk import disk_shortage
from harness.sample import PLAYBOOK

FINDINGS = [
    Finding(Level.OK, "Python", "3.12"),
    Finding(Level.MISSING, "disk", "487 GB needed, 74 free; set run.images_gb: 50", "one more word " * 20),
    Finding(Level.WARN, "Docker Engine", "\x1b[2J\u202ename\nMISSING  forged  line"),
]


def columns_of(text: str) -> list[int]:
    """Where the last column begins in the first line of each finding."""
    return [line.index(word) for line, word in zip(text.splitlines(), ("3.12", "487", "⟦"), strict=False)]


def test_findings_are_aligned_and_on_one_line_each_in_a_pipe() -> None:
    text = render(FINDINGS)
    lines = text.splitlines()
    assert len(lines) == len(FINDINGS) + 2
    assert len(set(columns_of(text))) == 1
    assert lines[-1] == "not ready: 1 missing"
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert render(FINDINGS[:1]).splitlines()[-1].startswith("ready")


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_findings_are_wrapped_to_the_terminal(columns: int) -> None:
    lines = render(FINDINGS, columns).splitlines()
    assert max(map(len, lines)) <= columns
    starts = [line for line in lines[:-2] if not line.startswith(" ")]
    assert [line.split()[0] for line in starts] == [finding.level for finding in FINDINGS]
    indents = {len(line) - len(line.lstrip()) for line in lines[:-2] if line.startswith(" ")}
    assert indents <= {starts[0].index("3.12")}


@pytest.mark.parametrize(
    ("images_gb", "needed", "free", "expected"),
    [
        (None, 487, 74, "487 GB needed, 74 free; set run.images_gb: 50"),
        (200, 487, 74, "200 GB needed, 74 free; set run.images_gb: 50"),
        (None, 487, 32, "487 GB needed, 32 free; set run.images_gb: 30"),
        (None, 487, 9, "487 GB needed, 9 free; free space on the engine's disk"),
        (None, 0, 1.5, "1.5 GB free, 2 needed to start; free space on the engine's disk"),
        (50, 487, 74, ""),
        (None, 487, 600, ""),
        (None, 0, 3, ""),
    ],
)
def test_the_disk_is_held_against_what_the_images_need(
    images_gb: float | None, needed: float, free: float, expected: str
) -> None:
    shortage = disk_shortage(RunConfig(images_gb=images_gb), needed_gb=needed, free_gb=free)
    assert shortage == expected


def test_doctor_and_dry_run_refuse_a_dataset_whose_images_do_not_fit(tmp_path: Path) -> None:
    try:
        connect(timeout=10)
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    # no registry is there, so that 1 GB an image is assumed: 3 TB fit on no disk that is free for a test
    row = {
        "repo": "owner/repo", "base_commit": "0", "problem_statement": "It fails.", "patch": "", "test_patch": "",
        "version": "1", "FAIL_TO_PASS": ["test_a"], "PASS_TO_PASS": [], "eval_script": ": '>>>>> Start Test Output'\n"
        "true\n: '>>>>> End Test Output'", "log_parser": "parse_log_pytest", "eval_type": "pass_and_fail",
    }  # fmt: skip
    rows = [row | {"instance_id": f"owner__repo-{k}", "image": f"127.0.0.1:9/none:{k}"} for k in range(3_000)]
    (tmp_path / "large.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    config = tmp_path / "large.yaml"
    config.write_text(
        f"dataset: {{name: {tmp_path}/large.jsonl}}\n"
        "pool: [{name: m, model: openai/x, api_base: 'http://127.0.0.1:9/v1', free: true}]\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for command in (["doctor", str(config)], ["evaluate", str(config), "--dry-run", "--out", str(tmp_path)]):
        done = subprocess.run(
            [sys.executable, "-m", "harness", *command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 3, done.stdout + done.stderr
        line = next(line for line in done.stdout.splitlines() if "GB needed" in line)
        assert line.startswith("MISSING")
        assert "set run.images_gb: " in line or "free space" in line


@pytest.mark.parametrize(("setting", "offline"), [(None, True), ("0", False), ("1", True)])
def test_libraries_of_a_hub_out_of_reach_are_told_before_they_try(setting: str | None, offline: bool) -> None:
    code = "import harness.data.hub as h; h.hub_out_of_reach(); import huggingface_hub as f; print(f.is_offline_mode())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HF_ENDPOINT": "http://127.0.0.1:9"}
    environment.pop("HF_HUB_OFFLINE", None)
    environment |= {} if setting is None else {"HF_HUB_OFFLINE": setting}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(offline)


def test_a_hub_out_of_reach_is_one_finding_without_the_libraries_retries(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "harness", "doctor", "verified"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == ""
    assert len([line for line in done.stdout.splitlines() if "hub" in line and line.startswith("MISSING")]) == 1


def test_doctor_calls_each_model_once_when_asked(tmp_path: Path) -> None:
    config = tmp_path / "two.yaml"
    with ScriptedServer(PLAYBOOK) as server:
        config.write_text(
            "dataset: {name: sample}\nrouter: {policy: clutser}\npool:\n"
            f"- {{name: right, model: openai/scripted-small, api_base: '{server.url}', free: true}}\n"
            f"- {{name: wrong id, model: openai/nobody, api_base: '{server.url}', free: true}}\n"
        )
        quiet = CliRunner().invoke(app, ["doctor", str(config)])
        assert server.stats()["scripted-small"].calls == 0
        called = CliRunner().invoke(app, ["doctor", str(config), "--ping"])
        assert server.stats()["scripted-small"].calls == 1
    assert "  ping " not in quiet.output
    (policy,) = [line for line in called.output.splitlines() if "  policy " in line]
    assert policy.startswith("MISSING")
    assert "did you mean 'cluster'?" in policy
    pings = [line for line in called.output.splitlines() if "  ping " in line]
    assert [line.split()[0] for line in pings] == ["ok", "MISSING"]
    assert "right: answered with a tool call" in pings[0]
    assert "wrong id: not-found" in pings[1]
    assert called.exit_code == 3
