"""What a conversation is, what it is about, and which model it stays with."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WRAPPED = re.compile(
    r"<(pr_description|issue_description|problem_statement|issue|task)>(.*?)</\1>", re.DOTALL | re.IGNORECASE
)
"""How agents mark the problem inside their own instructions (mini-swe-agent, SWE-agent, OpenHands, …)."""


@dataclass(frozen=True)
class Pinned:
    """What was decided for a conversation."""

    ranking: tuple[str, ...]
    """Models, the one to ask first at the front."""
    reason: str
    cluster: int | None = None
    fallback_from: tuple[str, ...] = ()
    """Models that failed this conversation, and were left for good."""

    def after_failure_of(self, failed: Sequence[str]) -> Pinned:
        """The same with the failed models at the end."""
        rest = tuple(model for model in self.ranking if model not in failed)
        gone = tuple(dict.fromkeys([*self.fallback_from, *failed]))
        return Pinned((*rest, *failed), self.reason, self.cluster, gone)


class Conversations:
    """The decisions so far, the least recently used forgotten first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._pinned: OrderedDict[str, Pinned] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pinned)

    def get(self, key: str) -> Pinned | None:
        if key in self._pinned:
            self._pinned.move_to_end(key)
        return self._pinned.get(key)

    def pin(self, key: str, decision: Pinned) -> None:
        self._pinned[key] = decision
        self._pinned.move_to_end(key)
        while len(self._pinned) > self.limit:
            self._pinned.popitem(last=False)


def first_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the first user message; empty when there is none."""
    return next((_text(message.get("content")) for message in messages if message.get("role") == "user"), "")


def problem_in(text: str) -> str:
    """The problem statement inside an agent's instructions, where it is marked; else the whole text.

    A router was fitted on problem statements: an agent's instructions, the same for every problem, would drown them.
    """
    found = _WRAPPED.search(text)
    return (found[2] if found and found[2].strip() else text).strip()


def conversation_key(text: str, given: str | None) -> str:
    """The conversation's own id where the client names one, else the first user message: agents repeat it each call."""
    return hashlib.sha256((f"id:{given}" if given else f"text:{text}").encode("utf-8", "surrogatepass")).hexdigest()


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # OpenAI's content parts
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""
