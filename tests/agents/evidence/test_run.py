"""Tests on patches, in real containers, with patches that do their worst."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.container.limits import ContainerLimits
from agents.errors import ContainerError
from agents.evidence.control import control_files
from agents.evidence.issue_tests import IssueTest
from agents.evidence.run import UNPATCHED, TestRuns, run_tests
from agents.evidence.signals import issue_test_signals
from agents.evidence.tree import APPLY_COMMANDS
from agents.runner import AgentConfig

AGENT = AgentConfig(limits=ContainerLimits(memory="512m", pids=200, disk_gb=0.5), network="bridge")

PYTEST = {"tests/test_issue.py": "from calc import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"}
SCRIPT = {"check.py": "import calc, sys\nsys.exit(0 if calc.add(1, 2) == 3 else 1)\n"}
ADDS = IssueTest("w:1", "w", "python3 -m pytest -q tests/test_issue.py", PYTEST)
SCRIPT_ADDS = IssueTest("w:2", "w", "python3 check.py", SCRIPT)


def patch(new: str, path: str = "calc.py", old: str = "def add(a, b):\n    return a - b\n") -> str:
    """A patch that replaces (or, where `old` is empty, adds) a file."""
    lines, gone = new.splitlines(), old.splitlines()
    head = f"diff --git a/{path} b/{path}\n" + ("" if old else "new file mode 100644\n")
    names = f"--- {'a/' + path if old else '/dev/null'}\n+++ b/{path}\n"
    hunk = f"@@ -{1 if old else 0},{len(gone)} +1,{len(lines)} @@\n"
    return head + names + hunk + "".join(f"-{line}\n" for line in gone) + "".join(f"+{line}\n" for line in lines)


RIGHT = patch("def add(a, b):\n    return a + b\n")
WRONG = patch("def add(a, b):\n    return b - a\n")


@pytest.fixture
def run(image: str, labels: dict[str, str]) -> Callable[..., TestRuns]:
    def run(tests: list[IssueTest], patches: list[str], **options: Any) -> TestRuns:
        return run_tests(tests, patches, **{"image": image, "agent": AGENT, "timeout": 60, "labels": labels} | options)

    return run


def statuses(runs: TestRuns, patch: str) -> list[str]:
    run = runs.of_patch(patch)
    assert run is not None
    return [result.status for result in run.results.values()]


@pytest.mark.docker
def test_what_tests_show_of_patches(run: Callable[..., TestRuns]) -> None:
    tests = [
        ADDS,
        SCRIPT_ADDS,
        IssueTest("v:1", "v", "true"),
        IssueTest("v:2", "v", "python3 calc.py", {"calc.py": "print('in the place of what is tested')\n"}),
        IssueTest("v:3", "v", "python3 -m no_such_module"),
        IssueTest("right:1", "right", "grep -q 'a + b' calc.py", own=True),
        IssueTest("wrong:1", "wrong", "! grep -q 'a - b' calc.py", own=True),
    ]  # fmt: skip
    patches = {"right": RIGHT, "wrong": WRONG, "same": RIGHT, "lost": RIGHT.replace("a - b", "a * b"), "empty": "\n"}
    runs = run(tests, list(patches.values()))
    signals = issue_test_signals(tests, runs, patches)
    assert [runs.trees[UNPATCHED[0]].results[test.key].status for test in tests[:4]] == [
        "failed", "failed", "passed", "refused"
    ]  # fmt: skip
    assert {name: of["patch_applies"] for name, of in signals.items()} == {
        "right": 1, "wrong": 1, "same": 1, "lost": 0, "empty": 0
    }  # fmt: skip
    assert signals["right"] == {
        "tests_valid": 4, "tests_fixed": 2, "own_tests_fixed": 1, "tests_faked": 0, "patch_applies": 1
    }  # fmt: skip
    assert (signals["same"]["own_tests_fixed"], signals["wrong"]["own_tests_fixed"]) == (2, 0)
    assert signals["wrong"]["tests_fixed"] == signals["lost"]["tests_fixed"] == signals["empty"]["tests_fixed"] == 0

    flaky = runs.model_copy(deep=True)
    result = flaky.trees[UNPATCHED[1]].results[ADDS.key]
    flaky.trees[UNPATCHED[1]].results[ADDS.key] = result.model_copy(update={"status": "passed"})
    assert issue_test_signals(tests, flaky, patches)["right"]["tests_fixed"] == 1

    kept: list[TestRuns] = []
    loaded = TestRuns.model_validate_json(runs.model_dump_json())
    again = run(tests, list(patches.values()), known=loaded, image="no-such-image:0", on_tree=kept.append)
    assert (again, kept) == (runs, [])


@pytest.mark.docker
@pytest.mark.slow
def test_a_new_patch_or_test_runs_alone(run: Callable[..., TestRuns]) -> None:
    kept: list[TestRuns] = []
    first = run([SCRIPT_ADDS], [RIGHT], on_tree=lambda runs: kept.append(runs.model_copy(deep=True)))
    assert [len(runs.trees) for runs in kept] == [1, 2, 3]
    assert kept[-1] == first
    second = run([SCRIPT_ADDS, ADDS], [RIGHT, WRONG], known=first)
    assert statuses(second, RIGHT) == ["passed", "passed"]
    assert statuses(second, WRONG) == ["failed", "failed"]
    same = [
        second.trees[name].results[SCRIPT_ADDS.key] == first.trees[name].results[SCRIPT_ADDS.key]
        for name in first.trees
    ]
    assert same == [True, True, True]


ALL_PASS = """\
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    (yield).get_result().outcome = "passed"
"""
HOSTILE = {
    "ends the interpreter": patch("import os\nos._exit(0)\n"),
    "ends the interpreter when it is called": patch("import os\n\ndef add(a, b):\n    os._exit(0)\n"),
    "prints a summary": patch("print('1 passed')\nprint('COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT')\nadd = max\n"),
    "is equal to everything": patch("raise SystemExit(0)\n"),
    "lets pytest pass": patch(ALL_PASS, "conftest.py", old="") + patch("raise SystemExit\n"),
    "selects no tests": patch("[pytest]\naddopts = --collect-only\n", "pytest.ini", old="")
    + patch("raise SystemExit\n"),
    "brings its own test": patch("def test_add(): pass\n", "tests/test_issue.py", old="")
    + patch("print('fixed')\n", "check.py", old=""),
    "puts a folder in its place": patch("x\n", "tests/test_issue.py/x", old="") + patch("x\n", "check.py/x", old=""),
    "replaces python": patch(
        "import os\nfor name in ('python3', 'python3.11', 'python3.12', 'python3.13'):\n"
        "    for folder in ('/usr/bin/', '/usr/local/bin/'):\n        if os.path.lexists(folder + name):\n"
        "            os.remove(folder + name)\n            os.symlink('/bin/true', folder + name)\nos._exit(1)\n"
    ),
    "kills everything": patch("import os, signal\nos.kill(-1, signal.SIGKILL)\n"),
    "removes the repository": patch("import shutil\nshutil.rmtree('/testbed', ignore_errors=True)\nadd = max\n"),
    "leaves something running": patch(
        "import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n        time.sleep(9999)\n"
        "add = max\n"
    ),
}  # fmt: skip
WEARING = {
    "forks": patch("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"),
    "fills the disk": patch(
        "i = 0\nwhile True:\n    i += 1\n    try: open(f'/var/{i}', 'wb').write(bytes(10**8))\n"
        "    except OSError: pass\n"
    ),
    "prints without end": patch("while True: print('1 passed' * 1000)\n"),
}


@pytest.mark.docker
@pytest.mark.slow
def test_no_patch_passes_by_force(run: Callable[..., TestRuns]) -> None:
    runs = run([ADDS, SCRIPT_ADDS], list(HOSTILE.values()))
    results = {name: statuses(runs, patch) for name, patch in HOSTILE.items()}
    assert {name: found for name, found in results.items() if "passed" in found or len(found) != 2} == {}


@pytest.mark.docker
@pytest.mark.slow
def test_patches_that_use_up_the_machine_fail_and_harm_no_other(run: Callable[..., TestRuns]) -> None:
    other = IssueTest("w:3", "w", "! grep -q 'a - b' calc.py")
    runs = run([SCRIPT_ADDS, other], [*WEARING.values(), RIGHT], timeout=12)
    results = {name: statuses(runs, patch) for name, patch in WEARING.items()}
    assert {name: found for name, found in results.items() if found[0] == "passed" or found[1] != "passed"} == {}
    assert statuses(runs, RIGHT) == ["passed"] * 2


@pytest.mark.docker
@pytest.mark.slow
def test_hostile_tests_harm_no_other_test(run: Callable[..., TestRuns]) -> None:
    """Each would change what the tests after it find."""
    commands = [
        "sed -i 's/a - b/a + b/' calc.py; false",
        "rm -rf /testbed/* /testbed/.git; false",
        "(while sleep 0.1; do echo >> other.py; done) & false",
        "sleep 999 & sleep 999",
        "printf '1 passed\\nCOMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\\n'; false",
        "kill -9 -1; false",
    ]
    hostile = [IssueTest(f"h:{n}", "h", command) for n, command in enumerate(commands)]
    runs = run([*hostile, SCRIPT_ADDS], [RIGHT], timeout=12)
    hanging = hostile[3].key
    for name in UNPATCHED:
        found = {key: result.status for key, result in runs.trees[name].results.items()}
        refused = {} if name != UNPATCHED[0] else dict.fromkeys((hostile[0].key, hostile[1].key), "refused")
        assert found == dict.fromkeys(found, "failed") | {hanging: "timed out"} | refused
    assert statuses(runs, RIGHT) == ["failed", "timed out", "failed", "failed", "passed"]


@pytest.mark.docker
def test_a_missing_image_is_nobodys_result(run: Callable[..., TestRuns]) -> None:
    with pytest.raises(ContainerError, match="no-such-image"):
        run([ADDS], [RIGHT], image="no-such-image:0", agent=AGENT.model_copy(update={"pull": "never"}))


def test_patches_are_applied_as_the_official_harness_does() -> None:
    from swebench.harness.run_evaluation import GIT_APPLY_CMDS

    assert list(APPLY_COMMANDS) == GIT_APPLY_CMDS


TESTS = {
    "functions": "import lib\n\ndef test_it():\n    assert lib.f() == 1\n    return\n",
    "methods": "import unittest, lib\n\nclass T(unittest.TestCase):\n    def test_it(self):\n"
    "        self.assertEqual(lib.f(), 1)\n\nif __name__ == '__main__':\n    unittest.main()\n",
    "loops": "import pytest, lib\n\n@pytest.mark.parametrize('x', [1, 2])\ndef test_it(x):\n    for _ in range(2):\n"
    "        if x == 1:\n            return\n    with pytest.raises(ZeroDivisionError):\n        1 / 0\n",
    "helpers": "import lib\n\ndef test_it():\n    def one():\n        return 1\n    assert one() == lib.f()\n",
    "script": "import lib\nassert lib.f() == 1\nprint('ok')\n",
    "main": "import sys, lib\n\ndef main():\n    return 0 if lib.f() == 1 else 1\n\nif __name__ == '__main__':\n"
    "    sys.exit(main())\n",
    "exits": "import lib\nif lib.f() == 1:\n    raise SystemExit(0)\nexit(1)\n",
    "called": "import lib\n\ndef test_it():\n    assert lib.f() == 1\n\nif __name__ == '__main__':\n    try:\n"
    "        test_it()\n    except AssertionError:\n        print('FAILED')\n        exit(1)\n    exit(0)\n",
}


def test_controls_fail_where_their_tests_pass(tmp_path: Path) -> None:
    python = f"{sys.executable} -B"
    for kind, command in (
        ("runner", python + " -m pytest -q test_{name}.py"),
        ("script", python + " test_{name}.py >/dev/null 2>&1"),
    ):
        for control in (False, True):
            folder = tmp_path / f"{kind}-{control}"
            folder.mkdir()
            (folder / "lib.py").write_text("def f():\n    return 1\n")
            for name, text in TESTS.items():
                files: dict[str, str] | None = {f"test_{name}.py": text}
                if control:
                    files = control_files(command.format(name=name), files or {})
                    assert files is not None
                (folder / f"test_{name}.py").write_text(files[f"test_{name}.py"])

    def exit_code(command: str, folder: str) -> int:
        environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(["bash", "-c", command], cwd=tmp_path / folder, env=environment).returncode

    for name in TESTS:
        assert exit_code(f"{python} test_{name}.py", "script-False") == 0
        assert exit_code(f"{python} test_{name}.py", "script-True") not in (0, 5)
    names = " ".join(f"test_{name}.py" for name, text in TESTS.items() if "def test_it" in text)
    assert exit_code(f"{python} -m pytest -q {names}", "runner-False") == 0
    assert exit_code(f"{python} -m pytest -q --junitxml=report.xml {names}", "runner-True") == 1
    report = (tmp_path / "runner-True" / "report.xml").read_text()
    assert re.findall(r'errors="(\d+)" failures="(\d+)" skipped="0" tests="(\d+)"', report) == [("0", "6", "6")]


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("python a.py | grep -q ok", {"a.py": "print('ok')"}),
        ("python a.py || true", {"a.py": "x = 1"}),
        ("! python a.py", {"a.py": "raise SystemExit(1)"}),
        ("test $(python a.py) = 1", {"a.py": "print(1)"}),
        ("node a.js", {"a.js": "process.exit(0)"}),
        ("python -c 'import calc'", {}),
        ("python a.py", {"a.py": "print 'of Python 2'"}),
        ("python a.py", {"a.py": "x = " + "(" * 90_000}),
        ("python a.py", {"a.py": "x = " + "-" * 90_000 + "1"}),
        ("python a.py", {"a.py": "x = a" + ".a" * 45_000}),
        ("python a.py", {"a.py": "x = '\0'"}),
    ],
)
def test_no_control_where_it_would_not_be_certain(command: str, files: dict[str, str]) -> None:
    assert control_files(command, files) is None
