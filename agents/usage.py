"""Tokens of a reply: what the provider counted where that can be true, else an estimate that is marked as one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HIDDEN_PROMPT_TOKENS = 100_000
"""Tokens that a provider may count beyond one for every byte it was sent, such as a gateway's own instructions."""

MAX_COMPLETION_TOKENS = 2_000_000
"""No model writes more in one reply; a count beyond it is not true."""

CHARACTERS_PER_TOKEN = 4
"""Of an estimate."""


@dataclass(frozen=True)
class Tokens:
    """What one reply is charged for."""

    prompt: int
    """Prompt tokens, those read from and written to the cache included."""
    completion: int
    """Completion tokens, the hidden ones of a reasoning model included."""
    cache_read: int = 0
    cache_write: int = 0
    estimated: bool = False
    """The reply's usage is missing or cannot be true, so that tokens, or which of them were cached, are an estimate."""


def count(usage: Mapping[str, Any] | None, *, sent: str, received: str) -> Tokens:
    """Tokens of a reply.

    Args:
        usage: The reply's usage in OpenAI's, Anthropic's or Gemini's names; None when it has none.
        sent: Everything that was sent, as text.
        received: The reply, as text.
    """
    return _plausible(usage or {}, len(sent.encode("utf-8", "replace"))) or Tokens(
        prompt=math.ceil(len(sent) / CHARACTERS_PER_TOKEN),
        completion=math.ceil(len(received) / CHARACTERS_PER_TOKEN),
        estimated=True,
    )


def usage_of(reply: Any) -> Mapping[str, Any] | None:
    """The usage in a provider's own reply, where it has one."""
    if not isinstance(reply, Mapping):
        return None
    usage = reply.get("usage") or reply.get("usageMetadata")
    return usage if isinstance(usage, Mapping) else None


def _plausible(usage: Mapping[str, Any], sent_bytes: int) -> Tokens | None:
    prompt = _count(usage, "prompt_tokens", "promptTokenCount")
    completion = _count(usage, "completion_tokens", "candidatesTokenCount")
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, Mapping) else {}
    read = (
        _count(details, "cached_tokens")
        or _count(
            usage, "cache_read_input_tokens", "cachedContentTokenCount", "prompt_cache_hit_tokens", "cached_tokens"
        )
        or 0
    )
    write = _count(usage, "cache_creation_input_tokens") or _count(details, "cache_creation_tokens") or 0
    if (
        prompt is None and (own := _count(usage, "input_tokens")) is not None
    ):  # Anthropic's own, without the cached ones
        prompt = own + read + write
        completion = _count(usage, "output_tokens")
    prompt, completion = prompt or 0, completion or 0
    if min(prompt, completion) < 0:
        return None
    total = _count(usage, "total_tokens", "totalTokenCount") or 0
    if 0 < prompt < read + write and total >= prompt + read + write + completion:
        prompt += read + write  # counted beside each other
    if prompt + completion < total <= prompt + MAX_COMPLETION_TOKENS:
        completion = total - prompt  # reasoning that is paid and not in the completion's count
    if prompt + completion == 0 or prompt > sent_bytes + HIDDEN_PROMPT_TOKENS or completion > MAX_COMPLETION_TOKENS:
        return None
    if min(read, write) < 0 or read + write > prompt:
        return Tokens(prompt=prompt, completion=completion, estimated=True)
    return Tokens(prompt=prompt, completion=completion, cache_read=read, cache_write=write)


def _count(values: Mapping[str, Any], *names: str) -> int | None:
    """The first of these that is there; -1, which is never true, for what is no whole number."""
    for name in names:
        if (value := values.get(name)) is not None:
            return value if type(value) is int else -1
    return None
