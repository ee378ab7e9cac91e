"""Whole answers of OpenAI-compatible addresses, without LiteLLM in between.

What LiteLLM does for such an address (price tables, records, a response model of its own) costs 5 ms of processor time
per answer, and the endpoint uses none of it. Other providers' protocols stay LiteLLM's business, and so do streams.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import certifi

from agents.pool import ModelConfig, api_key

_PREFIX = "openai/"
_BRIDGED = "openai/responses/"
"""LiteLLM's way to another of OpenAI's protocols."""
_REASONING = re.compile(r"openai/(gpt-5|o\d)")
"""OpenAI's models that take `max_completion_tokens` only; LiteLLM renames the older `max_tokens`."""


class AnswerError(Exception):
    """The address answered with an error, or with something that is no answer. `agents.retry.classify` reads it."""

    def __init__(self, status: int, body: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status}: {body[:2000]}")
        self.status_code = status
        self.body = body
        self.litellm_response_headers = headers


class Direct:
    """Calls to OpenAI-compatible addresses over kept connections. Belongs to one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    @staticmethod
    def speaks(model: ModelConfig, request: Mapping[str, Any], passed_on: frozenset[str]) -> bool:
        """Whether the model's address takes a request as it is, with nothing in it that is meant for LiteLLM."""
        return (
            model.api_base is not None
            and model.model.startswith(_PREFIX)
            and not model.model.startswith(_BRIDGED)
            and set(model.model_kwargs) <= passed_on
            and not ("max_tokens" in model.model_kwargs | dict(request) and _REASONING.match(model.model))
        )

    async def complete(self, model: ModelConfig, body: Mapping[str, Any]) -> dict[str, Any]:
        """One whole answer, as it came. Raises AnswerError, aiohttp.ClientError."""
        assert model.api_base is not None
        async with self._open().post(
            model.api_base.rstrip("/") + "/chat/completions",
            data=json.dumps(dict(body, model=model.model.removeprefix(_PREFIX))).encode(),
            headers={"Authorization": f"Bearer {api_key(model)}", "Content-Type": "application/json"},
            allow_redirects=False,  # a key must not travel to another address
        ) as response:
            content = await response.read()
            text = content.decode("utf-8", "replace")
            if response.status != 200:
                raise AnswerError(response.status, text, {k.lower(): v for k, v in response.headers.items()})
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list) or not answer["choices"]:
            raise AnswerError(response.status, f"Invalid response object: {text}", {})
        return answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            authorities = os.environ.get("SSL_CERT_FILE") or certifi.where()
            self._session = aiohttp.ClientSession(
                # requests are counted by the endpoint
                connector=aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context(cafile=authorities)),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=True,
                auto_decompress=True,
            )
        return self._session
