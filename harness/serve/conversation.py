"""Conversations: how one is recognised, which model it is routed to, and that it stays with this model."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.serve.batching import RouteBatcher

_TAGS = [
    (re.compile(f"<{name}>", re.IGNORECASE), re.compile(f"</{name}>", re.IGNORECASE))
    for name in ("pr_description", "issue_description", "problem_statement", "issue", "task")
]
"""How agents mark the problem inside their own instructions (mini-swe-agent, SWE-agent, OpenHands, …)."""


@dataclass(frozen=True)
class Decision:
    """The models of a conversation."""

    ranking: tuple[str, ...]
    """Models, best first."""
    reason: str
    """Why the first one was chosen."""
    cluster: int | None = None
    """Cluster of the problem, for policies that have clusters."""
    fallback_from: tuple[str, ...] = ()
    """Models that failed in this conversation. They are asked last from then on."""

    def after_failure_of(self, failed: Sequence[str]) -> Decision:
        """The same decision with the failed models at the end of the ranking."""
        rest = tuple(model for model in self.ranking if model not in failed)
        every = tuple(dict.fromkeys([*self.fallback_from, *failed]))
        return Decision((*rest, *failed), self.reason, self.cluster, every)


class NothingToRouteError(ValueError):
    """A conversation without any text of a user."""


class Conversations:
    """Conversations and their decisions."""

    def __init__(self, batcher: RouteBatcher, limit: int) -> None:
        """Beyond `limit` conversations, the least recently used one is forgotten."""
        self.limit = limit
        self._batcher = batcher
        self._decisions: OrderedDict[str, Decision] = OrderedDict()

    def __len__(self) -> int:
        return len(self._decisions)

    async def decide(self, messages: Sequence[Mapping[str, Any]], given_id: str | None) -> tuple[str, Decision, bool]:
        """The conversation's key, its decision, and whether the decision is new.

        Args:
            messages: The messages of a chat completion request.
            given_id: The conversation's id, if the client names one.

        Raises:
            NothingToRouteError: No user message has text.
        """
        text = first_user_text(messages)
        if not text.strip():
            raise NothingToRouteError("no user message with text: the first one decides the model")
        key = conversation_key(text, given_id)
        if (known := self.get(key)) is not None:
            return key, known, False
        route = await self._batcher.route(problem_in(text))
        decision = Decision(tuple(estimate.model for estimate in route.scores), route.reason, route.cluster)
        self.pin(key, decision)
        return key, decision, True

    def close(self) -> None:
        self._batcher.close()

    def get(self, key: str) -> Decision | None:
        if key in self._decisions:
            self._decisions.move_to_end(key)
        return self._decisions.get(key)

    def pin(self, key: str, decision: Decision) -> None:
        self._decisions[key] = decision
        self._decisions.move_to_end(key)
        while len(self._decisions) > self.limit:
            self._decisions.popitem(last=False)


def first_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the first user message; empty when there is none."""
    return next((_text(message.get("content")) for message in messages if message.get("role") == "user"), "")


def problem_in(text: str) -> str:
    """The problem statement inside an agent's instructions, where it is marked; else the whole text.

    The router was fitted on problem statements. An agent's instructions are the same for every problem, and would
    make all texts look alike.
    """
    marked: list[tuple[int, str]] = []
    for opening, closing in _TAGS:  # one search each: a pattern for both would take quadratic time on hostile text
        if (start := opening.search(text)) and (end := closing.search(text, start.end())):
            marked.append((start.end(), text[start.end() : end.start()]))
    problem = min(marked)[1] if marked else ""
    return problem.strip() or text.strip()


def conversation_key(text: str, given: str | None) -> str:
    """A hash of the id that the client gives, else of the first user message, which agents repeat in each call."""
    return hashlib.sha256((f"id:{given}" if given else f"text:{text}").encode("utf-8", "surrogatepass")).hexdigest()


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # OpenAI's content parts
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""
