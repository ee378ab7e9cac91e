"""Calls to the pool's models, through LiteLLM where needed, with failures in the house's own kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiohttp import ClientError

from agents.errors import ProviderError
from agents.pool import ModelConfig, api_key
from agents.provider_errors import classify, provider_error, retry_after
from agents.redaction import redact, secrets
from agents.third_party import bypass_proxy_for_loopback, is_loopback, load_litellm
from harness.serve.direct import Direct

PASSED_ON = frozenset(
    {
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "temperature",
        "top_p",
        "n",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "response_format",
        "seed",
        "user",
        "reasoning_effort",
        "stream_options",
    }
)
"""Parameters of a request that reach the model. A list of what is allowed: LiteLLM takes addresses and keys from the
same place, and a client must not be able to send a key elsewhere."""
CLIENTS_OWN = frozenset({"bad-request", "context-window", "content-policy"})
"""Kinds of failure that lie in the request: another model is not asked."""


class Backend:
    """The pool, ready to be called."""

    def __init__(self, pool: Sequence[ModelConfig], timeout: float) -> None:
        self.pool = {model.name: model for model in pool}
        self.timeout = timeout
        self._litellm = load_litellm()
        self._direct = Direct()
        if any(is_loopback(model.api_base) for model in pool):
            bypass_proxy_for_loopback()

    async def complete(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """One whole answer. Raises ProviderError."""
        model = self.pool[name]
        if not Direct.speaks(model, request, PASSED_ON):
            response = await self._call(name, request)
            return dict(response.model_dump(mode="json", exclude_none=True), model=name)
        body = model.model_kwargs | _passed(request) | {"messages": request["messages"]}
        try:
            answer = await asyncio.wait_for(self._direct.complete(model, body), self.timeout)
        except Exception as error:  # noqa: BLE001 - the HTTP client's, told apart by `classify`
            raise self._failure(name, error) from None
        return dict(answer, model=name)

    async def close(self) -> None:
        await self._direct.close()

    async def stream(self, name: str, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The answer's pieces. The first one is there before this returns, so that a failing model shows at once.

        Raises ProviderError, here and from the iterator.
        """
        pieces = self._pieces(name, await self._call(name, request, stream=True))
        first = await anext(pieces, None)
        if first is None:
            raise provider_error("malformed", "the stream ended before it began", model=name)

        async def all_pieces() -> AsyncIterator[dict[str, Any]]:
            yield first
            async for piece in pieces:
                yield piece

        return all_pieces()

    async def _pieces(self, name: str, response: Any) -> AsyncIterator[dict[str, Any]]:
        chunks = aiter(response)
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), self.timeout)
            except StopAsyncIteration:
                return
            except Exception as error:  # noqa: BLE001 - LiteLLM's and the HTTP client's, told apart by `classify`
                raise self._failure(name, error) from None
            yield dict(chunk.model_dump(mode="json", exclude_none=True), model=name)

    async def _call(self, name: str, request: Mapping[str, Any], **more: Any) -> Any:
        model = self.pool[name]
        try:
            return await asyncio.wait_for(
                self._litellm.acompletion(
                    model=model.model,
                    messages=request["messages"],
                    **(model.model_kwargs | _passed(request) | more),
                    **({"api_base": model.api_base} if model.api_base else {}),
                    api_key=api_key(model),
                    timeout=self.timeout,
                    num_retries=0,
                    max_retries=0,
                ),
                self.timeout,
            )
        except Exception as error:  # noqa: BLE001 - as above
            raise self._failure(name, error) from None

    def _failure(self, name: str, error: Exception) -> ProviderError:
        words = redact(str(error), secrets(self.pool[name]))
        if isinstance(error, TimeoutError):
            return provider_error("timeout", f"no answer within {self.timeout:g} s", model=name)
        if isinstance(error, ClientError):
            return provider_error("connection", words or type(error).__name__, model=name)
        return provider_error(classify(error), words, model=name, retry_after=retry_after(error))


def _passed(request: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in request.items() if key in PASSED_ON and value is not None}
