"""A test writer's attempt, and what is taken from its submission."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.attempt import AgentTask
from agents.evidence.config import EvidenceConfig
from agents.evidence.issue_tests import IssueTest, added_files, read_tests
from agents.evidence.writer import MARKER, writer_config, writer_model
from agents.pool import ModelConfig
from agents.runner import AgentConfig, run_agent

if TYPE_CHECKING:
    from tests.agents.conftest import FaultyServer

LIST = """\
# what the issue says
python -m pytest -q tests/test_issue.py

python check.py
"""


def submission(folder: Path, files: dict[str, str | bytes]) -> str:
    """What `git add -N … && git diff` prints for new files."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run([*git, "init", "-q", "."], cwd=folder, check=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    subprocess.run([*git, "add", "-N", "."], cwd=folder, check=True)
    return subprocess.run([*git, "diff"], cwd=folder, capture_output=True, check=True).stdout.decode("utf-8", "replace")


@pytest.mark.docker
def test_a_writer_sees_the_issue_and_its_own_task_and_limits(
    image: str, labels: dict[str, str], tmp_path: Path, faulty: FaultyServer
) -> None:
    evidence = EvidenceConfig(step_limit=7, tests_per_writer=5)
    config = writer_config(AgentConfig(reviewer="someone", neighbour_tests=True), evidence)
    model = ModelConfig(
        name="writer", model="openai/m", api_base=faulty.url, step_limit=99, free=True, scripted=True
    )  # fmt: skip
    task = AgentTask("demo__calc-1", "add() {{ subtracts }}", image)
    attempt = run_agent(task, writer_model(model), config, out_dir=tmp_path, labels=labels)
    assert attempt.exit_status == "Submitted"
    _, prompt = faulty.requests[0]["messages"]
    assert prompt["content"].startswith(MARKER)
    assert "add() {{ subtracts }}" in prompt["content"]
    assert "up to\n5 tests" in prompt["content"]
    assert "[" not in prompt["content"].replace("[CWD]", ""), "nothing is left to be filled in"
    assert '"step_limit": 7' in attempt.trajectory.read_text()


def test_tests_of_a_submission(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "polyswe_tests.txt": LIST,
        "tests/test_issue.py": "assert 'é'\r\nno newline at the end",
        "tests/__init__.py": "",
        "check.py": "++ b\n-- a\n",
    }
    tests = read_tests("writer", submission(tmp_path, files), limit=3)
    assert [test.command for test in tests] == ["python -m pytest -q tests/test_issue.py", "python check.py"]
    assert [test.name for test in tests] == ["writer:1", "writer:2"]
    assert tests[0].files == {path: text for path, text in files.items() if path != "polyswe_tests.txt"}
    assert [test.command for test in read_tests("writer", submission(tmp_path, files), limit=1)] == [tests[0].command]


HOSTILE = """\
diff --git a/{path} b/{path}
new file mode {mode}
--- /dev/null
+++ b/{path}
@@ -0,0 +1{count} @@
+{line}
"""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"path": "../outside.py"}, "not inside the repository"),
        ({"path": "/etc/passwd"}, "not inside the repository"),
        ({"path": ".git/hooks/pre-commit"}, "not inside the repository"),
        ({"path": "a/.GIT/config"}, "not inside the repository"),
        ({"path": "a//b"}, "not inside the repository"),
        ({"path": "a\x1b[2J"}, "not plain"),
        ({"mode": "120000"}, "links"),
        ({"mode": "160000"}, "submodules"),
        ({"count": ",2"}, "damaged hunks"),
        ({"line": "a\n+b"}, "damaged hunks"),
        ({"line": "\ud800"}, "damaged hunks"),
        ({"line": "x" * 200_000}, "more than 100000 bytes"),
    ],
)
def test_what_a_submission_may_not_add_is_left_out_and_said_in_one_line(
    fields: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = {"path": "a.py", "mode": "100644", "count": "", "line": "x"}
    listing = plain | {"path": "polyswe_tests.txt", "line": "python a.py"}
    with caplog.at_level(logging.WARNING):
        tests = read_tests("writer", HOSTILE.format(**plain | fields) + HOSTILE.format(**listing), limit=3)
    assert [(test.command, test.files) for test in tests] == [("python a.py", {})]
    (record,) = caplog.records
    assert reason in record.getMessage()
    assert record.getMessage().isprintable()


def test_changes_and_binary_files_are_no_tests(tmp_path: Path) -> None:
    change = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n"
    added = added_files(change + submission(tmp_path, {"image.png": b"\0\1", "a\tb.py": "x\n", "c.py": "x\n"}))
    assert added.files == {"c.py": "x\n"}
    assert len(added.refused) == 3


def test_the_files_of_a_submission_are_bounded_together() -> None:
    large = {"mode": "100644", "count": "", "line": "x" * 90_000}
    added = added_files("".join(HOSTILE.format(path=f"{number}.py", **large) for number in range(30)))
    assert list(added.files) == [f"{number}.py" for number in range(11)]
    assert added.refused == ["files beyond 1000000 bytes together"]


@pytest.mark.parametrize("patch", ["", "no patch", "diff --git ", "diff --git a/a b/a"])
def test_nothing_usable_is_no_tests(patch: str) -> None:
    assert read_tests("writer", patch, limit=3) == []


@given(st.text(alphabet="+-@ d\n\r\x00ab/,0123456789\\\ud800") | st.text())
def test_any_text_is_read(patch: str) -> None:
    for test in read_tests("writer", "diff --git a/a b/a\nnew file mode 100644\n" + patch, limit=3):
        assert isinstance(test, IssueTest)
