"""What the libraries below us do again at every call though it comes out the same: done once, or not at all.

Many agents share one interpreter, so that a call's work there bounds how many can run (`tests/bench/agents64.py`). Each
function replaces one name in a library's module, is safe to call again, and leaves what is sent and kept as it was.
"""

from __future__ import annotations

import gc
import importlib
from functools import lru_cache
from typing import Any


def compile_templates_once() -> None:
    """mini-swe-agent compiles its template for every observation, which takes longer than all else it does."""
    from jinja2 import Template

    compiled = lru_cache(maxsize=64)(Template)  # of equal arguments, and a compiled template keeps nothing of a render
    for name in ("minisweagent.agents.default", "minisweagent.models.utils.actions_toolcall"):
        module: Any = importlib.import_module(name)
        if module.Template is Template:
            module.Template = compiled


def send_messages_as_they_are() -> None:
    """OpenAI's client compares every message of a conversation with every type a message may have, to rename fields
    and to encode files. Nothing in a chat has such a field, and what agents send is JSON already."""
    completions: Any = importlib.import_module("openai.resources.chat.completions.completions")
    original = completions.maybe_transform

    def transformed(data: Any, expected_type: object) -> Any:
        messages = data.get("messages") if isinstance(data, dict) else None
        if not isinstance(messages, list) or not all(type(message) is dict for message in messages):
            return original(data, expected_type)
        return original({**data, "messages": []}, expected_type) | {"messages": messages}  # in its old place

    if original.__module__ != __name__:
        completions.maybe_transform = transformed


def completion_unreported(**arguments: Any) -> Any:
    """`litellm.completion` without what LiteLLM does for reports on the call (an event loop of its own for one, and the
    reply's cost, which we compute ourselves). As it is where somebody has asked for such reports."""
    import litellm
    from litellm._internal_context import is_internal_call

    # LiteLLM's code for Gemini puts down "cache" without having a cache
    told = [callback for callback in litellm.success_callback if callback != "cache" or litellm.cache is not None]
    if litellm.callbacks or told or litellm.service_callback:
        return litellm.completion(**arguments)
    token = is_internal_call.set(True)
    try:
        return litellm.completion(**arguments)
    finally:
        is_internal_call.reset(token)


def report_on_others_only() -> None:
    """Prepares what `completion_unreported` leaves out."""
    from litellm._internal_context import is_internal_call
    from litellm._service_logger import ServiceLogging
    from litellm.litellm_core_utils.litellm_logging import Logging

    for owner, name in ((ServiceLogging, "service_success_hook"), (Logging, "response_cost_calculator")):
        original = getattr(owner, name)
        if original.__module__ == __name__:
            continue

        def quiet(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            return None if is_internal_call.get() else original(*args, **kwargs)

        setattr(owner, name, quiet)


def leave_what_is_loaded() -> None:
    """A full garbage collection walks every object there is, and no agent moves meanwhile. The libraries' half a
    million will never be garbage."""
    gc.collect()
    gc.freeze()
