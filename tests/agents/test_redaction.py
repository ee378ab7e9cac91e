"""No secret is written anywhere, whatever it is called and however it is written."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.deadline import Deadline
from agents.errors import MissingKeyError, ProviderError
from agents.loop import PoolAgent
from agents.model import PoolModel
from agents.pool import ModelConfig, check_pool
from agents.redaction import MARK, redact, redacted_json, secrets
from agents.retry import RetryConfig
from agents.runner import AgentConfig

SECRET = "cañary+/0123=&<45>\"6'789"
CANARY = "canary-0123456789"


def entry(**fields: Any) -> ModelConfig:
    return ModelConfig(**{"name": "m", "model": "openai/m", "free": True} | fields)


def in_base64(before: str) -> str:
    return base64.b64encode(f"{before}{SECRET} and more".encode()).decode()


FORMS = {
    "plain": SECRET,
    "JSON": json.dumps(SECRET),
    "JSON in UTF-8": json.dumps(SECRET, ensure_ascii=False),
    "JSON as Go writes it": json.dumps(SECRET).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
    "JSON with slashes": json.dumps(SECRET).replace("/", "\\/"),
    "JSON in JSON": json.dumps(json.dumps(SECRET)),
    "URL": quote(SECRET, safe=""),
    "URL's path": quote(SECRET),
    "form": quote_plus(SECRET),
    "URL in small letters": quote(SECRET, safe="").replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d"),
    "URL in URL": quote(quote(SECRET, safe=""), safe=""),
    "HTML": html.escape(SECRET),
    "hex": SECRET.encode().hex(),
    "base64": in_base64(""),
    "base64 of user:key": in_base64("user:"),
    "base64 after one byte": in_base64("a"),
    "base64 after two bytes": in_base64("ab"),
    "base64 for URLs": in_base64("").replace("+", "-").replace("/", "_"),
    "base64 in a URL": quote(in_base64(""), safe=""),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_write_a_secret_is_known(form: str) -> None:
    text = redact(f"before {FORMS[form]} after", [SECRET])
    assert MARK in text
    assert text.startswith("before ")
    assert text.endswith(" after")
    clear = [piece for piece in ("0123", "789", quote(quote("=&")), "MDEyMz", "30313233") if piece in text]
    assert clear == []


@given(secret=st.text(min_size=8), before=st.text(), after=st.text())
def test_a_document_without_its_secret_is_still_a_document(secret: str, before: str, after: str) -> None:
    written = redacted_json({"x": before + secret + after, secret: [secret]}, [secret], indent=2)
    assert secret in MARK * 2 or json.dumps(secret)[1:-1] not in written or secret in before + MARK + after
    assert MARK in json.loads(written)["x"]


@pytest.mark.parametrize("before", ["\n", "\\", '"', "\u1234", "\x1f"])
def test_blotting_out_breaks_no_escape_sequence(before: str) -> None:
    for secret in ("nabcdefgh", "u1234abcdefgh", "234abcdefgh", '"abcdefgh', "\\abcdefgh"):
        document = json.loads(redacted_json({"x": before + secret}, [secret]))
        assert document["x"].endswith(MARK)
        assert secret not in document["x"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", CANARY),
        ("AWS_SESSION_TOKEN", CANARY),
        ("AWS_BEARER_TOKEN_BEDROCK", CANARY),
        ("WATSONX_APIKEY", CANARY),
        ("WATSONX_ZENAPIKEY", CANARY),
        ("AZURE_CLIENT_SECRET", CANARY),
        ("AZURE_PASSWORD", "correcthorse"),
        ("DATABRICKS_TOKEN", "12345678"),
        ("AICORE_SERVICE_KEY", '{"clientsecret": "canary-0123456789"}'),
        ("GIGACHAT_CREDENTIALS", CANARY),
        ("LM_STUDIO_PASSPHRASE", CANARY),
        ("SENTRY_DSN", CANARY),
        ("lower_case_api_key", CANARY),
    ],
)
def test_variables_that_the_pool_does_not_know_are_secret_by_their_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert value in secrets(entry())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "disabled"),
        ("SSH_AUTH_SOCK", str(Path(__file__))),
        ("KEYBOARD_LAYOUT", "german"),
        ("OLDPWD", "/some/long/path"),
        ("LANG", "en_US.UTF-8"),
    ],
)
def test_ordinary_settings_are_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert value not in secrets(entry())


def test_credentials_in_addresses_of_the_environment_are_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{CANARY}-user:{CANARY}-pass@proxy.example.org:3128")
    monkeypatch.setenv("MY_ADDRESS", f"https://host.example.org/v1?code={CANARY}-code")
    known = secrets(entry(api_base="os.environ/MY_ADDRESS"))
    assert {f"{CANARY}-user", f"{CANARY}-pass", f"{CANARY}-code"} <= set(known)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"extra_headers": {"X-Tenant": "some-text"}},
        {"headers": {"Ocp-Apim-Subscription": "some-text"}},
        {"extra_headers": {"Cookie": "a=b"}},
        {"extra_headers": {"X-Portkey-Config": "pc-123"}},
        {"extra_body": {"tenant": "canary0123456789012345"}},
        {"extra_query": {"code": "short"}},
        {"extra_headers": {"X-Pin": 12345678}},
        {"extra_headers": {"X-Pin": "12345678"}},
        {"extra_headers": [["X-Tenant", "some-text"]]},
        {"extra_query": {"sig": "short"}},
        {"extra_body": {"proxy": "http://user:pass@proxy.example.org"}},
        {"user": "sk-abcdefgh12345678"},
        {"metadata": {"trace": "Bearer abcdefgh"}},
        {"extra_body": {"nested": [{"jwt": "a.b.c"}]}},
        {"metadata": {"x": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"}},
        {"x": "-----BEGIN PRIVATE KEY-----\nabc"},
    ],
)
def test_headers_and_extra_texts_may_be_secrets_by_any_name(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"os\.environ/NAME") as caught:
        entry(model_kwargs=kwargs)
    leaves = [leaf for leaf in json.dumps(kwargs).split('"') if len(leaf) > 8 and leaf not in str(kwargs.keys())]
    assert not any(leaf in str(caught.value) for leaf in leaves if any(c.isdigit() for c in leaf))


def test_settings_without_secrets_stay_possible() -> None:
    entry(
        model_kwargs={
            "temperature": 0.5,
            "extra_headers": {"X-Title": "polyswe", "anthropic-beta": "context-1m-2025-08-07"},
            "extra_body": {
                "provider": {"order": ["anthropic", "amazon-bedrock"], "allow_fallbacks": False},
                "models": ["anthropic/claude-sonnet-4-5-20250929"],
                "chat_template_kwargs": {"enable_thinking": True},
            },
            "response_format": {"type": "json_object"},
            "reasoning_effort": "high",
            "prompt_cache_key": "polyswe",
            "aws_region_name": "us-east-1",
        }
    )


def test_no_environment_of_a_container_may_hold_a_secret() -> None:
    with pytest.raises(ValidationError, match="would put a secret"):
        AgentConfig(overrides={"environment": {"env": {"GITHUB_TOKEN": CANARY}}})
    AgentConfig(overrides={"environment": {"env": {"PAGER": "cat", "TQDM_DISABLE": "1"}}})


def test_variables_are_named_in_the_configuration_and_sent_at_call_time(
    faulty: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_BASE", f"{faulty.url}?code={CANARY}-code")
    monkeypatch.setenv("MY_TENANT", f"{CANARY}-tenant")
    tenant = "os.environ/MY_TENANT"
    config = entry(
        api_base="os.environ/MY_BASE",
        model_kwargs={"extra_headers": {"X-Tenant": tenant}, "extra_body": {"who": [tenant]}},
    )
    model = PoolModel(config, RetryConfig(max_attempts=1), Deadline())
    reply = model.query([{"role": "user", "content": "hello"}])
    assert faulty.requests[0]["who"] == [f"{CANARY}-tenant"]
    assert "actions" in reply["extra"]
    assert CANARY not in config.model_dump_json() + json.dumps(model.serialize())
    check_pool([config])
    monkeypatch.delenv("MY_TENANT")
    with pytest.raises(MissingKeyError, match="set the variable MY_TENANT"):
        check_pool([config])
    with pytest.raises(MissingKeyError, match="MY_TENANT"):
        model.query([{"role": "user", "content": "hello"}])


@pytest.mark.parametrize("form", FORMS)
def test_a_key_that_a_provider_echoes_is_in_no_error_and_no_trajectory(
    faulty: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    monkeypatch.setenv("POLYSWE_TEST_VARIABLE", SECRET)
    config = entry(api_base=faulty.url, api_key_env="POLYSWE_TEST_VARIABLE")
    model = PoolModel(config, RetryConfig(max_attempts=1), Deadline())
    monkeypatch.setattr("agents.model.api_key", lambda model: "none")  # the key is no text that HTTP can carry
    faulty.faults = [lambda handler: handler.answer(401, {"error": {"message": f"bad key {FORMS[form]}"}})]
    with pytest.raises(ProviderError, match="auth") as caught:
        model.query([{"role": "user", "content": "hello"}])
    call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    message = {"role": "assistant", "content": f"The key is {FORMS[form]}", "tool_calls": [call]}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    body["choices"] = [{"index": 0, "finish_reason": "tool_calls", "message": message}]  # type: ignore[assignment]
    faulty.faults = [lambda handler: handler.answer(200, body)]
    kept = tmp_path / "trajectory.json"
    agent = PoolAgent(
        model, Container(ContainerConfig(image="none")), stamp={}, system_template="", instance_template="",
        output_path=kept,
    )  # fmt: skip
    agent.add_messages({"role": "user", "content": "hello"})
    agent.query()
    written = str(caught.value) + json.dumps(json.loads(kept.read_text()))
    assert written.count(MARK) >= 2
    assert not any(piece in written for piece in ("0123=", "0123%", "MDEyMz", "30313233", "0123\\u003d"))
