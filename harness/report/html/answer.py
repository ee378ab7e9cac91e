"""The recommendation as answers to a reader's three questions; its sentences are shown as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evaluation.schema import Recommendation, Statement

QUESTIONS = {
    "Which model?": ("Why", "Most resolved", "Runner-up"),
    "What would routing bring?": ("Routing", "Selection", "Head-room"),
    "How sure is this?": ("How sure", "Caution"),
}
"""Each question with the labels of the statements that answer it; the last one takes all other labels, too."""
FIRST = ("Why", "Routing", "How sure")
"""Labels of the statements that are the answers; the others come below."""


@dataclass(frozen=True)
class Answer:
    """A question and what the recommendation says about it."""

    question: str
    texts: Sequence[str]
    """The answer."""
    more: Sequence[Statement]
    """What else belongs to it."""


def answers_of(advice: Recommendation) -> list[Answer]:
    """Every statement under one of the questions; questions without a statement are left out."""
    known = {label: question for question, labels in QUESTIONS.items() for label in labels}
    last = next(reversed(QUESTIONS))
    by_question: dict[str, list[Statement]] = {question: [] for question in QUESTIONS}
    for statement in advice.statements:
        by_question[known.get(statement.label, last)].append(statement)
    return [_answer(question, statements) for question, statements in by_question.items() if statements]


def _answer(question: str, statements: Sequence[Statement]) -> Answer:
    """Where none of the statements is the answer itself, all are."""
    more = [statement for statement in statements if statement.label not in FIRST]
    texts = [statement.text for statement in statements if statement.label in FIRST]
    return Answer(question, texts, more) if texts else Answer(question, [one.text for one in more], [])
