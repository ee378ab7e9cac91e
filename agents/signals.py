"""What a finished attempt shows of its chances, without any knowledge of the hidden tests.

A signal is a number with a name; NaN means that the attempt does not say. A new one is a function and a line in
SIGNALS. What is relative to a model's own history is computed where the history is, in `router.signals`.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from agents.attempt import Attempt

NAN = math.nan

_TEST_COMMAND = re.compile(
    r"\b(?:pytest|py\.test|nosetests|tox|nox|unittest|runtests?(?:\.py|\.sh)?|manage\.py\s+test|bin/test|setup\.py\s+test"
    r"|npm\s+(?:run\s+)?test|go\s+test|cargo\s+test|make\s+(?:check|test))\b"
)
_FAILED = re.compile(r"\b[1-9]\d* (?:failed|errors?)\b|^FAILED\b|^ERROR\b|^test result: FAILED", re.MULTILINE)
_PASSED = re.compile(r"\b[1-9]\d* passed\b|^OK\b|^test result: ok\b|^ok\s", re.MULTILINE)
_TEST_PATH = re.compile(r"(?:^|/)(?:tests?|testing)(?:/|$)|(?:^|/)(?:test_[^/]*|[^/]*_tests?|conftest|tests)\.\w+$")


@dataclass(frozen=True)
class Finished:
    """An attempt with what is read of its trajectory."""

    attempt: Attempt

    @cached_property
    def commands(self) -> list[Command]:
        """Every command with what came of it, in order."""
        return read_commands(self.attempt.trajectory)


@dataclass(frozen=True)
class Command:
    """One command of an agent."""

    command: str
    returncode: int | None
    output: str

    def tests_passed(self) -> float:
        """1 or 0 for a run of tests, NaN for another command or one whose result cannot be read.

        What the runner prints counts before the return code, which a pipe into `tail` hides.
        """
        if not _TEST_COMMAND.search(self.command):
            return NAN
        if _FAILED.search(self.output):
            return 0.0
        if _PASSED.search(self.output):
            return 1.0
        if self.returncode and self.returncode != 5:  # pytest's "no tests collected" says nothing
            return 0.0
        return NAN


def read_commands(trajectory: Path) -> list[Command]:
    """Every command of a trajectory file in order; none when it is absent or damaged."""
    try:
        data = json.loads(trajectory.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    requested: dict[str, str] = {}
    commands: list[Command] = []
    for message in (data.get("messages") if isinstance(data, dict) else None) or ():
        extra = message.get("extra") or {}
        for action in extra.get("actions") or ():
            requested[str(action.get("tool_call_id"))] = str(action.get("command", ""))
        if "returncode" in extra:
            commands.append(
                Command(
                    command=requested.get(str(message.get("tool_call_id")), ""),
                    returncode=extra["returncode"],
                    output=str(extra.get("raw_output", "")),
                )
            )
    return commands


def own_tests_passed(finished: Finished) -> float:
    """Whether the agent's last run of tests passed; NaN when there was none that says so."""
    results = [result for command in finished.commands if not math.isnan(result := command.tests_passed())]
    return results[-1] if results else NAN


def failed_commands(finished: Finished) -> float:
    """Share of the agent's commands that ended with an error."""
    codes = [command.returncode for command in finished.commands]
    return sum(code != 0 for code in codes) / len(codes) if codes else NAN


SIGNALS: dict[str, Callable[[Finished], float]] = {
    "submitted": lambda f: float(f.attempt.exit_status == "Submitted"),
    "calls": lambda f: f.attempt.api_calls,
    "cost_usd": lambda f: f.attempt.cost_usd,
    "prompt_tokens": lambda f: f.attempt.prompt_tokens,
    "completion_tokens": lambda f: f.attempt.completion_tokens,
    "seconds": lambda f: f.attempt.seconds,
    "patch_present": lambda f: float(bool(f.attempt.patch.strip())),
    "patch_bytes": lambda f: len(f.attempt.patch.encode()),
    "patch_lines": lambda f: len(changed_lines(f.attempt.patch)),
    "patch_files": lambda f: len(changed_files(f.attempt.patch)),
    "tests_touched": lambda f: sum(is_test(path) for path in changed_files(f.attempt.patch)),
    "own_tests_passed": own_tests_passed,
    "failed_commands": failed_commands,
}
"""Signal by name. A reader of signals must bear names it does not know and names that are missing."""


