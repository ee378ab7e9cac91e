"""A model's opinion on existing tests that a patch breaks: does the issue itself change what they expect?"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.budget import Budget, Call
from agents.deadline import Deadline
from agents.evidence.existing import broken_tests
from agents.evidence.issue_tests import IssueTest
from agents.evidence.run import TestRuns
from agents.pool import ModelConfig
from agents.rate_limit import RateLimit
from agents.retry import RetryConfig

MARKER = "Judgement of an existing test."
"""How every request for a judgement begins; the scripted server recognises them by it."""
QUESTIONS = 10
"""Broken tests of an instance that are judged at most: those that most attempts break."""
MAX_SOURCE = 8_000
"""Characters of a test's source that are shown."""
MAX_OUTPUT = 4_000
"""Characters of the failure that are shown."""

_PROMPT = """{marker} The test passed before an issue was worked on, and fails with a proposed patch. Either the issue
itself changes what the test expects, so that every correct fix breaks it, or the patch breaks something that has to go
on working.

<issue>
{issue}
</issue>

<test name="{name}">
{source}
</test>

<failure>
{output}
</failure>

Does the issue change this expectation? Think briefly. End with one line `ANSWER: yes` or `ANSWER: no`."""

_ANSWER = re.compile(r"ANSWER:[ \t*`]{0,5}(yes|no)\b", re.IGNORECASE)
_NAME = re.compile(r"(?:test|runTest)\w*")


@dataclass(frozen=True)
class Question:
    """An existing test that at least one patch breaks."""

    name: str
    """As `broken_tests` names it."""
    source: str
    """The test's function, or the beginning of its file."""
    output: str
    """What the test runner printed with a patch that breaks it."""


@dataclass(frozen=True)
class Judgement:
    """The model's answer."""

    obsolete: bool
    """Whether the issue changes the test's expectation; False also where the reply does not say."""
    cost_usd: float


def questions(tests: Sequence[IssueTest], runs: TestRuns, patches: Iterable[str]) -> list[Question]:
    """The questions to a judge about an instance, at most QUESTIONS, in a fixed order."""
    counts: Counter[str] = Counter()
    seen: dict[str, tuple[IssueTest, str]] = {}
    for patch in patches:
        run = runs.of_patch(patch)
        for test in tests:
            for name in broken_tests([test], runs, patch) or ():
                counts[name] += 1
                output = run.results[test.key].output if run else ""
                seen.setdefault(name, (test, output))
    chosen = sorted(seen, key=lambda name: (-counts[name], name))[:QUESTIONS]
    # a patch may break hundreds of tests: only the sources of the chosen ones are parsed
    return [
        Question(name, _source(test, name), _failure(output, name)) for name in chosen for test, output in [seen[name]]
    ]


def judge(
    issue: str,
    question: Question,
    model: ModelConfig,
    retry: RetryConfig | None = None,
    *,
    budget: Budget | None = None,
    on_call: Callable[[Call], None] | None = None,
    rate: RateLimit | None = None,
    trace: Mapping[str, Any] | None = None,
) -> Judgement:
    """Ask `model` whether the issue changes what a broken test expects.

    Args:
        issue: The issue's text.
        question: The test and its failure.
        model: The pool's entry that judges.
        retry: Patience with its provider.
        budget: The run's, checked before the call.
        on_call: Receives every request as soon as it has ended.
        rate: The model's calls and tokens a minute.
        trace: Metadata of the call for LiteLLM's callbacks.

    Raises:
        ProviderError: As an agent's calls do, like a PoolError or BudgetSpentError.
    """
    from agents.model import PoolModel

    llm = PoolModel(model, retry or RetryConfig(), Deadline(0), budget=budget, on_call=on_call, rate=rate, trace=trace)
    shown = {"issue": issue, "name": question.name, "source": question.source, "output": question.output}
    reply = llm.ask(_PROMPT.format(marker=MARKER, **shown))
    return Judgement(obsolete=read_answer(reply), cost_usd=llm.usage.cost_usd)


def read_answer(reply: str) -> bool:
    """Whether the last answer in a reply is yes; without one the test counts as broken."""
    answers = _ANSWER.findall(reply)
    return bool(answers) and answers[-1].lower() == "yes"


def _function(name: str) -> str:
    """The test's function as its name states it; empty where it does not."""
    found = _NAME.search(name.rsplit("::", 1)[-1])
    return found[0] if found else ""


def _failure(output: str, name: str) -> str:
    """What the runner prints of a failed test; the output's end where it prints nothing under the test's name."""
    function, position = _function(name), 0
    for line in output.split("\n") if function else ():
        if line.startswith(("FAIL: ", "ERROR: ", "___")) and function in line:
            return output[position : position + MAX_OUTPUT]
        position += len(line) + 1
    return output[-MAX_OUTPUT:]


def _source(test: IssueTest, name: str) -> str:
    """The function of the test that `name` names; the beginning of the file where it is not found."""
    text = next(iter(test.files.values()), "")
    function = _function(name)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text[:MAX_SOURCE]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            return "\n".join(text.split("\n")[node.lineno - 1 : node.end_lineno])[:MAX_SOURCE]
    return text[:MAX_SOURCE]
