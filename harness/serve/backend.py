"""Calls to the pool's models through LiteLLM's `Router`: its deployments are the pool, its fallbacks the ranking.

Importing this module loads LiteLLM (two to three seconds): do so inside functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from agents.errors import ProviderError
from agents.pool import ModelConfig, address, api_key
from agents.provider_errors import classify, provider_error, retry_after
from agents.redaction import redact, secrets
from agents.secret_settings import resolved
from agents.third_party import bypass_proxy_for_loopback, is_loopback, load_litellm
from harness.serve.config import ServeConfig
from harness.serve.openai_form import openai_form
from harness.serve.parameters import ignored, passed_on

litellm = load_litellm()

from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler  # noqa: E402
from litellm.types.router import RouterRateLimitError  # noqa: E402

from harness.serve.call_hook import Call, CallHook  # noqa: E402


class Backend:
    """The pool, ready to be called. Belongs to one event loop."""

    def __init__(self, pool: Sequence[ModelConfig], config: ServeConfig) -> None:
        self.pool = {model.name: model for model in pool}
        self._ids = {m.name: litellm.get_llm_provider(m.model, api_base=address(m))[:2] for m in pool}
        """LiteLLM's model and provider of each model."""
        # a redirect would take the key and the conversation to another host
        self._client = AsyncHTTPHandler(timeout=config.call_timeout_seconds, follow_redirects=False)
        litellm.aclient_session = self._client.client
        self._hook = CallHook({name: provider for name, (_, provider) in self._ids.items()}, self._client)
        litellm.callbacks.append(self._hook)
        if any(is_loopback(address(model)) for model in pool):
            bypass_proxy_for_loopback()
        retries = {f"{kind}ErrorRetries": config.retries for kind in ("InternalServer", "ServiceUnavailable")}
        retries |= {"BadRequestErrorRetries": 1, "ContentPolicyViolationErrorRetries": 0}  # without what was refused
        self._router = litellm.Router(
            [_deployment(model, config) for model in pool],
            num_retries=0,
            retry_policy=retries,
            max_fallbacks=len(pool),
            optional_pre_call_checks=["enforce_model_rate_limits"],
        )

    async def answer(
        self, ranking: Sequence[str], request: Mapping[str, Any], call: Call
    ) -> dict[str, Any] | AsyncIterator[dict[str, Any]]:
        """The answer of the first model in the ranking that does not fail: whole, or the chunks of a stream.

        The first chunk has arrived when this returns, so that a model that fails at once is left for the next one.
        After a context overflow or a content filter, no other model is asked.

        Raises:
            ProviderError: No model answered; the error is the first model's. The chunks' iterator raises it too.
        """
        stream = bool(request.get("stream"))
        try:
            response = await self._router.acompletion(
                model=ranking[0],
                messages=request["messages"],
                stream=stream,
                fallbacks=[{ranking[0]: list(ranking[1:])}],
                context_window_fallbacks=[],
                content_policy_fallbacks=[],
                metadata={"polyswe_call": call},
                **passed_on(request),
            )
            first = await anext(response) if stream else None
        except Exception as error:  # noqa: BLE001 - LiteLLM's and its HTTP clients', told apart by `classify`
            if isinstance(error, RouterRateLimitError):  # cooling down, which hides why
                error = next((cause for name, cause in reversed(call.failures) if name == ranking[0]), error)
            raise self._failure(ranking[0], error) from None
        self._hook.remember(call)
        return self._chunks(first, response, call.model) if stream else openai_form(response, call.model)

    def ignored(self, request: Mapping[str, Any], call: Call) -> list[str]:
        """Which parameters of an answered request did not reach the model."""
        return sorted(ignored(request, *self._ids[call.model]) | call.dropped.keys() & request.keys())

    async def close(self) -> None:
        litellm.callbacks.remove(self._hook)
        litellm.aclient_session = None
        await self._client.close()

    async def _chunks(self, first: Any, rest: AsyncIterator[Any], name: str) -> AsyncIterator[dict[str, Any]]:
        yield openai_form(first, name)
        try:
            async for chunk in rest:
                yield openai_form(chunk, name)
        except Exception as error:  # noqa: BLE001 - as in `answer`
            raise self._failure(name, error) from None

    def _failure(self, name: str, error: Exception) -> ProviderError:
        if isinstance(error, StopAsyncIteration):
            return provider_error("malformed", "the stream ended before it began", model=name)
        kind = "rate-limit" if isinstance(error, RouterRateLimitError) else classify(error)
        words = redact(str(error), [secret for model in self.pool.values() for secret in secrets(model)])
        return provider_error(kind, words, model=name, retry_after=retry_after(error))


def _deployment(model: ModelConfig, config: ServeConfig) -> dict[str, Any]:
    base = address(model)
    call = {"model": model.model, "api_key": api_key(model), "timeout": config.call_timeout_seconds}
    parameters = resolved(model.model_kwargs) | call | ({"api_base": base} if base else {}) | {"drop_params": True}
    return {"model_name": model.name, "litellm_params": parameters, "model_info": {"id": model.name}}
