"""The shell steps of the docs' workflow, run on the sample; only `gh` is a stand-in that writes down its words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest
import yaml

from harness.data.instances import Dataset

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / "harness/docs/ci/github.yml").read_text())
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / "harness/docs/ci/gitlab.yml").read_text())


def step(job: str, name: str) -> str:
    (found,) = [one for one in WORKFLOW["jobs"][job]["steps"] if one.get("name") == name]
    return str(found["run"])


@pytest.fixture
def runner(tmp_path: Path, sample: Dataset) -> tuple[Path, dict[str, str]]:
    """A checkout with a small pool, the base's outcomes, and the two commands that the steps call."""
    config = yaml.safe_load((ROOT / "harness/configs/sample.yaml").read_text())
    config["pool"] = [{**config["pool"][0], "record": "perfect"}]
    config["run"]["agent_workers"] = 2
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "base").mkdir()
    rows = [i.instance_id for i in sample.instances]
    (tmp_path / "base/outcomes.csv").write_text(
        "instance_id,model,resolved\n" + "".join(f"{i},perfect,1\n" for i in rows)
    )
    others = "".join(f"{i},m{k},{int(n % 5 < k)}\n" for k in range(1, 5) for n, i in enumerate(rows))
    (tmp_path / "leaderboards.csv").write_text("instance_id,model,resolved\n" + others)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, body in {
        "polyswe": f'exec "{sys.executable}" -m harness "$@"',
        "gh": 'echo "$@" >> gh.txt',
    }.items():
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "CONFIG": "models.yaml",
        "RECORDS": "leaderboards.csv",
        "MAX_COST": "30",
        "PR": "7",
    }
    return tmp_path, environment


@pytest.mark.slow
@pytest.mark.docker
def test_the_steps_of_the_workflow_work_on_the_sample(runner: tuple[Path, dict[str, str]]) -> None:
    folder, environment = runner

    def run(job: str, name: str) -> int:
        script = step(job, name)
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=folder, env=environment, check=False
        ).returncode

    assert run("regression", "Fetch the main branch's outcomes") == 0
    assert run("regression", "Test") == 1
    assert "scripted-small: worse than the base" in (folder / "summary.md").read_text()
    assert run("regression", "Comment") == 0
    said = (folder / "gh.txt").read_text().splitlines()
    assert said[0] == "run download --name polyswe-base --dir base"
    assert said[1] == "pr comment 7 --edit-last --create-if-none --body-file results/pr/regression.md"


class Notes(BaseHTTPRequestHandler):
    """The part of GitLab's API for the notes of a merge request that the job calls."""

    kept: dict[int, str]
    token: ClassVar[str] = "secret"

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200 if self.headers["PRIVATE-TOKEN"] == self.token else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> str:
        return parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["body"][0]

    def do_GET(self) -> None:
        self._answer([{"id": key, "body": body} for key, body in self.kept.items()])

    def do_POST(self) -> None:
        self.kept[len(self.kept) + 1] = self._body()
        self._answer({})

    def do_PUT(self) -> None:
        self.kept[int(self.path.rpartition("/")[2])] = self._body()
        self._answer({})

    def log_message(self, *_: object) -> None: ...


def test_the_gitlab_job_keeps_one_note_up_to_date(tmp_path: Path) -> None:
    Notes.kept = {1: "looks good to me"}
    (script,) = GITLAB["polyswe-regression"]["after_script"]
    result = tmp_path / "results/pr/regression.md"
    result.parent.mkdir(parents=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), Notes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            **os.environ,
            "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}",
            "CI_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_IID": "7",
            "POLYSWE_TOKEN": Notes.token,
            "no_proxy": "127.0.0.1",
        }
        for text in ('**m: undecided** & 100 % "open"', "**m: worse than the base**"):
            result.write_text(text + "\n")
            subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, env=environment, check=True)
            assert Notes.kept == {1: "looks good to me", 2: f"<!-- polyswe -->\n{text}\n"}
        server.shutdown()


def test_both_files_call_commands_and_options_that_exist() -> None:
    scripts = [one["run"] for job in WORKFLOW["jobs"].values() for one in job["steps"] if "run" in one]
    scripts += [line for job in GITLAB.values() if isinstance(job, dict) for line in job.get("script", [])]
    called = [line.strip() for script in scripts for line in script.splitlines() if line.strip().startswith("polyswe ")]
    assert {line.split()[1] for line in called} == {"regress", "evaluate"}
    for line in called:
        words = line.split(" || ")[0].split()
        shown = subprocess.run(
            [sys.executable, "-m", "harness", words[1], "--help"],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        ).stdout  # fmt: skip
        assert [word for word in words if word.startswith("--") and word not in shown] == []