def extract(attempt: Attempt, names: Sequence[str] = tuple(SIGNALS)) -> dict[str, float]:
    """The named signals of a finished attempt, and what was measured in its container (`attempt.measured`)."""
    finished = Finished(attempt)
    return {name: float(SIGNALS[name](finished)) for name in names} | dict(attempt.measured)


# ---- patches ----


def changed_files(patch: str) -> list[str]:
    """Paths that a patch changes, each once, in order."""
    paths = re.findall(r"^diff --git a/(?:.*?) b/(.*)$", patch, re.MULTILINE)
    paths += re.findall(r"^\+\+\+ b/(.*?)(?:\t.*)?$", patch, re.MULTILINE)
    return list(dict.fromkeys(path.strip() for path in paths))


def changed_lines(patch: str) -> list[str]:
    """Added and removed lines with their sign; white space is evened out and blank lines are left out."""
    signed = (line for line in patch.splitlines() if line.startswith(("+", "-")))
    lines = (line for line in signed if not line.startswith(("+++ ", "--- ")))
    evened = (line[0] + " ".join(line[1:].split()) for line in lines)
    return [line for line in evened if len(line) > 1]


def is_test(path: str) -> bool:
    """Whether a path looks like a test's."""
    return _TEST_PATH.search(path) is not None


# ---- the repository's existing tests near the change ----

Execute = Callable[[str], tuple[int, str]]
"""Runs a shell command in the repository and returns its return code and output."""

NEAR = 8
"""Test files that are run at most."""


def run_neighbour_tests(execute: Execute, patch: str) -> float:
    """Whether the existing tests near a patch's files still pass: 1, 0, or NaN when there are none to be run.

    Near is a file `test_<name>.py` (or `<name>_test.py`), and the tests in the folder beside a changed file where no
    file bears its name. Only files of the base commit count: the agent's own new tests say what it believed, and tests
    that it changed are left out. `execute` works where the agent did, with its change in place.
    """
    changed = changed_files(patch)
    sources = [PurePosixPath(path) for path in changed if path.endswith(".py") and not is_test(path)]
    if not sources:
        return NAN
    code, listing = execute("git ls-tree -r --name-only HEAD")
    if code != 0:
        return NAN
    own = set(changed)
    tests = [path for path in listing.splitlines() if path.endswith(".py") and is_test(path) and path not in own]
    near = _near(sources, tests)[:NEAR]
    if not near:
        return NAN
    code, output = execute(f"python -m pytest -q -x -p no:cacheprovider {shlex.join(near)} 2>&1 | tail -n 40")
    return Command(command="pytest", returncode=code, output=output).tests_passed()


def _near(sources: Sequence[PurePosixPath], tests: Sequence[str]) -> list[str]:
    """The tests of each source's name, else those in the folder beside it, each once.

    Tests are looked up, not searched: a patch may change any number of files.
    """
    by_name: dict[str, list[str]] = {}
    by_folder: dict[str, list[str]] = {}
    for path in tests:
        by_name.setdefault(PurePosixPath(path).name, []).append(path)
        by_folder.setdefault(str(PurePosixPath(path).parent), []).append(path)
    near: dict[str, None] = {}
    for source in sources:
        names = (f"test_{source.stem}.py", f"{source.stem}_test.py", f"test_{source.parent.name}.py")
        folders = (str(source.parent / "tests"), str(source.parent / "test"))
        paths = [path for name in names for path in by_name.get(name, ())]
        near |= dict.fromkeys(paths or [path for folder in folders for path in by_folder.get(folder, ())])
    return list(near)
