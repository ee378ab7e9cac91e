"""The repository's existing tests: which test files mention the changed code most, and how they are run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from agents.container.host import DockerHost
from agents.evidence.issue_tests import MAX_FILE_BYTES, IssueTest, is_safe
from agents.evidence.run import UNPATCHED, Result, TestRuns
from agents.evidence.tree import Tree
from agents.runner import AgentConfig, container_config
from agents.signals import is_test

FILES = 3
"""Test files of an instance that are run at most."""
MAX_SYMBOLS = 60
"""Changed symbols that are looked for at most."""
MAX_LINE = 500
"""Characters of a patch's line that are looked at."""

_DEFINED = re.compile(
    r"\b(?:def|class|func|function|fn|struct|interface|trait|enum|module)[ \t]{1,9}([A-Za-z]\w{2,80})\b"
)
_TEST_FILE = re.compile(r"(?:test_.*|.*_tests?|tests?)\.py")

_LOOK = """
cd "$1" || exit 1; shift
git() { command git -c safe.directory="*" "$@"; }
[ ! -f tests/runtests.py ] || echo runner django
[ ! -f bin/test ] || echo runner sympy
for symbol; do
    git grep -l -I -w -F -e "$symbol" -- '*.py' | sed "s/^/$symbol /"
done
exit 0
"""
_SHOW = 'cd "$1" && git -c safe.directory="*" show "HEAD:$2"'
_PYTHON = "for name in python python3; do $name -c '' 2> /dev/null && echo found $name && break; done"

_COMMANDS = {
    "django": "{python} tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1 {label}",
    "sympy": "{python} bin/test -C --verbose {path}",
    "pytest": "{python} -m pytest -q -rpfE --tb=short -p no:cacheprovider {path}",
    "unittest": "{python} -m unittest -v {path}",
}
"""Commands that make each runner name the tests that pass."""


def find_existing_tests(
    patches: Iterable[str],
    *,
    image: str,
    agent: AgentConfig,
    labels: Mapping[str, str],
    host: DockerHost | None = None,
) -> list[IssueTest]:
    """The few existing test files that mention what the patches change, as tests for `run_tests`.

    A file's weight is the sum over the changed symbols that it mentions of 1 / (1 + number of test files that mention
    it). The files are the base commit's, whatever a patch does to them. None where the image offers no known runner.

    Args:
        patches: Of all finished attempts of the instance: their files are the same for all of them.
        image: The instance's image.
        agent: How agents' containers are set up.
        labels: Docker labels of the container.
        host: The Docker Engine, to be shared by the containers of a process.

    Raises:
        ContainerError: As `run_tests`.
    """
    symbols = changed_symbols(patches)
    if not symbols:
        return []
    config = container_config(image, agent, labels).model_copy(update={"network": "none"})
    with Tree(config, host=host) as tree:
        lines = (tree.script(_LOOK, *symbols) or "").split("\n")
        python = tree.run(_PYTHON, {}, timeout=60).output.split()
        if "found" not in python:
            return []
        command_python = python[python.index("found") + 1]
        runner = next((line.split()[1] for line in lines if line.startswith("runner ")), "")
        if not runner:
            has_pytest = tree.run(f"{command_python} -m pytest --version", {}, timeout=60).exit_code == 0
            runner = "pytest" if has_pytest else "unittest"
        tests = []
        for path in most_mentioning(lines, runner):
            text = tree.script(_SHOW, path)
            if text is None or "\ufffd" in text or len(text) > 10 * MAX_FILE_BYTES:
                continue
            label = path.removeprefix("tests/").removesuffix(".py").replace("/", ".")
            command = _COMMANDS[runner].format(python=command_python, path=shlex.quote(path), label=shlex.quote(label))
            tests.append(IssueTest(name=path, source="existing", command=command, files={path: text}, runner=runner))
    return tests


def changed_symbols(patches: Iterable[str]) -> list[str]:
    """Names of classes and functions in or beside changed lines, and of changed modules; each once, bounded.

    A hunk's header names what encloses it. Tests that a patch changes do not count.
    """
    symbols: dict[str, None] = {}
    for patch in patches:
        is_source = False
        for line in patch.split("\n"):
            if line.startswith("+++ "):
                path = PurePosixPath(line[4:].split("\t", 1)[0][:MAX_LINE].removeprefix("b/"))
                is_source = not is_test(str(path)) and path.suffix not in (".md", ".rst", ".txt")
                if is_source and re.fullmatch(r"[A-Za-z]\w{2,80}", path.stem):
                    symbols[path.stem] = None
            elif is_source and line.startswith(("@@", "+", "-", " ")):
                symbols |= dict.fromkeys(_DEFINED.findall(line[:MAX_LINE]))
    return list(symbols)[:MAX_SYMBOLS]


