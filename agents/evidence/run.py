"""Run tests on an instance's unpatched repository and on its attempts' patches."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from agents.container.config import ContainerConfig
from agents.container.host import DockerHost
from agents.evidence.control import control_files
from agents.evidence.issue_tests import IssueTest
from agents.evidence.outputs import passed_tests
from agents.evidence.tree import Ran, Tree
from agents.runner import AgentConfig, container_config

UNPATCHED = ("unpatched", "unpatched again")
"""The trees without a patch: a test whose results differ between the two depends on chance."""

OUTPUT_TAIL = 10_000
"""Characters of a test's output that are kept: its end."""

Status = Literal["passed", "failed", "timed out", "faked", "refused"]
"""`faked`: the test passed, and so did its control, which has to fail. `refused`: its files would replace existing
ones, or it changes files of the repository. A test that ended its container or was ended with it has failed."""


class Result(BaseModel):
    """What came of one test in one tree."""

    model_config = ConfigDict(frozen=True)

    status: Status
    seconds: float
    output: str
    """Its end."""
    passed: tuple[str, ...] | None = None
    """Of an existing test file: names of its tests that passed; None where the output does not name them."""
    control: Result | None = None
    """Of an existing test file: what came of it when its tests were changed so that they have to fail; None where it
    cannot be changed so."""


class TreeRun(BaseModel):
    """The results in one tree."""

    applies: bool = True
    """Whether the patch applies in one of the official harness' ways."""
    results: dict[str, Result] = {}
    """By the tests' keys."""


class TestRuns(BaseModel):
    """Results by tree and test, each under what it depends on: nothing is run twice, and JSON keeps it."""

    __test__: ClassVar[bool] = False  # it is no test class of pytest's

    trees: dict[str, TreeRun] = {}
    """By the patches' keys; the trees without a patch by UNPATCHED."""
    seconds: float = 0.0
    """Seconds that all of it took."""

    def of_patch(self, patch: str) -> TreeRun | None:
        """What is known of a patch."""
        return self.trees.get(patch_key(patch))


def patch_key(patch: str) -> str:
    """Names a patch by its content."""
    return hashlib.sha256(patch.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def run_tests(
    tests: Sequence[IssueTest],
    patches: Iterable[str],
    *,
    image: str,
    agent: AgentConfig,
    timeout: float,
    labels: Mapping[str, str],
    host: DockerHost | None = None,
    known: TestRuns | None = None,
    on_tree: Callable[[TestRuns], None] | None = None,
) -> TestRuns:
    """Run every test twice on the unpatched repository and once on each patch, each tree in a fresh container.

    Tests' files are put over the patch's, and removed before the next test. A pass on a patch counts only if the test's
    control, where it has one, fails there.

    Args:
        tests: What is run; those of `known` in the same trees are not run again.
        patches: The attempts' patches; equal ones are one tree. An empty one does not apply.
        image: The instance's image.
        agent: How agents' containers are set up; tests have the same, always without network.
        timeout: Seconds after which a test is killed.
        labels: Docker labels of the containers, by which leftovers of a killed run are found.
        host: The Docker Engine, to be shared by the containers of a process.
        known: Earlier results of the instance.
        on_tree: Receives all results after each tree that something was run in, to keep them.

    Raises:
        ContainerError: An image is missing, or a container was ended from outside, or the engine does not answer.
    """
    config = container_config(image, agent, labels).model_copy(update={"network": "none"})
    runs = known.model_copy(deep=True) if known else TestRuns()
    runnable = list(tests)
    trees: dict[str, str | None] = dict.fromkeys(UNPATCHED) | {patch_key(patch): patch for patch in patches}
    for name, patch in trees.items():
        started = time.monotonic()
        tree_run = runs.trees.get(name) or TreeRun()
        missing = [test for test in runnable if tree_run.applies and test.key not in tree_run.results]
        if missing or name not in runs.trees:
            tree_run = _run_tree(config, patch, before=tree_run, tests=missing, timeout=timeout, host=host)
            runs.trees[name] = tree_run if patch is None else _without_new_names(tree_run, runs.trees[UNPATCHED[0]])
            runs.seconds += time.monotonic() - started
            if on_tree:
                on_tree(runs)
        if name == UNPATCHED[0]:
            # what passes already, or must not be run, says nothing about a patch
            runnable = [test for test in tests if _is_useful(test, runs.trees[name].results[test.key])]
    return runs


def _without_new_names(tree: TreeRun, unpatched: TreeRun) -> TreeRun:
    """The same with names of those tests alone that pass without a patch: a patch can print as many as it likes."""

    def shortened(result: Result, names: Collection[str]) -> Result:
        passed = None if result.passed is None else tuple(name for name in result.passed if name in names)
        control = None if result.control is None else shortened(result.control, names)
        return result.model_copy(update={"passed": passed, "control": control})

    before = unpatched.results
    results = {
        key: shortened(result, set(before[key].passed or ())) if key in before else result
        for key, result in tree.results.items()
    }
    return tree.model_copy(update={"results": results})


def _is_useful(test: IssueTest, unpatched: Result) -> bool:
    """Whether a test can tell patches apart, given its result in the unpatched repository."""
    if test.runner:
        return unpatched.status == "passed" if unpatched.passed is None else bool(unpatched.passed)
    return unpatched.status in ("failed", "timed out")


def _run_tree(
    config: ContainerConfig,
    patch: str | None,
    *,
    before: TreeRun,
    tests: Sequence[IssueTest],
    timeout: float,
    host: DockerHost | None,
) -> TreeRun:
    """The results in one tree, those from before included."""
    if patch is not None and not patch.strip():
        return TreeRun(applies=False)
    with Tree(config, patch, host=host) as tree:
        if not tree.applies():
            return TreeRun(applies=False)
        results = {test.key: _run_test(tree, test, timeout) for test in tests}
    return TreeRun(results=before.results | results)


def _run_test(tree: Tree, test: IssueTest, timeout: float) -> Result:
    if tree.patch is None and not test.runner and tree.has_any(test.files):
        return Result(status="refused", seconds=0, output="the test's files would replace existing ones")
    ran = tree.run(test.command, test.files, timeout, keep_files=bool(test.runner))
    if tree.patch is None and not test.runner and ran.changed_repository:  # such as a script that an agent edited with
        return Result(status="refused", seconds=ran.seconds, output="the test changes files of the repository")
    status: Status = "passed" if ran.exit_code == 0 else "timed out" if ran.timed_out else "failed"
    seconds = ran.seconds
    passed, control = _passed(test, ran), None
    if passed or (status == "passed" and (test.runner or tree.patch is not None)):
        changed = control_files(test.command, test.files)
        if changed is not None:
            checked = tree.run(test.command, changed, timeout, keep_files=bool(test.runner))
            seconds += checked.seconds
            if test.runner:
                control = Result(
                    status="passed" if checked.exit_code == 0 else "failed",
                    seconds=checked.seconds,
                    output="",
                    passed=_passed(test, checked),
                )
            elif checked.exit_code == 0:
                status = "faked"
    output = ran.output[-OUTPUT_TAIL:]
    return Result(status=status, seconds=seconds, output=output, passed=passed, control=control)


def _passed(test: IssueTest, ran: Ran) -> tuple[str, ...] | None:
    """Names of the tests in an existing test file that passed; None where only the exit status is known."""
    names = tuple(passed_tests(test.runner, ran.output)) if test.runner else ()
    return None if not test.runner or (not names and ran.exit_code == 0) else names
