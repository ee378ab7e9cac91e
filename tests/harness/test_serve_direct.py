"""Answers that pass without LiteLLM: the request that is sent, and failures of the same kinds as LiteLLM's."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.errors import ProviderError
from agents.pool import ModelConfig
from harness.serve.backend import PASSED_ON, Backend
from harness.serve.direct import Direct

ANSWER = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "theirs",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


def error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


class Provider:
    """An address that gives one answer to everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, json.dumps(ANSWER).encode(), dict[str, str]()
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(content)))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()
    yield found
    found.server.shutdown()
    found.server.server_close()


def model(provider: str, url: str | None, **more: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": "m", "model": f"{provider}/big/one", "api_base": url, **more})


def ask(entry: ModelConfig, **request: Any) -> dict[str, Any]:
    async def once() -> dict[str, Any]:
        backend = Backend([entry], timeout=20)
        try:
            return await backend.complete("m", {"messages": [{"role": "user", "content": "hi"}], **request})
        finally:
            await backend.close()

    return asyncio.run(once())


def test_the_request_goes_out_as_it_came_with_the_models_own_key(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSWE_TEST_PROVIDER_KEY", "sk-provider-canary")
    entry = model("openai", provider.url, api_key_env="POLYSWE_TEST_PROVIDER_KEY", model_kwargs={"temperature": 0})
    answer = ask(entry, model="polyswe", top_p=0.5, api_base="http://elsewhere", stream=False)
    assert answer == ANSWER | {"model": "m"}
    path, headers, body = provider.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer sk-provider-canary"
    expected = {"temperature": 0, "top_p": 0.5, "model": "big/one", "messages": [{"role": "user", "content": "hi"}]}
    assert body == expected


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, error("'tools' must be a list"), {}),
        (400, error("This model's maximum context length is 8192 tokens", "context_length_exceeded"), {}),
        (400, error("Your request was rejected", "content_policy_violation"), {}),
        (401, error("Incorrect API key", "invalid_api_key"), {}),
        (404, error("no such model", "model_not_found"), {}),
        (429, error("slow down", "rate_limit_exceeded"), {"Retry-After": "7"}),
        (429, error("pay first", "insufficient_quota", "insufficient_quota"), {}),
        (500, error("oops", None, "server_error"), {}),
        (503, b"<html>busy</html>", {"Content-Type": "text/html"}),
        (200, b"<html>not an API</html>", {"Content-Type": "text/html"}),
    ],
)
def test_failures_are_of_the_kinds_that_litellm_gives(
    provider: Provider, status: int, body: bytes, headers: dict[str, str]
) -> None:
    provider.status, provider.body = status, body
    provider.headers = {"Content-Type": "application/json"} | headers
    found = []
    for settings in ({}, {"drop_params": False}):  # the second is LiteLLM's own, which changes nothing
        entry = model("openai", provider.url, model_kwargs=settings)
        assert Direct.speaks(entry, {}, PASSED_ON) is (not settings)
        with pytest.raises(ProviderError) as failure:
            ask(entry)
        found.append((failure.value.kind, failure.value.retry_after))
    assert found[0] == found[1]
    assert len(provider.asked) == 2  # nothing is tried twice behind the endpoint's back


def test_a_redirect_is_not_followed_with_the_key(provider: Provider) -> None:
    provider.status, provider.headers = 307, {"Location": f"{provider.url}/elsewhere"}
    with pytest.raises(ProviderError):
        ask(model("openai", provider.url))
    assert len(provider.asked) == 1


def test_a_connection_that_breaks_is_a_connections_failure() -> None:
    with pytest.raises(ProviderError) as failure:
        ask(model("openai", "http://127.0.0.1:9/v1"))
    assert failure.value.kind == "connection"


def test_what_is_meant_for_litellm_goes_to_litellm() -> None:
    url = "http://127.0.0.1:9/v1"
    assert Direct.speaks(model("openai", url, model_kwargs={"temperature": 0}), {}, PASSED_ON)
    assert not Direct.speaks(model("openai", None), {}, PASSED_ON)
    assert not Direct.speaks(model("openai", url, model_kwargs={"drop_params": True}), {}, PASSED_ON)
    assert not Direct.speaks(model("openai/responses", url), {}, PASSED_ON)
    assert not Direct.speaks(model("anthropic", url), {}, PASSED_ON)
    for name, renamed in (("gpt-5.1", True), ("o3-mini", True), ("gpt-4o", False), ("olmo-2", False)):
        entry = model("openai", url).model_copy(update={"model": f"openai/{name}"})
        assert Direct.speaks(entry, {"max_tokens": 5}, PASSED_ON) is not renamed
        assert Direct.speaks(entry, {"max_completion_tokens": 5}, PASSED_ON)