def most_mentioning(lines: Sequence[str], runner: str) -> list[str]:
    """The test files of the greatest weight, from lines `SYMBOL PATH`; ties in order of path."""
    mentioned: dict[str, list[str]] = {}
    for line in lines:
        symbol, _, path = line.partition(" ")
        is_runnable = runner != "django" or path.startswith("tests/")
        if is_runnable and symbol != "runner" and is_safe(path) and _TEST_FILE.fullmatch(path.rsplit("/", 1)[-1]):
            mentioned.setdefault(symbol, []).append(path)
    weights: dict[str, float] = {}
    for paths in mentioned.values():
        for path in paths:
            weights[path] = weights.get(path, 0.0) + 1 / (1 + len(paths))
    return sorted(weights, key=lambda path: (-weights[path], path))[:FILES]


def broken_tests(tests: Iterable[IssueTest], runs: TestRuns, patch: str) -> list[str] | None:
    """Names of the existing tests that pass before a patch, both times, and not with it; None where no result says it.

    A test file whose runner does not name its tests counts as one test. A test that passes with the patch also where it
    was changed so that it has to fail, as it does not without a patch, does not count as passing.
    """
    run = runs.of_patch(patch)
    if run is None or not run.applies:
        return None
    broken: list[str] = []
    known = False
    for test in tests:
        results = [runs.trees[name].results.get(test.key) for name in UNPATCHED if name in runs.trees]
        unpatched = [result for result in results if result is not None]
        before = [_passing(test, result) for result in unpatched]
        after = run.results.get(test.key)
        if len(before) < len(UNPATCHED) or after is None or not (passing := set.intersection(*before)):
            continue
        known = True
        left = passing if after.status == "passed" else passing & _passing(test, after)
        broken += sorted(passing - (left - _faked(test, passing, after, unpatched)))
    return broken if known else None


def _faked(test: IssueTest, passing: set[str], after: Result, unpatched: Sequence[Result]) -> set[str]:
    """Those of the tests that pass with a patch also where they were changed so that they have to fail.

    Those that do so without a patch as well are no fakes: a class may inherit its tests from another file.
    """
    controls = [result.control for result in unpatched if result.control is not None]
    if after.control is None or len(controls) < len(unpatched):
        return set()
    if passes_by_force(after, unpatched):
        return passing  # whatever it names, nothing of it has failed
    return _passing(test, after.control).difference(*(_passing(test, control) for control in controls))


def passes_by_force(after: Result, unpatched: Sequence[Result]) -> bool:
    """Whether a test file passes with a patch also where its tests were changed so that they have to fail.

    Without the patch it must not: else the change does not reach the file's tests.
    """
    fails_unpatched = all(result.control is not None and result.control.status != "passed" for result in unpatched)
    return after.control is not None and after.control.status == "passed" and fails_unpatched


def _passing(test: IssueTest, result: Result) -> set[str]:
    """The tests of an existing test file that pass; the file itself where its runner names none."""
    if result.passed is not None:
        # sympy's runner names the functions alone, and two files may have functions of one name
        return {f"{test.name}::{name}" if test.runner == "sympy" else name for name in result.passed}
    return {test.name} if result.status == "passed" else set()


def existing_test_signals(
    tests: Sequence[IssueTest],
    runs: TestRuns,
    patches: Mapping[str, str],
    obsolete: Mapping[str, bool] | None = None,
) -> dict[str, dict[str, float]]:
    """Attempt → `existing_broken`, and `existing_obsolete` where a judge was asked; neither where no result says it.

    Args:
        tests: What `find_existing_tests` found.
        runs: Their results.
        patches: Attempt → patch.
        obsolete: Name of a broken test → whether the judge says that the issue changes its expectation.
    """
    signals: dict[str, dict[str, float]] = {}
    for attempt, patch in patches.items():
        broken = broken_tests(tests, runs, patch)
        signals[attempt] = {} if broken is None else {"existing_broken": float(len(broken))}
        if broken is not None and obsolete is not None:
            signals[attempt]["existing_obsolete"] = float(sum(obsolete.get(name, False) for name in broken))
    return signals
