"""The hooks that LiteLLM calls around each try of a call, whichever model the try goes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from harness.serve.parameters import DROPPABLE, named_in

HTTP_PROVIDERS = {
    "anthropic", "azure_ai", "bedrock", "databricks", "deepseek", "fireworks_ai", "gemini", "groq", "hosted_vllm",
    "mistral", "ollama", "ollama_chat", "openrouter", "together_ai", "vertex_ai", "xai",
}  # fmt: skip
"""Providers whose HTTP client LiteLLM takes with each call. Most others use `litellm.aclient_session`."""


@dataclass
class Call:
    """What happened to one request inside LiteLLM's router."""

    model: str
    """The model asked last: the one that answered, if any did."""
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    """Model and error of each failed try, in order."""
    dropped: dict[str, object] = field(default_factory=dict)
    """Parameters left out because this model refuses them, with their values."""


class CallHook(CustomLogger):  # type: ignore[misc]  # mypy does not follow LiteLLM
    """Finds its `Call` in the metadata of a request, and leaves other requests alone."""

    def __init__(self, providers: Mapping[str, str], client: object) -> None:
        """Take the provider of each model, and an HTTP client that follows no redirects."""
        super().__init__()
        self.providers = providers
        self.client = client
        self._refused: set[tuple[str, str, str]] = set()
        """Model, parameter and value, where a call succeeded once this parameter was left out."""

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: object) -> dict[str, Any] | None:
        """Leave out the parameters that the model refuses, and use the client that follows no redirects."""
        call, name = _call_and_model(kwargs)
        if call is None:
            return None
        given = {key for key in DROPPABLE if kwargs.get(key) is not None}
        refused = {key for key in given if (name, key, repr(kwargs[key])) in self._refused}
        for attempt in kwargs["metadata"].get("previous_models") or ():
            if attempt["model_group"] == name and attempt["exception_type"] == "BadRequestError":
                refused |= given & named_in(attempt["exception_string"])
        call.model, call.dropped = name, {key: kwargs[key] for key in refused}
        client = {"client": self.client} if self.providers[name] in HTTP_PROVIDERS else {}
        return {**kwargs, **client, "additional_drop_params": list(refused)}

    async def async_post_call_failure_deployment_hook(
        self, request_data: Mapping[str, Any], exception: Exception, call_type: object
    ) -> None:
        """Note the failure."""
        call, name = _call_and_model(request_data)
        if call is not None:
            call.failures.append((name, exception))

    def remember(self, call: Call) -> None:
        """Leave the dropped parameters of a call that succeeded out of the first try from now on."""
        if len(self._refused) < 10_000:
            self._refused |= {(call.model, key, repr(value)) for key, value in call.dropped.items()}


def _call_and_model(kwargs: Mapping[str, Any]) -> tuple[Call | None, str]:
    metadata = kwargs.get("metadata") or {}
    return metadata.get("polyswe_call"), metadata.get("deployment_model_name", "")
