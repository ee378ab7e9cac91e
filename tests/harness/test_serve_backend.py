"""What reaches providers, what does not, and what comes back, with real HTTP to addresses of the test's own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from serve_provider import ANSWER, Provider, error

from agents.errors import ProviderError
from agents.pool import ModelConfig
from agents.third_party import load_litellm
from harness.serve.config import ServeConfig

KEY = "sk-provider-canary-123456"


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()
    yield found
    found.close()


@pytest.fixture
def second() -> Iterator[Provider]:
    found = Provider()
    yield found
    found.close()


def model(name: str, url: str | None, model: str = "openai/big/one", **more: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "model": model, "api_base": url, **more})


def ask(*pool: ModelConfig, requests: int = 1, **request: Any) -> list[tuple[Any, Any, list[str]]]:
    """Answers, what happened to each call, and the parameters that did not reach the model."""
    from harness.serve.backend import Backend
    from harness.serve.call_hook import Call

    async def each() -> list[tuple[Any, Any, list[str]]]:
        backend = Backend(pool, ServeConfig(retries=0, call_timeout_seconds=20))
        found = []
        try:
            for _ in range(requests):
                call, body = Call(""), {"messages": [{"role": "user", "content": "hi"}], **request}
                answer = await backend.answer([entry.name for entry in pool], body, call)
                if isinstance(answer, AsyncIterator):
                    answer = [chunk async for chunk in answer]
                found.append((answer, call, backend.ignored(body, call)))
            return found
        finally:
            await backend.close()

    return asyncio.run(each())


def test_a_request_reaches_the_model_with_its_own_key_and_nothing_that_is_meant_for_litellm(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSWE_TEST_PROVIDER_KEY", KEY)
    entry = model("m", provider.url, api_key_env="POLYSWE_TEST_PROVIDER_KEY", model_kwargs={"temperature": 0.5})
    ((answer, _, ignored),) = ask(entry, model="m", top_p=0.5, stream=False, api_base="http://elsewhere", api_key="x")
    assert answer["model"] == "m"
    assert answer["choices"][0]["message"]["content"] == "hello"
    path, headers, body = provider.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    expected = {"temperature": 0.5, "top_p": 0.5, "model": "big/one", "messages": [{"role": "user", "content": "hi"}]}
    assert body == expected
    assert ignored == ["api_base", "api_key"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("parameter", "value"),
    [("temperature", 0), ("top_p", 0.5), ("stop", ["x"]), ("max_tokens", 5), ("parallel_tool_calls", False)],
)
def test_a_parameter_that_the_model_refuses_is_left_out_and_named(
    provider: Provider, parameter: str, value: object, stream: bool
) -> None:
    provider.refuses = parameter
    if stream:
        provider.stream(({"role": "assistant", "content": "hello"}, None), ({}, "stop"))
    found = ask(model("m", provider.url), requests=2, stream=stream, **{parameter: value, "seed": 1})
    assert [ignored for _, _, ignored in found] == [[parameter], [parameter]]
    asked = [parameter in body for _, _, body in provider.requests]
    assert asked == [True, False, False]  # the second request knows
    assert all(body["seed"] == 1 for _, _, body in provider.requests)


def test_a_value_is_left_out_only_where_this_value_was_refused(provider: Provider) -> None:
    provider.refuses = "temperature"
    ask(model("m", provider.url), temperature=0)
    provider.refuses = "nothing"
    ((_, _, ignored),) = ask(model("m", provider.url), temperature=1)
    assert ignored == []
    assert provider.requests[-1][2]["temperature"] == 1


def test_parameters_that_litellm_drops_are_named(provider: Provider) -> None:
    entry = model("m", provider.url, "openai/gpt-5.5")
    ((_, _, ignored),) = ask(entry, temperature=0, stop=["x"], max_tokens=5, seed=1)
    body = provider.requests[0][2]
    assert ignored == ["stop", "temperature"]
    assert not {"stop", "temperature"} & set(body)
    assert (body["max_completion_tokens"], body["seed"]) == (5, 1)


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind"),
    [
        (401, error("Incorrect API key", "invalid_api_key"), {}, "auth"),
        (404, error("no such model", "model_not_found"), {}, "not-found"),
        (429, error("slow down", "rate_limit_exceeded"), {"Retry-After": "7"}, "rate-limit"),
        (429, error("pay first", "insufficient_quota", "insufficient_quota"), {}, "quota"),
        (400, error("thought_signature is missing"), {}, "bad-request"),
        (500, error("oops", None, "server_error"), {}, "server"),
        (503, b"<html>busy</html>", {"Content-Type": "text/html"}, "server"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_model_answers_for_one_that_fails(
    provider: Provider, second: Provider, status: int, body: bytes, headers: dict[str, str], kind: str, stream: bool
) -> None:
    provider.status, provider.body = status, body
    provider.headers = {"Content-Type": "application/json"} | headers
    if stream:
        second.stream(({"role": "assistant", "content": "hello"}, None), ({}, "stop"))
    ((answer, call, _),) = ask(model("a", provider.url), model("b", second.url), stream=stream)
    assert call.model == "b"
    assert (answer[0] if stream else answer)["model"] == "b"
    assert len(second.requests) == 1
    if not stream:
        assert {name for name, _ in call.failures} == {"a"}
        with pytest.raises(ProviderError) as failure:
            ask(model("a", provider.url))
        assert failure.value.kind == kind
        assert failure.value.retry_after == (7 if "Retry-After" in headers else None)


def test_the_next_model_answers_for_an_address_that_speaks_another_language(
    provider: Provider, second: Provider
) -> None:
    provider.body, provider.headers = b"<html>not an API</html>", {"Content-Type": "text/html"}
    ((_, call, _),) = ask(model("a", provider.url), model("b", second.url))
    assert call.model == "b"
    with pytest.raises(ProviderError) as failure:
        ask(model("a", provider.url))
    assert failure.value.kind == "malformed"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("This model's maximum context length is 8192 tokens", "context_length_exceeded"),
        ("Your request was rejected", "content_policy_violation"),
    ],
)
def test_a_conversation_that_no_model_takes_is_not_sent_to_all(
    provider: Provider, second: Provider, message: str, code: str
) -> None:
    provider.status, provider.body = 400, error(message, code)
    with pytest.raises(ProviderError) as failure:
        ask(model("a", provider.url), model("b", second.url))
    assert failure.value.kind in ("context-window", "content-policy")
    assert not second.requests


def test_a_connection_that_breaks_is_a_connections_failure() -> None:
    with pytest.raises(ProviderError) as failure:
        ask(model("m", "http://127.0.0.1:9/v1"))
    assert failure.value.kind == "connection"


def test_no_key_in_an_error(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSWE_TEST_PROVIDER_KEY", KEY)
    provider.status, provider.body = 401, error(f"Incorrect API key provided: {KEY}")
    with pytest.raises(ProviderError) as failure:
        ask(model("m", provider.url, api_key_env="POLYSWE_TEST_PROVIDER_KEY"))
    assert KEY not in str(failure.value)
    assert "redacted" in str(failure.value)


def providers() -> list[str]:
    from harness.serve.call_hook import HTTP_PROVIDERS

    return [*sorted(HTTP_PROVIDERS), "openai", "azure", "moonshot", "perplexity", "dashscope", "cerebras", "zai"]


@pytest.mark.parametrize("stream", [False, True])
def test_no_client_follows_a_redirect_with_the_key(
    provider: Provider, second: Provider, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setenv("POLYSWE_TEST_PROVIDER_KEY", KEY)
    provider.status, provider.headers = 307, {"Location": f"{second.url}/elsewhere"}
    aws = {"aws_region_name": "us-east-1", "aws_access_key_id": "AKIA", "aws_secret_access_key": "x"}
    reached = []
    for name in providers():
        kwargs = aws if name == "bedrock" else {}
        entry = model("m", provider.url, f"{name}/anthropic.claude-3-haiku-20240307-v1:0")
        entry = entry.model_copy(update={"api_key_env": "POLYSWE_TEST_PROVIDER_KEY", "model_kwargs": kwargs})
        before = len(provider.requests)
        with pytest.raises(ProviderError):
            ask(entry, stream=stream)
        if len(provider.requests) > before:
            reached.append(name)
    assert not second.requests
    assert set(providers()) - set(reached) <= {"vertex_ai"}  # which asks Google for a token first


def test_answers_and_chunks_have_every_key_of_openais_schema(provider: Provider) -> None:
    load_litellm()
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    provider.body = json.dumps(ANSWER | {"choices": [choice]}).encode()
    ((answer, _, _),) = ask(model("m", provider.url))
    ChatCompletion.model_validate(answer, strict=False)
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [call],
    }
    assert answer["choices"][0].keys() == {"index", "finish_reason", "message", "logprobs"}

    provider.stream(({"role": "assistant", "content": "hel"}, None), ({"content": "lo"}, None), ({}, "stop"))
    ((chunks, _, _),) = ask(model("m", provider.url), stream=True)
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [*[None] * (len(chunks) - 1), "stop"]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "hello"


def test_a_stream_that_breaks_says_so(provider: Provider) -> None:
    provider.stream(({"role": "assistant", "content": "hel"}, None))
    provider.body = provider.body.replace(b"data: [DONE]", b'data: {"error": {"message": "overloaded", "code": 529}}')
    with pytest.raises(ProviderError):
        ask(model("m", provider.url), stream=True)
