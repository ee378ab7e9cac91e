"""What a reply costs: what its usage says where that can be true, an estimate that is marked where not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minisweagent.exceptions import FormatError

from agents.budget import Budget, Call
from agents.deadline import Deadline
from agents.errors import ProviderError
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.retry import RetryConfig
from agents.usage import HIDDEN_PROMPT_TOKENS, MAX_COMPLETION_TOKENS, count, usage_of

QUESTION = [{"role": "user", "content": "x" * 400}]
INPUT, OUTPUT, CACHED = 1e-5, 2e-5, 1e-6
TRUE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
CALL = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}


def make(url: str, model: str = "openai/m", **options: Any) -> PoolModel:
    entry = ModelConfig(
        name="m",
        model=model,
        api_base=url,
        input_cost_per_token=INPUT,
        output_cost_per_token=OUTPUT,
        cache_read_cost_per_token=CACHED,
    )
    retry = RetryConfig(max_attempts=8, initial_wait_seconds=0.01, max_wait_seconds=0.02, call_timeout_seconds=60)
    return PoolModel(entry, retry, Deadline(), **options)


def reply(usage: Any = None, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "I look", "tool_calls": [CALL]}
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
        "usage": TRUE if usage is None else usage,
    }
    return body | fields


@pytest.mark.parametrize(
    ("usage", "prompt", "completion", "cached"),
    [
        (TRUE, 100, 20, 0),
        (TRUE | {"prompt_tokens_details": {"cached_tokens": 40}}, 100, 20, 40),
        (TRUE | {"prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": None}, 100, 20, 0),
        # reasoning outside of completion_tokens: the total says so
        (TRUE | {"total_tokens": 1020, "completion_tokens_details": {"reasoning_tokens": 900}}, 100, 920, 0),
        (TRUE | {"total_tokens": 1020}, 100, 920, 0),
        (TRUE | {"completion_tokens_details": {"reasoning_tokens": 900}}, 100, 20, 0),
        # cached tokens beside the prompt's, as some gateways count them
        (TRUE | {"total_tokens": 220, "prompt_tokens_details": {"cached_tokens": 150}}, 100, 120, None),
        (TRUE | {"total_tokens": 270, "prompt_tokens_details": {"cached_tokens": 150}}, 250, 20, 150),
        (TRUE | {"prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 60}, 100, 20, 40),
        (TRUE | {"cached_tokens": 40}, 100, 20, 40),
        # numbers in other clothes
        ({"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}, 100, 20, 0),
        ({"prompt_tokens": "100", "completion_tokens": "20", "total_tokens": "120"}, 100, 20, 0),
        ({"prompt_tokens": 100.0, "completion_tokens": 20.5, "total_tokens": 120.5}, 100, 21, 0),
        ({"prompt_tokens": 100, "total_tokens": 120}, 100, 20, 0),
    ],
)
def test_usage_that_can_be_true_is_charged(
    faulty: Any, usage: dict[str, Any], prompt: int, completion: int, cached: int | None
) -> None:
    faulty.faults = [lambda handler: handler.answer(200, reply(usage))]
    model = make(faulty.url)
    cost = model.query(QUESTION)["extra"]["cost"]
    used = model.usage
    assert (used.prompt_tokens, used.completion_tokens) == (prompt, completion)
    if cached is None:  # which of them were cached is not known
        assert (used.cached_tokens, used.estimated_calls) == (0, 1)
    else:
        assert (used.cached_tokens, used.estimated_calls) == (cached, 0)
    cached = cached or 0
    assert cost == used.cost_usd == pytest.approx((prompt - cached) * INPUT + cached * CACHED + completion * OUTPUT)


@pytest.mark.parametrize("provider", ["openai/m", "xai/m", "hosted_vllm/m", "deepseek/m", "openrouter/m"])
def test_reasoning_is_paid_through_every_provider(faulty: Any, provider: str) -> None:
    usage = TRUE | {"total_tokens": 1020, "completion_tokens_details": {"reasoning_tokens": 900}}
    faulty.faults = [lambda handler: handler.answer(200, reply(usage))]
    model = make(faulty.url, provider)
    model.query(QUESTION)
    assert model.usage.cost_usd == pytest.approx(100 * INPUT + 920 * OUTPUT)


@pytest.mark.parametrize(
    "usage",
    [
        {},
        TRUE | {"prompt_tokens": 2**64 - 1},
        TRUE | {"completion_tokens": 2**64 - 1},
        TRUE | {"completion_tokens": -5},
        {"prompt_tokens": -1000, "completion_tokens": 5, "total_tokens": -995},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        TRUE | {"prompt_tokens": "many"},
        TRUE | {"prompt_tokens": True},
        TRUE | {"prompt_tokens": {"of": 100}},
        TRUE | {"prompt_tokens": math.nan},
        TRUE | {"completion_tokens": math.inf},
        TRUE | {"prompt_tokens": 10**7},
        "none",
        [100, 20],
        17,
    ],
)
def test_usage_that_cannot_be_true_is_estimated_and_marked(faulty: Any, usage: Any) -> None:
    faulty.faults = [lambda handler: handler.answer(200, reply(usage))]
    calls: list[Call] = []
    budget = Budget(limit=1.0)
    model = make(faulty.url, budget=budget, on_call=calls.append)
    message = model.query(QUESTION)
    assert message["extra"]["usage_estimated"] is True
    assert (model.usage.prompt_tokens, model.usage.estimated_calls, model.usage.failed_calls) == (100, 1, 0)
    assert 0 < model.usage.completion_tokens < 1000
    assert [(call.estimated, call.failure) for call in calls] == [(True, "")]
    assert 0 < calls[0].cost_usd == budget.spent == message["extra"]["cost"] < 0.05


@pytest.mark.parametrize(
    "extra",
    [
        {"prompt_tokens_details": {"cached_tokens": 5000}},
        {"prompt_tokens_details": {"cached_tokens": 2**64}},
        {"prompt_tokens_details": {"cached_tokens": -50}},
        {"cache_creation_input_tokens": 10**9},
        {"cache_read_input_tokens": 10**9},
    ],
)
def test_a_cache_that_cannot_be_true_gives_nothing_back(faulty: Any, extra: dict[str, Any]) -> None:
    faulty.faults = [lambda handler: handler.answer(200, reply(TRUE | extra))]
    model = make(faulty.url)
    model.query(QUESTION)
    assert model.usage.cost_usd == pytest.approx(100 * INPUT + 20 * OUTPUT)
    assert (model.usage.cached_tokens, model.usage.estimated_calls) == (0, 1)


def test_a_total_that_cannot_be_true_adds_nothing(faulty: Any) -> None:
    faulty.faults = [lambda handler: handler.answer(200, reply(TRUE | {"total_tokens": 2**64}))]
    model = make(faulty.url)
    model.query(QUESTION)
    assert model.usage.cost_usd == pytest.approx(100 * INPUT + 20 * OUTPUT)


def bad_call(call: object) -> dict[str, Any]:
    message = {"role": "assistant", "content": "x", "tool_calls": call}
    return reply(choices=[{"index": 0, "finish_reason": "tool_calls", "message": message}])


UNUSABLE = {
    "no choices": reply(choices=[]),
    "null choices": reply(choices=None),
    "a text for choices": reply(choices=["x"]),
    "no message": reply(choices=[{"index": 0, "finish_reason": "stop"}]),
    "null message": reply(choices=[{"index": 0, "finish_reason": "stop", "message": None}]),
    "null tool call": bad_call([None]),
    "tool calls as a text": bad_call("ls"),
    "a tool call without function": bad_call([{"id": "c", "type": "function"}]),
    "a null function": bad_call([{"id": "c", "type": "function", "function": None}]),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_paid_reply_that_cannot_be_used_is_charged_and_tried_again_once(faulty: Any, kind: str) -> None:
    calls: list[Call] = []
    budget = Budget(limit=1.0)
    faulty.faults = [lambda handler: handler.answer(200, UNUSABLE[kind])] * 8
    model = make(faulty.url, budget=budget, on_call=calls.append)
    with pytest.raises(ProviderError) as caught:
        model.query(QUESTION)
    price = 100 * INPUT + 20 * OUTPUT
    assert (caught.value.kind, len(faulty.requests)) == ("malformed", 2)
    assert (model.usage.calls, model.usage.failed_calls, model.usage.prompt_tokens) == (0, 2, 200)
    assert model.usage.cost_usd == budget.spent == pytest.approx(2 * price)
    assert [(call.failure, call.cost_usd) for call in calls] == [("malformed", pytest.approx(price))] * 2


def nested(depth: int) -> str:
    return f'{{"command": {"[" * depth}{"]" * depth}}}'


@pytest.mark.parametrize("depth", [150, 940, 100_000])
def test_arguments_without_bottom_are_the_models_mistake_and_charged(faulty: Any, depth: int) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": nested(depth)}}
    faulty.faults = [lambda handler: handler.answer(200, bad_call([call]))]
    model = make(faulty.url)
    with pytest.raises(FormatError):
        model.query(QUESTION)
    assert (len(faulty.requests), model.usage.cost_usd) == (1, pytest.approx(100 * INPUT + 20 * OUTPUT))


def test_brackets_in_a_command_are_no_nesting(faulty: Any) -> None:
    command = 'echo "' + "[" * 500 + '\\" {'
    arguments = json.dumps({"command": command})
    call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": arguments}}
    faulty.faults = [lambda handler: handler.answer(200, bad_call([call]))]
    assert make(faulty.url).query(QUESTION)["extra"]["actions"][0]["command"] == command


def test_a_reply_without_bottom_is_charged_and_tried_again_once(faulty: Any) -> None:
    """Some providers send arguments as objects: what a model nests is then nested in the reply."""
    arguments = json.dumps(CALL["function"]["arguments"])  # type: ignore[index]
    body = json.dumps(reply()).replace(arguments, nested(100_000)).encode()
    faulty.faults = [lambda handler: handler.answer(200, body)] * 8
    model = make(faulty.url)
    with pytest.raises(ProviderError) as caught:
        model.query(QUESTION)
    assert (caught.value.kind, len(faulty.requests), model.usage.estimated_calls) == ("malformed", 2, 2)
    assert model.usage.cost_usd > 200 * INPUT


def test_what_an_unusable_reply_has_cost_is_the_agents_too(faulty: Any) -> None:
    faulty.faults = [
        lambda handler: handler.answer(200, UNUSABLE["no choices"]),
        lambda handler: handler.answer(200, reply()),
    ]
    model = make(faulty.url)
    assert model.query(QUESTION)["extra"]["cost"] == pytest.approx(2 * (100 * INPUT + 20 * OUTPUT))
    assert (model.usage.calls, model.usage.failed_calls) == (1, 1)


@pytest.mark.parametrize("usage", [None, "absent", {"prompt_tokens": 2**64, "completion_tokens": 1}])
def test_an_unusable_reply_without_true_usage_is_estimated(faulty: Any, usage: Any) -> None:
    body = reply(usage, choices=[])
    if usage == "absent" or usage is None:
        del body["usage"]
    faulty.faults = [lambda handler: handler.answer(200, body)] * 2
    model = make(faulty.url)
    with pytest.raises(ProviderError):
        model.query(QUESTION)
    assert model.usage.estimated_calls == 2
    assert 200 * INPUT < model.usage.cost_usd < 0.05


def test_anthropics_unusable_reply_is_charged_by_its_own_usage(faulty: Any) -> None:
    body = {"id": "x", "type": "message", "content": None, "usage": {"input_tokens": 100, "output_tokens": 20}}
    faulty.faults = [lambda handler: handler.answer(200, body)] * 2
    model = make(faulty.url, "anthropic/m")
    with pytest.raises(ProviderError):
        model.query(QUESTION)
    assert (model.usage.cost_usd, len(faulty.requests)) == (pytest.approx(2 * (100 * INPUT + 20 * OUTPUT)), 2)


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"id": "x", "cho', b"null", b'{"detail": "no"}', b'{"error": {"code": 502}}']
)
def test_what_is_no_models_reply_costs_nothing(faulty: Any, body: bytes) -> None:
    faulty.faults = [lambda handler: handler.answer(200, body)] * 8
    model = make(faulty.url)
    with pytest.raises(ProviderError):
        model.query(QUESTION)
    assert (model.usage.cost_usd, len(faulty.requests)) == (0, 8)


counts = st.one_of(
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(),
    st.booleans(),
    st.none(),
    st.dictionaries(st.text(), st.text()),
)
names = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens",
     "cache_creation_input_tokens", "promptTokenCount", "candidatesTokenCount", "totalTokenCount"]
)  # fmt: skip
details = st.dictionaries(st.sampled_from(["cached_tokens", "cache_creation_tokens"]), counts)


@given(usage=st.dictionaries(names, counts), details=st.one_of(details, counts), sent=st.text(), received=st.text())
def test_no_usage_whatever_corrupts_the_books(usage: dict[str, Any], details: Any, sent: str, received: str) -> None:
    tokens = count(usage | {"prompt_tokens_details": details}, sent=sent, received=received)
    assert 0 <= tokens.cache_read + tokens.cache_write <= tokens.prompt
    assert min(tokens.cache_read, tokens.cache_write, tokens.completion) >= 0
    assert tokens.prompt <= len(sent.encode("utf-8", "replace")) + HIDDEN_PROMPT_TOKENS
    assert tokens.completion <= MAX_COMPLETION_TOKENS
    assert all(type(number) is int for number in (tokens.prompt, tokens.completion, tokens.cache_read))


@given(reply=st.recursive(counts, lambda inner: st.dictionaries(st.sampled_from(["usage", "choices"]), inner)))
def test_any_reply_may_be_asked_for_its_usage(reply: Any) -> None:
    usage = usage_of(reply)
    assert usage is None or isinstance(usage, dict)


STRICT = {"role", "content", "tool_calls", "tool_call_id", "name"}


@pytest.mark.parametrize(
    "provider", ["openai/m", "mistral/m", "fireworks_ai/m", "groq/m", "hosted_vllm/m", "xai/m", "together_ai/m"]
)
def test_a_strict_address_is_sent_no_field_of_litellms_own(faulty: Any, provider: str) -> None:
    message = {
        "role": "assistant",
        "content": "I look",
        "tool_calls": [CALL | {"index": 0}],
        "refusal": None,
        "images": [],
        "annotations": [],
    }
    faulty.faults = [
        lambda handler: handler.answer(
            200, reply(choices=[{"index": 0, "finish_reason": "tool_calls", "message": message}])
        )
    ]
    model = make(faulty.url, provider)
    first = model.query(QUESTION)
    model.query([*QUESTION, first, {"role": "tool", "tool_call_id": "c", "content": "a.py"}])
    sent = faulty.requests[1]["messages"][1]
    assert set(sent) <= STRICT, sent
    assert set(sent["tool_calls"][0]) == {"id", "type", "function"}
    assert json.loads(sent["tool_calls"][0]["function"]["arguments"]) == {"command": "ls"}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_goes_back_under_the_name_it_came_by(faulty: Any, field: str) -> None:
    message = {"role": "assistant", "content": "I look", "tool_calls": [CALL], field: "first I think"}
    choices = [{"index": 0, "finish_reason": "tool_calls", "message": message}]
    faulty.faults = [lambda handler: handler.answer(200, reply(choices=choices))]
    model = make(faulty.url)
    model.query([*QUESTION, model.query(QUESTION), {"role": "tool", "tool_call_id": "c", "content": "a.py"}])
    sent = faulty.requests[1]["messages"][1]
    assert (set(sent) - STRICT, sent[field]) == ({field}, "first I think")


def test_groqs_reply_needs_no_service_tier(faulty: Any) -> None:
    """LiteLLM reads it without asking whether it is there, and would lose the reply."""
    faulty.faults = [lambda handler: handler.answer(200, reply())]
    model = make(faulty.url, "groq/m")
    assert model.query(QUESTION)["extra"]["actions"] == [{"command": "ls", "tool_call_id": "c"}]
    assert (len(faulty.requests), model.usage.cost_usd) == (1, pytest.approx(100 * INPUT + 20 * OUTPUT))


def test_a_reply_that_its_provider_broke_off_is_asked_for_again(faulty: Any) -> None:
    error = {"code": 502, "message": "upstream failed"}
    broken = {"index": 0, "finish_reason": "error", "error": error, "message": {"role": "assistant", "content": ""}}
    calls: list[Call] = []
    faulty.faults = [
        lambda handler: handler.answer(200, reply(choices=[broken])),
        lambda handler: handler.answer(200, reply()),
    ]
    model = make(faulty.url, on_call=calls.append)
    assert model.query(QUESTION)["extra"]["cost"] == pytest.approx(2 * (100 * INPUT + 20 * OUTPUT))  # both have a usage
    assert [call.failure for call in calls] == ["server", ""]


def test_null_choices_without_usage_cost_nothing(faulty: Any) -> None:
    """How MiniMax answers what it refuses: HTTP 200, and a status of its own within."""
    refused = {"id": "x", "choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}
    faulty.faults = [lambda handler: handler.answer(200, refused)] * 3 + [lambda handler: handler.answer(200, reply())]
    model = make(faulty.url)
    assert model.query(QUESTION)["extra"]["cost"] == pytest.approx(100 * INPUT + 20 * OUTPUT)


def test_a_content_in_parts_is_read(faulty: Any) -> None:
    parts = [{"type": "text", "text": "I "}, {"type": "text", "text": "look"}]
    message = {"role": "assistant", "content": parts, "tool_calls": [CALL]}
    choices = [{"index": 0, "finish_reason": "tool_calls", "message": message}]
    faulty.faults = [lambda handler: handler.answer(200, reply(choices=choices))]
    read = make(faulty.url).query(QUESTION)
    assert (read["content"], read["extra"]["actions"][0]["command"]) == ("I look", "ls")
