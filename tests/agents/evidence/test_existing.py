"""The repository's existing tests, before and after patches, and what a judge says of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agents.evidence.existing import (
    broken_tests,
    changed_symbols,
    existing_test_signals,
    find_existing_tests,
    most_mentioning,
)
from agents.evidence.issue_tests import IssueTest
from agents.evidence.judge import MARKER, QUESTIONS, Question, judge, questions, read_answer
from agents.evidence.outputs import passed_tests
from agents.evidence.run import UNPATCHED, Result, TestRuns, TreeRun, patch_key, run_tests
from agents.pool import ModelConfig
from agents.runner import AgentConfig

if TYPE_CHECKING:
    from tests.agents.conftest import FaultyServer

SHOP = """\
def total(items):
    return sum(items) - 1


def average(items):
    return total(items) / len(items)
"""
FILES = {
    "shop.py": SHOP,
    "tests/test_total.py": "from shop import total\n\ndef test_of_one():\n    assert total([2]) == 1\n\n"
    "def test_of_none():\n    assert total([]) == -1\n",
    "tests/test_average.py": "from shop import average\n\ndef test_average():\n    assert average([2, 2]) == 1.5\n\n"
    "def test_failing():\n    assert average([1]) == 7\n",
    "tests/test_other.py": "import json\n\ndef test_other():\n    assert json\n",
    "other.py": "x = 1\n",
}


@pytest.fixture(scope="module")
def shop_image(image: str) -> Iterator[str]:
    """An image of a repository with tests."""
    name = image.replace("polyswe-agents-test", "polyswe-evidence-test")
    lines = [f"FROM {image}", "RUN mkdir -p tests && git rm -q calc.py"]
    for path, text in FILES.items():
        lines.append(f"RUN printf '%b' {json.dumps(text.replace(chr(10), chr(92) + 'n'))} > {path}")
    lines.append("RUN git add -A && git commit -q -m shop")
    built = subprocess.run(
        ["docker", "build", "-q", "--network", "none", "-t", name, "-"],
        input="\n".join(lines), text=True, capture_output=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-300:]
    yield name
    subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=True)


def patched(old: str, new: str) -> str:
    """A patch of the function `total` of shop.py."""
    return (
        "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1,3 +1,3 @@\n def total(items):\n"
        f"-{old}\n+{new}\n \n"
    )


RIGHT = patched("    return sum(items) - 1", "    return sum(items)")
HARMLESS = patched("    return sum(items) - 1", "    return -1 + sum(items)")
BROKEN = patched("    return sum(items) - 1", "    return undefined")
NAMES = ("tests/test_total.py::test_of_one", "tests/test_total.py::test_of_none", "tests/test_average.py::test_average")
PRINTING = patched(
    "    return sum(items) - 1",
    f"    [print('PASSED', name) for name in (*{NAMES}, *range(20_000))]; return undefined",
)
QUITTING = patched("    return sum(items) - 1", "    import os; os._exit(0)")
HIDING = RIGHT + (
    "diff --git a/tests/test_total.py b/tests/test_total.py\n--- a/tests/test_total.py\n+++ b/tests/test_total.py\n"
    "@@ -1,7 +1,1 @@\n-from shop import total\n-\n-def test_of_one():\n-    assert total([2]) == 1\n-\n"
    "-def test_of_none():\n-    assert total([]) == -1\n+def test_nothing(): pass\n"
)


@pytest.mark.docker
@pytest.mark.slow
def test_existing_tests_that_a_patch_breaks_are_counted(
    shop_image: str, labels: dict[str, str], faulty: FaultyServer
) -> None:
    agent = AgentConfig()
    patches = {
        "right": RIGHT, "harmless": HARMLESS, "broken": BROKEN, "hiding": HIDING, "lost": "no patch",
        "printing": PRINTING, "quitting": QUITTING,
    }  # fmt: skip
    tests = find_existing_tests(patches.values(), image=shop_image, agent=agent, labels=labels)
    assert [test.name for test in tests] == ["tests/test_total.py", "tests/test_average.py"]
    runs = run_tests(tests, patches.values(), image=shop_image, agent=agent, timeout=60, labels=labels)
    assert len(runs.model_dump_json()) < 200_000, "no patch fills the record with names that it prints"
    assert broken_tests(tests, runs, BROKEN) == [
        "tests/test_total.py::test_of_none",
        "tests/test_total.py::test_of_one",
        "tests/test_average.py::test_average",
    ]
    signals = existing_test_signals(tests, runs, patches, {"tests/test_total.py::test_of_one": True})
    assert {name: found.get("existing_broken") for name, found in signals.items()} == {
        "right": 3, "harmless": 0, "broken": 3, "hiding": 3, "lost": None, "printing": 3, "quitting": 3
    }  # fmt: skip
    assert {name: found.get("existing_obsolete") for name, found in signals.items()} == {
        "right": 1, "harmless": 0, "broken": 1, "hiding": 1, "lost": None, "printing": 1, "quitting": 1
    }  # fmt: skip
    assert existing_test_signals(tests, runs, patches)["right"] == {"existing_broken": 3}

    first, *_ = asked = questions(tests, runs, patches.values())
    assert [question.name for question in asked] == sorted(broken_tests(tests, runs, BROKEN) or ())
    assert first.source == "def test_average():\n    assert average([2, 2]) == 1.5"
    assert "assert 2.0 == 1.5" in first.output
    assert "assert 2 == 1" in asked[2].output.split("\n____", 1)[0], "each question begins with its own failure"
    faulty.faults = [lambda handler: handler.answer(200, answered("It does.\nANSWER: **yes**"))]
    model = ModelConfig(
        name="judge", model="openai/m", api_base=faulty.url, scripted=True,
        input_cost_per_token=1e-5, output_cost_per_token=1e-4,
    )  # fmt: skip
    judgement = judge("totals are one too small", first, model)
    assert judgement.obsolete
    assert judgement.cost_usd == pytest.approx(100 * 1e-5 + 10 * 1e-4)
    sent = faulty.requests[0]["messages"][-1]["content"]
    assert sent.startswith(MARKER)
    assert all(part in sent for part in ("totals are one too small", first.name, first.source, first.output))


def answered(text: str) -> dict[str, Any]:
    return {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "obsolete"),
    [
        ("ANSWER: yes", True),
        ("ANSWER: yes … no:\nANSWER: no", False),
        ("answer: Yes.", True),
        ("yes", False),
        ("", False),
    ],
)
def test_answers_are_read_from_replies(reply: str, obsolete: bool) -> None:
    assert read_answer(reply) is obsolete


def test_a_runner_that_names_no_tests_counts_by_file_and_chance_is_left_out() -> None:
    by_file = IssueTest("tests/a.py", "existing", "run a", {"tests/a.py": "x"}, runner="unittest")
    chance = IssueTest("tests/b.py", "existing", "run b", {"tests/b.py": "x"}, runner="pytest")

    def tree(a: str, *b: str) -> TreeRun:
        a_ran = Result(status=a, seconds=1, output="", passed=None)  # type: ignore[arg-type]
        return TreeRun(
            results={by_file.key: a_ran, chance.key: Result(status="failed", seconds=1, output="", passed=b)}
        )

    trees = {UNPATCHED[0]: tree("passed", "x", "y"), UNPATCHED[1]: tree("passed", "y")}
    runs = TestRuns(trees=trees | {patch_key("p"): tree("failed"), patch_key("q"): tree("passed", "y")})
    assert broken_tests([by_file, chance], runs, "p") == ["tests/a.py", "y"]
    assert broken_tests([by_file, chance], runs, "q") == []
    assert broken_tests([], runs, "q") is None
    sympy = replace(chance, runner="sympy")
    named = TestRuns(
        trees={name: TreeRun(results={sympy.key: tree.results[chance.key]}) for name, tree in trees.items()}
    )
    named.trees[patch_key("p")] = TreeRun(results={sympy.key: Result(status="failed", seconds=1, output="", passed=())})
    assert broken_tests([sympy], named, "p") == ["tests/b.py::y"]
    many = [f"t{n}" for n in range(30)]
    trees = dict.fromkeys(UNPATCHED, tree("passed", *many)) | {patch_key("p"): tree("passed")}
    assert len(questions([chance], TestRuns(trees=trees), ["p"])) == QUESTIONS
    assert questions([chance], TestRuns(trees=trees), ["p"])[0] == Question("t0", "x", "")


def test_what_passes_by_force_is_broken_and_what_no_control_reaches_is_not() -> None:
    test = IssueTest("tests/a.py", "existing", "run a", {"tests/a.py": "x"}, runner="pytest")

    def tree(status: str, names: str, control: Result | None) -> TreeRun:
        ran = Result(status=status, seconds=1, output="", passed=tuple(names), control=control)  # type: ignore[arg-type]
        return TreeRun(results={test.key: ran})

    def control(status: str, names: str) -> Result:
        return Result(status=status, seconds=1, output="", passed=tuple(names))  # type: ignore[arg-type]

    # `i` is inherited from another file, which the control does not change
    before = dict.fromkeys(UNPATCHED, tree("failed", "abi", control("failed", "i")))
    patches = {
        "honest": tree("failed", "abi", control("failed", "i")),
        "prints": tree("failed", "abi", control("failed", "bi")),
        "quits": tree("passed", "", control("passed", "")),
        "earlier version": tree("failed", "abi", None),
    }
    runs = TestRuns(trees=before | {patch_key(name): found for name, found in patches.items()})
    assert {name: broken_tests([test], runs, name) for name in patches} == {
        "honest": [], "prints": ["b"], "quits": ["a", "b", "i"], "earlier version": []
    }  # fmt: skip
    without = TestRuns(trees=runs.trees | dict.fromkeys(UNPATCHED, tree("failed", "abi", None)))
    assert broken_tests([test], without, "prints") == []


@pytest.mark.parametrize(
    ("runner", "output", "names"),
    [
        ("pytest", "PASSED t.py::a[x - y]\nFAILED t.py::b - assert 1\nPASSED t.py::a[x - y]\n", ["t.py::a[x - y]"]),
        ("unittest", "test_a (m.T.test_a) ... ok\ntest_b (m.T.test_b) ... FAIL\n", ["test_a (m.T)"]),
        ("django", "test_a (m.T)\nWhat it does ... ok\ntest_b (m.T) ... skipped 'x'\n", ["test_a (m.T)"]),
        ("django", "test_a (m.T) ... printed\nok\ntest_b (m.T) ... ERROR\nok\n", ["test_a (m.T)"]),
        ("sympy", "sympy/a/test_b.py[2]\ntest_a ok\ntest_b F\ntest_c ok      [FAIL]", ["test_a", "test_c"]),
        ("sympy", "ImportError", []),
    ],
)
def test_tests_that_pass_are_read_from_the_runners_output(runner: str, output: str, names: list[str]) -> None:
    assert passed_tests(runner, output) == names


def test_changed_symbols_are_those_of_the_sources() -> None:
    patch = (
        "--- a/pkg/cart.py\n+++ b/pkg/cart.py\n@@ -1,2 +1,3 @@ class Cart(Base):\n def total(self):\n-    x\n+    y\n"
        "--- a/pkg/__init__.py\n+++ b/pkg/__init__.py\n@@ -1 +1 @@ def __getattr__(name):\n-x\n+y\n"
        "--- a/tests/test_cart.py\n+++ b/tests/test_cart.py\n@@ -1 +1 @@ class CartTest:\n-x\n+y\n"
    )
    assert changed_symbols([patch, patch]) == ["cart", "Cart", "total"]


def test_rarely_mentioned_symbols_weigh_more() -> None:
    often = [f"cart tests/test_{name}.py" for name in "abcd"]
    lines = [
        *often,
        "rare tests/test_d.py",
        "rare lib/rare.py",
        "rare tests/data.py",
        "runner django",
        "x ../tests/test_x.py",
    ]
    assert most_mentioning(lines, "pytest") == ["tests/test_d.py", "tests/test_a.py", "tests/test_b.py"]
    assert most_mentioning(["rare pkg/tests/test_d.py"], "django") == []
