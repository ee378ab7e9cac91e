"""Signals are read from what an attempt left; they must not need a container, and must not guess."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.attempt import Attempt
from agents.pool import ModelConfig
from agents.review import read_score, review
from agents.scripted.server import ScriptedServer
from agents.signals import (
    SIGNALS,
    Command,
    changed_files,
    changed_lines,
    extract,
    is_test,
    run_neighbour_tests,
)

PATCH = """\
diff --git a/src/shop/cart.py b/src/shop/cart.py
--- a/src/shop/cart.py
+++ b/src/shop/cart.py
@@ -1,2 +1,3 @@
 def total(items):
-    return sum(items)
+    prices = [item.price for item in items]
+    return  sum(prices)
diff --git a/tests/test_cart.py b/tests/test_cart.py
--- a/tests/test_cart.py
+++ b/tests/test_cart.py
@@ -9,0 +10 @@
+assert total([]) == 0
"""


def attempt(trajectory: Path, patch: str = PATCH, exit_status: str = "Submitted") -> Attempt:
    return Attempt(
        instance_id="i", model="m", patch=patch, exit_status=exit_status, cost_usd=0.5, api_calls=3, prompt_tokens=10,
        completion_tokens=5, cached_tokens=2, failed_calls=1, seconds=7.0, trajectory=trajectory, unsubmitted_patch="",
        scripted=True,
    )  # fmt: skip


def write_trajectory(path: Path, *commands: tuple[str, int, str]) -> Path:
    messages: list[dict[str, object]] = [{"role": "user", "content": "the issue"}]
    for number, (command, code, output) in enumerate(commands):
        call = f"call_{number}"
        messages.append({"role": "assistant", "extra": {"actions": [{"command": command, "tool_call_id": call}]}})
        messages.append({"role": "tool", "tool_call_id": call, "extra": {"returncode": code, "raw_output": output}})
    path.write_text(json.dumps({"messages": messages}))
    return path


BINARY = "diff --git a/b b/b\nGIT binary patch\nliteral 1\nIcmZQ!U}p&c0{{R3\n\nliteral 0\nHcmV?d00001\n\n"
LINES = st.text(alphabet="+-@ d\n\r\x00ab/", max_size=40)


@given(patch=st.text() | LINES, said=st.text())
@example(patch=BINARY, said="")
def test_no_patch_and_no_output_is_too_strange_for_the_signals(
    tmp_path_factory: pytest.TempPathFactory, patch: str, said: str
) -> None:
    path = write_trajectory(tmp_path_factory.mktemp("signals") / "trajectory.json", ("pytest " + said, 1, said))
    signals = extract(attempt(path, patch))
    assert signals["patch_lines"] <= patch.count("\n") + len(patch.splitlines())
    assert set(signals) >= set(SIGNALS)


def test_the_last_run_of_tests_counts_and_a_pipe_does_not_hide_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.json"
    write_trajectory(
        path,
        ("python -m pytest -q", 0, "3 passed in 0.1s"),
        ("python -m pytest -q | tail -1", 0, "1 failed, 2 passed in 0.1s"),
        ("cat setup.py", 1, "No such file"),
    )
    signals = extract(attempt(path))
    assert signals["own_tests_passed"] == 0
    assert signals["failed_commands"] == pytest.approx(1 / 3)
    assert (signals["patch_files"], signals["tests_touched"], signals["patch_lines"]) == (2, 1, 4)
    assert signals.keys() == SIGNALS.keys()


@pytest.mark.parametrize(
    ("command", "code", "output", "passed"),
    [
        ("pytest tests/test_a.py", 0, "=== 12 passed, 1 skipped in 1s ===", 1),
        ("pytest", 1, "=== 1 failed, 11 passed ===", 0),
        ("pytest", 2, "=== 1 error in 0.2s ===", 0),
        ("python tests/runtests.py admin", 0, "Ran 3 tests in 0.1s\n\nOK", 1),
        ("python manage.py test", 1, "Ran 3 tests\n\nFAILED (failures=1)", 0),
        ("python -m unittest", 0, "Ran 0 tests in 0.0s", math.nan),
        ("pytest --collect-only", 5, "no tests ran", math.nan),
        ("grep -n passed log", 0, "12 passed", math.nan),
        ("go test ./...", 0, "ok  \tpkg\t0.1s", 1),
    ],
)
def test_results_of_test_commands(command: str, code: int, output: str, passed: float) -> None:
    assert Command(command, code, output).tests_passed() == pytest.approx(passed, nan_ok=True)


def test_what_is_not_there_is_unknown_not_zero(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_text('{"messages": [')
    for path in (tmp_path / "absent.json", damaged):
        signals = extract(attempt(path, patch="", exit_status="LimitsExceeded"))
        assert math.isnan(signals["own_tests_passed"])
        assert math.isnan(signals["failed_commands"])
        assert (signals["submitted"], signals["patch_present"], signals["patch_files"]) == (0, 0, 0)


def test_changed_files_and_lines() -> None:
    assert changed_files(PATCH) == ["src/shop/cart.py", "tests/test_cart.py"]
    assert "-return sum(items)" in changed_lines(PATCH)


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("tests/a.py", True),
        ("pkg/test_a.py", True),
        ("pkg/a_test.py", True),
        ("pkg/contest.py", False),
        ("a.py", False),
    ],
)
def test_paths_of_tests(path: str, test: bool) -> None:
    assert is_test(path) is test


def test_existing_tests_near_the_change_are_run_and_the_agents_own_are_not(tmp_path: Path) -> None:
    files = {
        "shop/__init__.py": "",
        "shop/cart.py": "def total(items):\n    return sum(items)\n",
        "tests/test_cart.py": "from shop.cart import total\n\ndef test_total():\n    assert total([1, 2]) == 3\n",
        "tests/test_other.py": "def test_other():\n    assert False\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def execute(command: str) -> tuple[int, str]:
        command = command.replace("python -m", f"{sys.executable} -m")
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout

    author = "-c user.email=t@example.invalid -c user.name=t"
    assert execute(f"git init -q . && git add -A && git {author} commit -q -m base")[0] == 0
    patch = "diff --git a/shop/cart.py b/shop/cart.py\n--- a/shop/cart.py\n+++ b/shop/cart.py\n@@\n-a\n+b\n"
    assert run_neighbour_tests(execute, patch) == 1
    (tmp_path / "shop" / "cart.py").write_text("def total(items):\n    return 0\n")
    assert run_neighbour_tests(execute, patch) == 0
    with_its_test = patch + "diff --git a/tests/test_cart.py b/tests/test_cart.py\n"
    assert math.isnan(run_neighbour_tests(execute, with_its_test))
    assert math.isnan(run_neighbour_tests(execute, ""))


def test_a_reviewers_call_is_paid_and_scored(playbook_dir: Path, tmp_path: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        reviewer = ModelConfig(
            name="reviewer", model="openai/scripted-small", api_base=server.url, scripted=True,
            input_cost_per_token=1e-5, output_cost_per_token=1e-4,
        )  # fmt: skip
        told = review("it is broken", attempt(tmp_path / "t"), reviewer)
        nothing = review("it is broken", attempt(tmp_path / "t", patch=""), reviewer)
        assert server.stats()["scripted-small"].calls == 1
    assert told.score == 0.5
    assert told.cost_usd > 0
    assert (nothing.score, nothing.cost_usd) == (0, 0)


@pytest.mark.parametrize(
    ("reply", "score"),
    [("fine\nSCORE: 85", 0.85), ("SCORE: 10 … no, SCORE: 90", 0.9), ("good", math.nan), ("SCORE: 850", math.nan)],
)
def test_scores_are_read_from_replies(reply: str, score: float) -> None:
    assert read_score(reply) == pytest.approx(score, nan_ok=True)
