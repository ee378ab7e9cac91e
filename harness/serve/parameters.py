"""Which parameters of a request reach the model, and which are left out because the model does not take them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agents.third_party import load_litellm

DROPPABLE = {
    "temperature", "top_p", "stop", "seed", "user", "max_tokens", "max_completion_tokens", "parallel_tool_calls",
    "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "reasoning_effort",
}  # fmt: skip
"""Parameters that are left out when a model refuses them: an answer without them is still an answer."""
PASSED_ON = DROPPABLE | {
    "tools", "tool_choice", "functions", "function_call", "n", "response_format", "stream_options",
}  # fmt: skip
"""Parameters that reach the model. LiteLLM takes addresses and keys as parameters too, which a client must not set."""
_OWN = {"model", "messages", "stream"}


def passed_on(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request that reach the model, unless it is known to refuse them."""
    return {key: value for key, value in request.items() if key in PASSED_ON and value is not None}


def named_in(message: str) -> set[str]:
    """The droppable parameters that a provider's error message names."""
    words = set(re.findall(r"\w+", message))
    translated = {"max_tokens"} if "max_completion_tokens" in words else set()  # by LiteLLM, for reasoning models
    return DROPPABLE & words | translated


def ignored(request: Mapping[str, Any], model: str, provider: str) -> set[str]:
    """The parameters of a request that are not passed on, or that LiteLLM drops for this model."""
    litellm = load_litellm()

    def translated(**parameter: object) -> object:
        try:
            return litellm.get_optional_params(model=model, custom_llm_provider=provider, drop_params=True, **parameter)
        except Exception:  # noqa: BLE001 - a value that LiteLLM cannot read, and passes on as it is
            return None

    passed = passed_on(request)
    given = DROPPABLE & set(passed)
    nothing = translated() if given else None
    dropped = {key for key in given if nothing is not None and translated(**{key: passed[key]}) == nothing}
    return dropped | {key for key, value in request.items() if value is not None and key not in PASSED_ON | _OWN}
