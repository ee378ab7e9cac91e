"""A ping takes the way of an agent's call and names what is wrong as a run would, over real HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agents.ping import NO_TOOL_CALL, ping
from agents.pool import ModelConfig
from agents.runner import AgentConfig

CANARY = "sk-canary-0123456789"
REPLY = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}


def entry(url: str, **more: Any) -> ModelConfig:
    prices = {"input_cost_per_token": 1e-5, "output_cost_per_token": 1e-4}
    return ModelConfig(name="mine", model="openai/m", api_base=url, api_key_env="POLYSWE_TEST_KEY", **prices, **more)


def test_a_model_that_works_answers_with_a_tool_call_that_is_paid(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSWE_TEST_KEY", CANARY)
    found = ping(entry(faulty.url, model_kwargs={"seed": 7}), AgentConfig(overrides={"model": {}}))
    assert (found.failure, found.detail) == ("", "")
    assert found.cost_usd == pytest.approx(100 * 1e-5 + 10 * 1e-4)
    (request,) = faulty.requests
    assert (request["seed"], request["tools"][0]["function"]["name"]) == (7, "bash")
    assert faulty.keys == [f"Bearer {CANARY}"]


def text_only(handler: Any) -> None:
    message = {"role": "assistant", "content": "echo ok"}
    usage = {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55}
    handler.answer(
        200, REPLY | {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": usage}
    )


def slow(handler: Any) -> None:
    time.sleep(3)
    handler.answer(200, REPLY)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (lambda h: h.answer(401, {"error": {"message": f"bad key {h.headers['Authorization']}"}}), "auth", "the key"),
        (lambda h: h.answer(404, {"error": {"message": "no model m"}}), "not-found", "check the model id and api_base"),
        (lambda h: h.answer(400, {"error": {"message": "tools are not supported"}}), "bad-request", "takes tools"),
        (lambda h: h.answer(429, {"error": {"message": "slow down"}}), "rate-limit", "slow down"),
        (text_only, NO_TOOL_CALL, "agents act by tool calls alone"),
        (slow, "timeout", "raise call_timeout_seconds"),
    ],
)
def test_what_is_wrong_is_named_after_one_try(
    fault: Any, kind: str, words: str, faulty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSWE_TEST_KEY", CANARY)
    faulty.faults.append(fault)
    found = ping(entry(faulty.url), AgentConfig(), timeout=1)
    assert found.failure == kind
    assert words in found.detail
    assert CANARY not in found.detail
    assert "\n" not in found.detail
    assert len(faulty.requests) == 1
    assert (found.cost_usd > 0) == (kind == NO_TOOL_CALL), "a reply that cannot be used is paid all the same"
