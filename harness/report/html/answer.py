"""The recommendation as answers to a reader's three questions; its sentences are shown as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evaluation.schema import Recommendation, Statement

QUESTIONS = {
    "Which model?": ("Why", "Most resolved", "Runner-up"),
    "What would routing bring?": ("Routing", "Head-room"),
    "How sure is this?": ("How sure", "Caution"),
}
"""Each question with the labels of the statements that answer it; the last one takes all other labels, too."""
FIRST = ("Why", "Routing", "How sure")
"""Labels that the question above them makes superfluous."""


@dataclass(frozen=True)
class Answer:
    """A question and what the recommendation says about it."""

    question: str
    statements: Sequence[Statement]


def answers_of(advice: Recommendation) -> list[Answer]:
    """Every statement under one of the questions; questions without a statement are left out."""
    known = {label: question for question, labels in QUESTIONS.items() for label in labels}
    last = next(reversed(QUESTIONS))
    by_question: dict[str, list[Statement]] = {question: [] for question in QUESTIONS}
    for statement in advice.statements:
        by_question[known.get(statement.label, last)].append(statement)
    return [
        Answer(question, sorted(statements, key=lambda statement: statement.label not in FIRST))
        for question, statements in by_question.items()
        if statements
    ]
