"""The trajectories of a package: one an instance, and no hints or names of hidden tests in the agent's prompt."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from harness.data.checks import UnreadableTestsError, test_list
from harness.files import UnreadableFileError
from harness.submission.findings import Findings
from harness.submission.packages import Row
from harness.submission.tree import Tree

FOLDER = "trajs"
SHORTEST_HINT = 40
"""Shorter hints occur in a prompt by chance."""
SHORTEST_TEST_NAME = 20
MAX_PROMPT = 2**19
"""Characters of a prompt that are searched; a problem statement has at most some ten thousand."""
BESIDE = (".pred", ".patch", ".diff", ".config.yaml", ".debug.log", ".info.log", ".trace.log", ".html")
"""Ends of what agents write beside a trajectory."""


def check_trajectories(
    tree: Tree, instances: Collection[str], rows: Mapping[str, Row] | None, findings: Findings
) -> None:
    """Hold the trajectories against the predicted instances, and their prompts against the dataset."""
    trajectories: dict[str, list[str]] = {}
    for name in tree.names(FOLDER):
        if not name.endswith(BESIDE):
            trajectories.setdefault(instance_of(name, instances), []).append(name)
    findings.fault_of(set(instances) - trajectories.keys(), "no trajectory in trajs/ of")
    findings.fault_of(trajectories.keys() - set(instances), "a trajectory of what was never predicted")
    findings.fault_of([i for i, names in trajectories.items() if len(names) > 1], "several trajectories of one attempt")
    hinted, tested, unread = [], [], 0
    for instance, names in trajectories.items():
        prompt = _prompt(tree, f"{FOLDER}/{names[0]}")
        row = (rows or {}).get(instance)
        if prompt is None or len(prompt) > MAX_PROMPT:
            unread += 1
        if prompt is not None and row is not None:
            shown = _in_one_line(prompt[:MAX_PROMPT])
            if _holds_hint(shown, row):
                hinted.append(instance)
            if _holds_test(shown, row):
                tested.append(instance)
    findings.fault_of(hinted, "the agent's prompt holds the hints_text of")
    findings.fault_of(tested, "the agent's prompt holds names of the hidden tests of")
    if unread:
        findings.note(
            f"{unread} trajectories are too large or not of mini-swe-agent's form: not searched for hints and test "
            "names"
        )


def instance_of(name: str, instances: Collection[str]) -> str:
    """The instance a file is named after: suffixes come off until an id is left, for ids may hold dots."""
    while name not in instances and "." in name:
        name = name.rpartition(".")[0]
    return name


def _prompt(tree: Tree, name: str) -> str | None:
    """All messages before the agent's first; None where the file is none of mini-swe-agent's."""
    if not name.endswith(".json"):
        return None
    prompt = []
    try:
        for message in tree.json(name)["messages"]:
            if message["role"] == "assistant":
                break
            content = message["content"]
            prompt.append(content if isinstance(content, str) else json.dumps(content))
    except (UnreadableFileError, LookupError, TypeError, RecursionError):
        return None
    return "\n".join(prompt)


def _holds_hint(prompt: str, row: Row) -> bool:
    hint = _in_one_line(str(row.get("hints_text") or ""))[:200]
    return len(hint) >= SHORTEST_HINT and hint in prompt and hint not in _statement(row)


def _holds_test(prompt: str, row: Row) -> bool:
    try:
        tests = test_list(row.get("FAIL_TO_PASS") or [])
    except UnreadableTestsError:
        return False
    names = (_in_one_line(test) for test in tests if len(test) >= SHORTEST_TEST_NAME)
    return any(name in prompt and name not in _statement(row) for name in names)


def _statement(row: Row) -> str:
    return _in_one_line(str(row.get("problem_statement") or ""))


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
