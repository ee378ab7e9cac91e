"""A stand-in's answer in pieces, as OpenAI's streaming sends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def pieces(completion: dict[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    """The chunks of a chat completion: role, text in a few parts, tool calls, the end, and the usage if asked for."""
    choice = completion["choices"][0]
    message = choice["message"]
    yield _chunk(completion, {"role": "assistant", "content": ""})
    for start in range(0, len(message["content"]), 40):
        yield _chunk(completion, {"content": message["content"][start : start + 40]})
    for index, call in enumerate(message.get("tool_calls", ())):
        yield _chunk(completion, {"tool_calls": [{"index": index, **call}]})
    yield _chunk(completion, {}, finish=choice["finish_reason"])
    if usage:
        yield {**_chunk(completion, {}), "choices": [], "usage": completion["usage"]}


def _chunk(completion: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": completion["id"],
        "object": "chat.completion.chunk",
        "created": completion["created"],
        "model": completion["model"],
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
