"""Reproduction tests that attempts wrote for themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.attempt import AgentTask
from agents.evidence.own import LIMIT, own_tests
from agents.evidence.run import run_tests
from agents.evidence.signals import issue_test_signals
from agents.pool import ModelConfig
from agents.runner import NEW_FILES, AgentConfig, run_agent
from agents.scripted.server import ScriptedServer


def trajectory(folder: Path, *commands: str) -> Path:
    messages: list[dict[str, Any]] = []
    for number, command in enumerate(commands):
        action = {"command": command, "tool_call_id": str(number)}
        messages.append({"role": "assistant", "extra": {"actions": [action]}})
        messages.append({"role": "tool", "tool_call_id": str(number), "extra": {"returncode": 0, "raw_output": ""}})
    path = folder / "trajectory.json"
    path.write_text(json.dumps({"messages": messages}))
    return path


def added(path: str, line: str) -> str:
    return f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{line}\n"


@pytest.mark.parametrize(
    ("command", "expected", "path"),
    [
        ("cat > a.py <<'EOF'\nX\nEOF\npython a.py", "python a.py", "a.py"),
        ("cat <<'EOF' > ./a.py && python3 a.py 2>&1 | tail -5\nX\nEOF\n", "python3 a.py", "a.py"),
        (
            "cd /testbed && cat > /testbed/a.py << EOF\nX\nEOF\ncd /testbed && python /testbed/a.py > o; cat o",
            "python /testbed/a.py",
            "a.py",
        ),
        (
            'mkdir -p t; cd t && tee a.py <<"EOF" >/dev/null\nX\nEOF\npython a.py',
            "cd /testbed/t && python a.py",
            "t/a.py",
        ),
        (
            "cat > /tmp/a.py <<-'E'\n\tX\n\tE\nPYTHONPATH=. timeout 9 python /tmp/a.py",
            "PYTHONPATH=. timeout 9 python /tmp/a.py",
            "/tmp/a.py",
        ),
        (
            "cat > tests/test_a.py <<'E'\nX\nE\npytest -q tests/test_a.py::test_x -x",
            "pytest -q tests/test_a.py::test_x -x",
            "tests/test_a.py",
        ),
        ("cat > /tmp/x/a.js <<'E'\nX\nE\ncd /tmp/x && node a.js", "cd /tmp/x && node a.js", "/tmp/x/a.js"),
    ],
)
def test_a_file_that_was_written_and_run_is_a_test(command: str, expected: str, path: str, tmp_path: Path) -> None:
    (test,) = own_tests("m", trajectory(tmp_path, command), "")
    assert (test.command, dict(test.files), test.source, test.own) == (expected, {path: "X\n"}, "m", True)


def test_a_script_on_the_interpreters_input_is_a_test_where_it_asserts(tmp_path: Path) -> None:
    edits = "python - <<'E'\np = open('calc.py', 'w')\nassert p\nE"
    prints = "python <<'E'\nprint(1)\nE"
    asserts = "cd /testbed && python3 - <<'PY'\nassert 1 == 2\nPY\ngit diff"
    (test,) = own_tests("m", trajectory(tmp_path, edits, prints, asserts), "")
    ((path, text),) = test.files.items()
    assert (test.command, text) == (f"PYTHONPATH=. python3 {path}", "assert 1 == 2\n")


@pytest.mark.parametrize(
    "command",
    [
        "cat > a.py <<'EOF'\nX\n",
        "cat > a.py <<EOF\n$X\nEOF\npython a.py",
        "cat > ../../etc/a.py <<'EOF'\nX\nEOF\npython ../../etc/a.py",
        "cat > .git/a.py <<'EOF'\nX\nEOF\npython .git/a.py",
        "cat > a.py <<'EOF'\nX\nEOF\ncat a.py; rm a.py",
        "cat > a.py <<'EOF'\n\ud800\nEOF\npython a.py",
        "python a.py <<< 'x'",
        "<<'<<'<<A\n>\n" * 20,
    ],
)
def test_what_is_no_test(command: str, tmp_path: Path) -> None:
    assert own_tests("m", trajectory(tmp_path, command), "") == []


def test_new_files_of_the_container_and_of_the_patch(tmp_path: Path) -> None:
    path = trajectory(tmp_path, "python check.py", "python -m pytest src/new.py")
    left = added("tests/test_left.py", "left") + added("check.py", "check") + added("src/new.py", "a part of the fix")
    (tmp_path / NEW_FILES).write_text(left)
    patch = added("src/new.py", "a part of the fix") + added("tests/test_sent.py", "sent")
    tests = own_tests("m", path, patch)
    assert {test.command: dict(test.files) for test in tests} == {
        "python3 -m pytest -q tests/test_left.py": {"tests/test_left.py": "left\n"},
        "python3 -m pytest -q tests/test_sent.py": {"tests/test_sent.py": "sent\n"},
    }


def test_the_tests_that_ran_last_are_taken(tmp_path: Path) -> None:
    write = [f"cat > t{n}.py <<'E'\nX\nE\npython t{n}.py" for n in range(LIMIT + 2)]
    tests = own_tests("m", trajectory(tmp_path, *write, "python t0.py"), "")
    assert [next(iter(test.files)) for test in tests] == ["t0.py", "t6.py", "t5.py", "t4.py", "t3.py"]


REPRODUCE = "cat > check.py <<'E'\nfrom calc import add\nassert add(1, 2) == 3\nE\npython3 check.py"
IN_THE_CONTAINER = (
    "mkdir t && printf 'import calc\\ndef test_add():\\n    assert calc.add(2, 2) == 4\\n' > t/test_add.py"
)


@pytest.mark.docker
@pytest.mark.slow
def test_an_attempts_own_tests_judge_the_others(
    image: str, labels: dict[str, str], playbook: dict[str, Any], playbook_dir: Path, tmp_path: Path
) -> None:
    playbook["attempts"]["scripted-small"]["steps"][0]["run"] = [REPRODUCE, "rm check.py", IN_THE_CONTAINER]
    (playbook_dir / "demo__calc-1.yaml").write_text(yaml.safe_dump(playbook))
    out = tmp_path / "out"
    with ScriptedServer(playbook_dir) as server:
        model = ModelConfig(
            name="one", model="openai/scripted-small", api_base=server.url, scripted=True, free=True
        )  # fmt: skip
        task = AgentTask("demo__calc-1", "add() subtracts", image)
        attempt = run_agent(task, model, AgentConfig(), out_dir=out, labels=labels, keep_new_files=True)
    tests = own_tests("one", attempt.trajectory, attempt.patch)
    assert len(tests) == 2
    patches = {"one": attempt.patch, "other": attempt.patch, "wrong": attempt.patch.replace("a + b", "b - a")}
    runs = run_tests(tests, patches.values(), image=image, agent=AgentConfig(), timeout=60, labels=labels)
    signals = issue_test_signals(tests, runs, patches)
    assert {name: found["own_tests_fixed"] for name, found in signals.items()} == {"one": 0, "other": 2, "wrong": 0}
    assert signals["one"]["tests_valid"] == 2
