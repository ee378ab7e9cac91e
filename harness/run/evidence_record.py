"""What is on record of an instance's evidence: the signals that follow from it, and what a reader has to know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from agents.evidence.existing import existing_test_signals, passes_by_force
from agents.evidence.issue_tests import IssueTest
from agents.evidence.run import UNPATCHED, Result, TestRuns, TreeRun, patch_key
from agents.evidence.signals import issue_test_signals
from harness.store.rows import ATTEMPTED, CellRow, EvidenceRow
from harness.text import counted, line

SIGNALS = (
    "tests_fixed",
    "tests_valid",
    "own_tests_fixed",
    "tests_faked",
    "existing_broken",
    "existing_obsolete",
    "patch_applies",
    "tests_cost_usd",
    "tests_seconds",
)
"""Signals that evidence gives an attempt; those that are unknown are absent."""


def covers(row: EvidenceRow, patches: Mapping[str, str]) -> bool:
    """Whether an instance's evidence was made from these patches (by model), perhaps among others."""
    return bool(row.digest) and all(
        row.content["attempts"].get(model) == patch_key(patch) for model, patch in patches.items()
    )


def evidence_signals(row: EvidenceRow, patches: Mapping[str, str]) -> dict[str, dict[str, float]] | None:
    """Model → signals, as they are when these attempts alone have been made; None where the evidence lacks one.

    A policy decides one attempt after the other: what later attempts showed must not change what it saw.

    Args:
        row: the instance's evidence.
        patches: model → patch of attempts of the instance.
    """
    if not covers(row, patches):
        return None
    tests = [IssueTest(**test) for test in row.content["tests"]]
    tests = [test for test in tests if not test.own or test.source in patches]
    since = row.content["existing_since"]
    existing = [test for test in tests if test.runner and set(since[test.key]) <= patches.keys()]
    runs = TestRuns.model_validate(row.content["runs"])
    judged = None if row.content["judge"] is None else row.content["judged"]
    broken = existing_test_signals(existing, runs, patches, judged)
    shared = {"tests_cost_usd": row.cost_usd, "tests_seconds": row.seconds}
    return {
        model: {**own, **broken[model], **shared} for model, own in issue_test_signals(tests, runs, patches).items()
    }


def describe_evidence(evidence: EvidenceRow | None, row: CellRow) -> str:
    """A cell's signals from tests, and how each test ended: unpatched, with its own patch, with the other attempts'."""
    signals = [f"{name} {row.signals[name]:g}" for name in SIGNALS if name in row.signals]
    if evidence is None or row.attempt > 1:
        return (
            f"{row.cell}: no tests were run on this attempt. `evidence:` in the configuration asks for them; "
            "they run on first attempts that are finished (harness/docs/select-attempts.md)"
        )
    runs = TestRuns.model_validate(evidence.content["runs"])
    attempts: Mapping[str, str] = evidence.content["attempts"]
    order = [row.model, *(model for model in attempts if model != row.model)]
    lines = [f"{row.cell}: {', '.join(signals) or 'no signals from tests'}"]
    for test in (IssueTest(**test) for test in evidence.content["tests"]):
        trees = {"unpatched": runs.trees.get(UNPATCHED[0])} | {
            model: runs.trees.get(attempts[model]) for model in order
        }
        before = [runs.trees[name].results for name in UNPATCHED if name in runs.trees]
        unpatched = [results[test.key] for results in before if test.key in results]
        ends = [f"{name} {_ending(tree, test, unpatched)}" for name, tree in trees.items()]
        origin = f"by the attempt of {test.source}" if test.own else f"by {test.source}"
        lines += [line(f"{test.name} ({origin}): {test.command}"), line(f"  {', '.join(ends)}")]
    if not evidence.content["tests"]:
        lines.append("no tests")
    return "\n".join(lines)


def _ending(tree: TreeRun | None, test: IssueTest, unpatched: Sequence[Result]) -> str:
    if tree is not None and not tree.applies:
        return "does not apply"
    result = tree.results.get(test.key) if tree else None
    if result is None:
        return "not run"
    return "faked" if passes_by_force(result, unpatched) else str(result.status)


def evidence_notes(evidence: Mapping[str, EvidenceRow], rows: Sequence[CellRow], kind: str = "") -> list[str]:
    """What a reader of the results has to know of the evidence on the attempts `rows`; `kind` stands before amounts."""
    instances = {row.instance_id for row in rows if row.state in ATTEMPTED}
    found = [row for name, row in evidence.items() if name in instances and row.digest]
    tests = [test for row in found for test in row.content["tests"]]
    sources = Counter(test["source"] for test in tests if not test["own"] and not test["runner"])
    counts = ", ".join(f"{count} by {source}" for source, count in sorted(sources.items())) or "none"
    cost = sum(row.cost_usd for row in found)
    notes = [
        f"tests written from the issues: {counts}; they cost {kind}${cost:.4g}, which counts for policies that read "
        "them, not for single models"
    ]
    if any(row.attempt > 1 for row in rows):
        notes.append("tests were run on the first attempts: repeated ones have no signals from tests")
    if missing := len(instances) - len(found):
        notes.append(f"{counted(missing, 'instance')} without evidence yet: rerun the command to gather it")
    if failed := sum(bool(row.content["failed_writers"]) for row in found):
        notes.append(f"{counted(failed, 'instance')} without the tests of a writer, whose calls failed")
    if silent := sum(not row.content["tests"] for row in found):
        notes.append(f"{counted(silent, 'instance')} without any test")
    return notes
