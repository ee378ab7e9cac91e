"""From results of tests to signals of attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.evidence.issue_tests import IssueTest
from agents.evidence.run import UNPATCHED, TestRuns


def valid_tests(tests: Sequence[IssueTest], runs: TestRuns, patches: Mapping[str, str]) -> list[IssueTest]:
    """The tests that fail on the unpatched repository, both times alike, and pass with at least one attempt."""
    passed = {key for patch in patches.values() for key in _passed(runs, patch)}
    return [test for test in tests if not test.runner and _fails_unpatched(runs, test) and test.key in passed]


def issue_test_signals(
    tests: Sequence[IssueTest], runs: TestRuns, patches: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Attempt → `tests_fixed`, `tests_valid`, `own_tests_fixed`, `tests_faked` and `patch_applies`.

    Args:
        tests: Writers' tests and attempts' own ones.
        runs: Their results.
        patches: Attempt → patch, of all finished attempts of the instance. An attempt's own tests bear its name as
            their `source`, and say nothing about it.
    """
    valid = valid_tests(tests, runs, patches)
    signals = {}
    for attempt, patch in patches.items():
        passed = _passed(runs, patch)
        run = runs.of_patch(patch)
        faked = {key for key, result in run.results.items() if result.status == "faked"} if run else set()
        signals[attempt] = {
            "tests_valid": float(len(valid)),
            "tests_fixed": float(sum(test.key in passed for test in valid if not test.own)),
            "own_tests_fixed": float(sum(test.key in passed for test in valid if test.own and test.source != attempt)),
            "tests_faked": float(sum(test.key in faked for test in tests)),
            "patch_applies": float(run is not None and run.applies),
        }
    return signals


def _passed(runs: TestRuns, patch: str) -> set[str]:
    """Keys of the tests that pass with a patch."""
    run = runs.of_patch(patch)
    return {key for key, result in run.results.items() if result.status == "passed"} if run else set()


def _fails_unpatched(runs: TestRuns, test: IssueTest) -> bool:
    """Whether a test fails without a patch for certain."""
    results = [runs.trees[name].results.get(test.key) for name in UNPATCHED if name in runs.trees]
    statuses = {result.status if result else None for result in results}
    return len(results) == len(UNPATCHED) and len(statuses) == 1 and statuses <= {"failed", "timed out"}
