"""A provider that fails in every way seen in the wild, over real HTTP: what is tried again, and how often."""

from __future__ import annotations

import email.utils
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from minisweagent.exceptions import FormatError

from agents.deadline import Deadline, OutOfTimeError
from agents.errors import MissingKeyError, ProviderError
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.provider_errors import KINDS
from agents.retry import RetryConfig

CANARY = "sk-canary-0123456789"
ASK = [{"role": "user", "content": "hello"}]
FAST = RetryConfig(max_attempts=4, initial_wait_seconds=0.01, call_timeout_seconds=30)

Fault = Callable[[Any], None]


def status(code: int, error: dict[str, Any] | None = None, **headers: str) -> Fault:
    return lambda handler: handler.answer(code, {"error": error or {"message": f"no {code}"}}, headers)


def body(raw: bytes, **headers: str) -> Fault:
    return lambda handler: handler.answer(200, raw, headers)


def drop(handler: Any) -> None:
    handler.close_connection = True
    handler.connection.close()


def truncate(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"id": ')
    handler.close_connection = True


def echo_key(handler: Any) -> None:
    handler.answer(401, {"error": {"message": f"bad key {handler.headers['Authorization']}"}})


def reset(handler: Any) -> None:
    """Ends the connection without a farewell."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    drop(handler)


def half_a_chunk(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b'20\r\n{"id": "x", "cho')
    handler.close_connection = True


def no_http(handler: Any) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


def choice(**choice: Any) -> Fault:
    return lambda handler: handler.answer(
        200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    )


PROVIDERS = ["anthropic/m", "gemini/m", "openrouter/m", "hosted_vllm/m", "azure/m"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_faults_are_told_apart_behind_every_providers_client(
    faulty: Any, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSWE_TEST_KEY", CANARY)
    faults = {
        "rate-limit": (status(429), 2),
        "server": (status(500), 2),
        "connection": (drop, 2),
        "malformed": (body(b"<html>"), 2),
        "auth": (status(401), 1),
        "not-found": (status(404), 1),
        "bad-request": (status(400), 1),
    }
    azure = {"api_version": "2024-01-01"} if provider.startswith("azure") else {}
    model = make(
        faulty.url,
        FAST.model_copy(update={"max_attempts": 2}),
        model=provider,
        api_key_env="POLYSWE_TEST_KEY",
    )
    model.config.model_kwargs |= azure
    seen = {}
    for kind, (fault, _) in faults.items():
        faulty.faults = [fault] * 4
        faulty.requests.clear()
        with pytest.raises(ProviderError) as caught:
            model.query(ASK)
        seen[kind] = (caught.value.kind, len(faulty.requests))
    assert seen == {kind: (kind, tries) for kind, (_, tries) in faults.items()}


def make(url: str, retry: RetryConfig = FAST, deadline: Deadline | None = None, **fields: Any) -> PoolModel:
    prices = {} if fields.get("free") else {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2}
    entry = ModelConfig(**{"name": "m", "model": "openai/m", "api_base": url} | prices | fields)
    return PoolModel(entry, retry, deadline or Deadline())


CONTEXT = {"message": "This model's maximum context length is 8 tokens.", "code": "context_length_exceeded"}
POLICY = {"message": "rejected by our safety system", "code": "content_policy_violation"}


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("rate-limit", status(429)),
        ("server", status(500)),
        ("server", status(502)),
        ("server", status(503)),
        ("server", status(529)),
        ("timeout", status(504)),
        ("connection", drop),
        ("connection", truncate),
        ("malformed", body(b"<html>bad gateway</html>", **{"Content-Type": "text/html"})),
        ("malformed", body(b'{"id": "x", "cho')),
        ("connection", reset),
        ("connection", half_a_chunk),
        ("connection", no_http),
        ("connection", body(b"not gzip", **{"Content-Encoding": "gzip"})),
        ("timeout", status(408)),
        ("server", status(520)),
        ("malformed", body(b"")),
        ("malformed", body(b"null")),
        ("malformed", body(b'"hello"')),
        ("malformed", body(b'{"id": "\xff\xfe"}')),
        ("server", body(b'{"error": {"message": "upstream failed", "code": 502}}')),
    ],
)
def test_passing_faults_are_tried_again(faulty: Any, kind: str, fault: Fault) -> None:
    faulty.faults = [fault, fault]
    model = make(faulty.url)
    reply = model.query(ASK)
    assert reply["extra"]["actions"][0]["command"].startswith("echo COMPLETE")
    assert len(faulty.requests) == 3
    assert (model.usage.calls, model.usage.failed_calls) == (1, 2)
    faulty.faults = [fault] * 9
    with pytest.raises(ProviderError, match="after 4 tries") as caught:
        model.query(ASK)
    assert caught.value.kind == kind
    assert len(faulty.requests) == 7
    assert model.usage.failed_calls == 6


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("auth", status(401)),
        ("auth", status(403)),
        ("quota", status(402)),
        ("quota", status(429, {"message": "over quota", "type": "insufficient_quota", "code": "insufficient_quota"})),
        ("not-found", status(404, {"message": "The model `m` does not exist", "code": "model_not_found"})),
        ("bad-request", status(400)),
        ("bad-request", status(422)),
        ("context-window", status(400, CONTEXT)),
        ("content-policy", status(400, POLICY)),
        ("content-policy", status(400, {"message": "blocked", "code": "content_filter"})),
        ("bad-request", status(413)),
        ("context-window", status(400, {"message": "Too long", "code": "string_above_max_length"})),
    ],
)
def test_final_faults_cost_exactly_one_request(faulty: Any, kind: str, fault: Fault) -> None:
    faulty.faults = [fault] * 3
    model = make(faulty.url)
    with pytest.raises(ProviderError) as caught:
        model.query(ASK)
    assert (caught.value.kind, len(faulty.requests), model.usage.failed_calls) == (kind, 1, 1)
    message = str(caught.value)
    assert message.startswith(f"m: {kind}: ")
    assert message.endswith(KINDS[kind][1])
    assert "\n" not in message


def test_retry_after_is_honoured_in_both_forms(faulty: Any) -> None:
    # a date has no fractions of a second: three seconds ahead are more than two
    date = email.utils.formatdate(time.time() + 3, usegmt=True)
    faulty.faults = [status(429, **{"Retry-After": "1"}), status(503, **{"Retry-After": date})]
    started = time.monotonic()
    make(faulty.url).query(ASK)
    assert time.monotonic() - started >= 1.9
    assert len(faulty.requests) == 3


@pytest.mark.parametrize(
    ("provider", "code", "error"),
    [
        (
            "anthropic/m",
            400,
            {"type": "invalid_request_error", "message": "prompt is too long: 210 tokens > 200 maximum"},
        ),
        (
            "gemini/m",
            400,
            {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens (8)"},
        ),
        ("hosted_vllm/m", 400, {"message": "This model's maximum context length is 8 tokens.", "code": 400}),
        ("openrouter/m", 400, {"message": "This endpoint's maximum context length is 8 tokens.", "code": 400}),
    ],
)
def test_a_conversation_that_outgrew_the_context_is_known_in_every_providers_words(
    faulty: Any, provider: str, code: int, error: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSWE_TEST_KEY", CANARY)
    faulty.faults = [status(code, error)] * 3
    with pytest.raises(ProviderError) as caught:
        make(faulty.url, model=provider, api_key_env="POLYSWE_TEST_KEY").query(ASK)
    assert (caught.value.kind, len(faulty.requests)) == ("context-window", 1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0.5", 0.5), ("7", 7.0), ("-3", None), ("nan", None), ("inf", None), ("soon", None), ("Wed, 99 Foo", None)],
)
def test_only_a_sensible_retry_after_counts(faulty: Any, value: str, seconds: float | None) -> None:
    faulty.faults = [status(429, **{"Retry-After": value})]
    with pytest.raises(ProviderError) as caught:
        make(faulty.url, FAST.model_copy(update={"max_attempts": 1})).query(ASK)
    assert caught.value.retry_after == seconds


def test_a_reply_that_drips_in_ends_with_the_calls_patience(faulty: Any) -> None:
    over = threading.Event()

    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        while not over.wait(0.1):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    faulty.faults = [drip]
    model = make(faulty.url, FAST.model_copy(update={"call_timeout_seconds": 1, "max_attempts": 1}))
    with pytest.raises(ProviderError) as caught:
        model.query(ASK)
    over.set()
    assert caught.value.kind == "timeout"
    assert model.usage.failed_calls == 1


@pytest.mark.parametrize(
    "reply",
    [
        choice(index=0, finish_reason="content_filter", message={"role": "assistant", "content": None}),
        choice(index=0, finish_reason="length", message={"role": "assistant", "content": "cut o"}),
        choice(
            index=0,
            finish_reason="tool_calls",
            message={
                "role": "assistant",
                "content": "x",
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "bash", "arguments": '{"comm'}}],
            },
        ),
    ],
)
def test_an_answer_without_an_action_is_the_models_and_is_charged(faulty: Any, reply: Fault) -> None:
    faulty.faults = [reply]
    model = make(faulty.url)
    with pytest.raises(FormatError):
        model.query([{"role": "user", "content": "x" * 400}])
    assert len(faulty.requests) == 1
    assert (model.usage.calls, model.usage.failed_calls) == (1, 0)
    assert model.usage.cost_usd > 0


def test_a_usage_below_zero_gives_nothing_back(faulty: Any) -> None:
    faulty.usage = {"prompt_tokens": -1000, "completion_tokens": 5, "total_tokens": -995}
    model = make(faulty.url)
    model.query([{"role": "user", "content": "x" * 400}])
    assert model.usage.cost_usd > 0
    assert model.usage.estimated_calls == 1


def test_a_wait_beyond_patience_ends_the_call_at_once(faulty: Any) -> None:
    faulty.faults = [status(429, **{"Retry-After": "3600"})] * 2
    deadline = Deadline()
    with pytest.raises(ProviderError) as caught:
        make(faulty.url, RetryConfig(max_seconds=600), deadline).query(ASK)
    assert deadline.excused < 600  # waits are excused
    assert caught.value.retry_after == 3600
    assert len(faulty.requests) == 1


def test_a_silent_server_times_out_once_per_try(faulty: Any) -> None:
    faulty.faults = [lambda handler: time.sleep(1.5)] * 2
    model = make(faulty.url, FAST.model_copy(update={"call_timeout_seconds": 0.3, "max_attempts": 2}))
    with pytest.raises(ProviderError) as caught:
        model.query(ASK)
    assert (caught.value.kind, len(faulty.requests)) == ("timeout", 2)


def test_nobody_listening_is_a_connection_fault() -> None:
    with pytest.raises(ProviderError) as caught:
        make("http://127.0.0.1:9/v1").query(ASK)
    assert caught.value.kind == "connection"


def test_provider_time_is_excused(faulty: Any) -> None:
    make(faulty.url).query(ASK)  # the first call of a process is slow
    deadline = Deadline(limit_seconds=5)
    faulty.faults = [status(503, **{"Retry-After": "6"})]
    make(faulty.url, deadline=deadline).query(ASK)
    deadline.check()
    assert deadline.excused >= 6


def test_a_call_ends_with_the_wall_clock(faulty: Any) -> None:
    over = threading.Event()
    faulty.faults = [lambda handler: over.wait(600)]
    with pytest.raises(OutOfTimeError):  # and not a ProviderError: the call's own patience is longer
        make(faulty.url, FAST.model_copy(update={"call_timeout_seconds": 300}), Deadline(limit_seconds=0.4)).query(ASK)
    over.set()


def test_half_a_surrogate_pair_in_the_history_does_not_end_the_conversation(faulty: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "echo \\ud83d"}'}}
    said = {"role": "assistant", "content": "\ud83d é", "tool_calls": [call]}
    faulty.faults = [choice(index=0, finish_reason="tool_calls", message=said)]
    model = make(faulty.url)
    history = [*ASK, model.query(ASK)]
    history.append({"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "\ud83d"}]})
    model.query(history)
    sent = faulty.requests[1]["messages"]
    assert (sent[1]["content"], sent[2]["content"][0]["text"]) == ("? é", "?")
    assert model.usage.failed_calls == 0


@pytest.mark.parametrize("code", [408, 504])
def test_a_gateways_timeout_is_the_providers_however_little_time_is_left(faulty: Any, code: int) -> None:
    faulty.faults = [status(code)]
    patient = FAST.model_copy(update={"call_timeout_seconds": 3600})
    model = make(faulty.url, patient, Deadline(limit_seconds=1800))
    model.query(ASK)
    assert (model.usage.calls, model.usage.failed_calls) == (1, 1)


def test_costs_follow_the_entry_cache_included(faulty: Any) -> None:
    plain = make(faulty.url)
    assert plain.query(ASK)["extra"]["cost"] == pytest.approx(100 * 1e-3 + 10 * 1e-2)
    cached = make(faulty.url, cache_read_cost_per_token=1e-4)
    assert cached.query(ASK)["extra"]["cost"] == pytest.approx(60 * 1e-3 + 40 * 1e-4 + 10 * 1e-2)
    assert (cached.usage.prompt_tokens, cached.usage.completion_tokens, cached.usage.cached_tokens) == (100, 10, 40)
    free = make(faulty.url, free=True)
    assert free.query(ASK)["extra"]["cost"] == 0
    assert free.usage.prompt_tokens == 100


def test_table_prices_apply_without_own_ones(faulty: Any) -> None:
    entry = ModelConfig(name="m", model="openai/gpt-5", api_base=faulty.url)
    reply = PoolModel(entry, FAST, Deadline()).query(ASK)
    assert reply["extra"]["cost"] == pytest.approx(60 * 1.25e-6 + 40 * 1.25e-7 + 10 * 1e-5)


def test_a_reply_without_usage_is_still_charged(faulty: Any) -> None:
    faulty.usage = None
    model = make(faulty.url)
    reply = model.query([{"role": "user", "content": "x" * 4000}])
    assert reply["extra"]["usage_estimated"] is True
    assert model.usage.prompt_tokens == 1000
    assert model.usage.estimated_calls == 1
    assert reply["extra"]["cost"] >= 1.0


def test_the_key_is_sent_but_never_told(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSWE_TEST_KEY", CANARY)
    faulty.faults = [echo_key]
    model = make(faulty.url, api_key_env="POLYSWE_TEST_KEY")
    with pytest.raises(ProviderError) as caught:
        model.query(ASK)
    assert faulty.keys == [f"Bearer {CANARY}"]
    assert CANARY not in str(caught.value) + repr(caught.value) + str(model.serialize())
    assert caught.value.__suppress_context__
    monkeypatch.delenv("POLYSWE_TEST_KEY")
    with pytest.raises(MissingKeyError, match="POLYSWE_TEST_KEY"):
        model.query(ASK)


def test_no_key_of_the_environment_reaches_another_address(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    make(faulty.url).query(ASK)
    assert CANARY not in faulty.keys[0]


def test_a_proxy_does_not_stand_between_us_and_loopback(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    make(faulty.url).query(ASK)
    assert len(faulty.requests) == 1


def test_arguments_reach_the_provider_and_nothing_is_added(faulty: Any) -> None:
    make(faulty.url, model_kwargs={"temperature": 0.25}).query(ASK)
    request = faulty.requests[0]
    assert set(request) == {"model", "messages", "tools", "temperature"}
    assert request["temperature"] == 0.25
    make(faulty.url).query(ASK)
    assert set(faulty.requests[1]) == {"model", "messages", "tools"}


def test_what_a_server_refuses_can_be_left_out(faulty: Any) -> None:
    messages = [{"role": "system", "content": "be brief"}, *ASK]
    plain = make(faulty.url, model_kwargs={"parallel_tool_calls": True})
    plain.query(messages)
    assert "parallel_tool_calls" in faulty.requests[0]
    without = {"additional_drop_params": ["parallel_tool_calls"], "supports_system_message": False}
    make(faulty.url, model_kwargs={"parallel_tool_calls": True} | without).query(messages)
    assert set(faulty.requests[1]) == {"model", "messages", "tools"}
    assert [message["role"] for message in faulty.requests[1]["messages"]] == ["user"]


def test_the_error_survives_pickling(faulty: Any) -> None:
    faulty.faults = [status(401)]
    with pytest.raises(ProviderError) as caught:
        make(faulty.url).query(ASK)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.kind, copy.transient) == (str(caught.value), "auth", False)


DEBUGGED = """
import sys
from agents.errors import ProviderError
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.retry import RetryConfig
from agents.deadline import Deadline
entry = ModelConfig(name="m", model="openai/m", api_base=sys.argv[1], api_key_env="POLYSWE_TEST_KEY", free=True)
model = PoolModel(entry, RetryConfig(max_attempts=1), Deadline())
for _ in range(2):
    try:
        model.query([{"role": "user", "content": "hello"}])
    except ProviderError as error:
        print(error)
"""


def test_not_even_litellms_debug_mode_tells_the_key(faulty: Any) -> None:
    environment = os.environ | {"LITELLM_LOG": "DEBUG", "POLYSWE_TEST_KEY": CANARY, "OPENAI_LOG": "debug"}
    faulty.faults = [echo_key]
    done = subprocess.run(
        [sys.executable, "-c", DEBUGGED, faulty.url], env=environment, capture_output=True, text=True, check=True
    )
    assert "m: auth: " in done.stdout
    assert faulty.keys == [f"Bearer {CANARY}"] * 2
    assert CANARY not in done.stdout + done.stderr
