"""The pool is checked before anything is paid, and keys stay out of sight."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from agents.errors import MissingKeyError, PoolError, PriceUnknownError
from agents.pool import ModelConfig, api_key, check_pool, prices
from agents.runner import AgentConfig

PRICED = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
LOCAL: dict[str, Any] = {"api_base": "http://127.0.0.1:1/v1"}


def entry(name: str = "m", model: str = "openai/house-model", **fields: Any) -> ModelConfig:
    return ModelConfig(name=name, model=model, **fields)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "POLYSWE_TEST_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_prices_come_from_the_entry_the_table_or_the_declaration() -> None:
    own = prices(entry(**PRICED))
    assert (own.input, own.output, own.cache_read, own.source) == (1e-6, 2e-6, 1e-6, "entry")
    assert prices(entry(**PRICED, cache_read_cost_per_token=1e-7)).cache_read == 1e-7
    table = prices(entry(model="openai/gpt-5"))
    assert (table.input, table.output, table.cache_read, table.source) == (1.25e-6, 1e-5, 1.25e-7, "litellm")
    assert prices(entry(model="openai/gpt-5", **PRICED)).input == 1e-6
    assert prices(entry(free=True)).source == "free"


def test_a_home_folder_is_refused_where_nothing_replaces_it() -> None:
    with pytest.raises(ValidationError, match=r"model_kwargs\.ssl_verify: write the whole path"):
        entry(model_kwargs={"ssl_verify": "~/ca.pem"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_no_request_can_hold_is_refused(value: float) -> None:
    with pytest.raises(ValidationError, match=r"\.nan or \.inf"):
        entry(model_kwargs={"extra_body": {"penalties": [0.1, value]}})


@pytest.mark.parametrize(
    "fields", [{}, {"input_cost_per_token": 0, "output_cost_per_token": 0}, {"model": "ollama/llama3"}]
)
def test_an_unknown_or_zero_price_is_refused_unless_declared_free(fields: dict[str, Any]) -> None:
    with pytest.raises(PriceUnknownError, match=r"set input_cost_per_token and output_cost_per_token .*free: true"):
        prices(entry(**fields, **LOCAL))
    prices(entry(**{key: value for key, value in fields.items() if key == "model"}, free=True))


@pytest.mark.parametrize(
    ("model", "nearest"),
    [
        ("claude-sonet-4-5", "claude-sonnet-4-5"),
        ("anthropic/claude-opus-4-55", "anthropic/claude-opus-4-5"),
        ("openai/gpt-9", "openai/gpt-5"),
        ("gemini/gemini-9-pro", "gemini/gemini-2.5-pro"),
    ],
)
def test_an_id_that_litellm_does_not_know_is_called_so_with_the_nearest_ones(model: str, nearest: str) -> None:
    with pytest.raises(PriceUnknownError) as caught:
        prices(entry(model=model))
    message = str(caught.value)
    assert f"LiteLLM {version('litellm')} does not know {model}" in message
    assert nearest in message
    assert "input_cost_per_token and output_cost_per_token" in message
    assert "free: true" not in message, "on somebody's paid address this would switch the cost limits off"


@pytest.mark.parametrize(
    ("api_base", "private"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://192.168.1.7:8000/v1", True),
        ("http://[fd00::1]/v1", True),
        ("http://vllm:8000/v1", True),
        ("https://api.example.org/v1", False),
        ("https://8.8.8.8/v1", False),
        ("os.environ/MY_ADDRESS", False),
    ],
)
def test_free_is_proposed_only_for_an_address_of_ones_own(api_base: str, private: bool) -> None:
    with pytest.raises(PriceUnknownError) as caught:
        prices(entry(api_base=api_base))
    assert ("free: true" in str(caught.value)) == private


@pytest.mark.parametrize(
    "fields",
    [
        {"input_cost_per_token": 1e-6},
        {"cache_read_cost_per_token": 1e-6},
        {"free": True, **PRICED},
        {"input_cost_per_token": -1.0, "output_cost_per_token": 1.0},
        {"input_cost_per_token": float("nan"), "output_cost_per_token": 1.0},
        {"model_kwargs": {"api_key": "sk"}},
        {"model_kwargs": {"num_retries": 3}},
        {"model_kwargs": {"extra_headers": {"Authorization": "Bearer x"}}},
        {"api_key_env": "sk-proj-123"},
        {"name": ""},
        {"name": " m"},
        {"name": "a\nb"},
        {"name": "a\x1b[31mb"},
        {"name": "a\u202eb"},
        {"api_base": "https://user:pass@models.example.org/v1"},
        {"api_base": "https://models.example.org/v1?code=abc"},
        {"api_base": "https://models.example.org/v1#abc"},
        {"api_base": "https://models.example.org/v1;code=abc"},
        {"api_base": "user:pass@models.example.org/v1"},
        {"api_base": "https://models.example.org/sk-abcdefgh12345/v1"},
        {"api_base": "https://models.example.org:port/v1"},
        {"api_base": "127.0.0.1:8000/v1"},
        {"api_base": "localhost:8000"},
        {"api_base": "htp://models.example.org/v1"},
        {"api_key_env": "sk_live_abcdefgh12345678"},
        {"pirce": 1},
    ],
)
def test_a_contradictory_entry_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ModelConfig.model_validate({"name": "m", "model": "openai/x"} | fields)


CANARY = "canary-0123456789"


@pytest.mark.parametrize(
    "kwargs",
    [
        {"aws_secret_access_key": CANARY},
        {"aws_session_token": CANARY},
        {"azure_ad_token": CANARY},
        {"vertex_credentials": CANARY},
        {"extra_headers": {"X-Goog-Api-Key": CANARY}},
        {"extra_headers": {"Proxy-Authorization": f"Basic {CANARY}"}},
        {"extra_body": {"proxy": [{"user": "u", "PASSWORD": CANARY}]}},
        {"fallbacks": [{"model": "openai/y", "api_key": CANARY}]},
        {"api_keys": [CANARY]},
        {"auth_tokens": [CANARY]},
        {"access_tokens": CANARY},
        {"clientSecret": CANARY},
        {"token": CANARY.encode()},
    ],
)
def test_no_argument_may_hold_a_secret_at_any_depth(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="use api_key_env or the environment") as caught:
        entry(model_kwargs=kwargs)
    with pytest.raises(ValidationError, match="use api_key_env or the environment") as overriding:
        AgentConfig(overrides={"model": {"model_kwargs": kwargs}})
    assert CANARY not in str(caught.value) + str(overriding.value)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"max_tokens": 4096, "max_completion_tokens": "4096"},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"stop_tokens": ["</s>"], "skip_special_tokens": True, "extra_body": {"bad_words_tokens": "x"}},
        {"logprobs": True, "top_logprobs": 5, "logit_bias": {"50256": -100}},
        {"tool_choice": "auto"},
        {"tool_choice": {"type": "function", "function": {"name": "bash"}}},
        {"response_format": {"type": "json_schema", "properties": {"key": {"type": "string"}}}},
        {"stop_token_ids": [1, 2], "monkey": None},
        {"temperature": 0.5, "reasoning_effort": "high", "extra_headers": {"X-Title": "polyswe"}},
        {1: {"2": ["text"]}},
    ],
)
def test_settings_about_tokens_are_no_secrets(kwargs: dict[str, Any]) -> None:
    AgentConfig(overrides={"model": {"model_kwargs": kwargs}})
    if all(isinstance(key, str) for key in kwargs):
        assert entry(model_kwargs=kwargs).model_kwargs == kwargs


def test_check_lists_every_culprit_at_once() -> None:
    pool = [
        entry("a", **LOCAL, **PRICED),
        entry("A", **LOCAL, **PRICED),
        entry("b", **LOCAL),
        entry("c", api_key_env="POLYSWE_TEST_KEY", **PRICED),
        entry("d", model="anthropic/claude-sonnet-4-5-20250929"),
    ]
    with pytest.raises(PoolError) as caught:
        check_pool(pool)
    message = str(caught.value)
    for culprit in ("name A is used twice", "model b", "POLYSWE_TEST_KEY", "ANTHROPIC_API_KEY"):
        assert culprit in message
    assert "\n" not in message


def test_check_names_the_one_kind_of_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingKeyError, match="POLYSWE_TEST_KEY"):
        check_pool([entry(api_key_env="POLYSWE_TEST_KEY", **PRICED)])
    with pytest.raises(PriceUnknownError, match=r"model b .*model c "):
        check_pool([entry("b", **LOCAL), entry("c", **LOCAL)])
    with pytest.raises(PoolError, match="empty"):
        check_pool([])
    monkeypatch.setenv("POLYSWE_TEST_KEY", "sk-1234567890")
    check_pool([entry(api_key_env="POLYSWE_TEST_KEY", **PRICED), entry("local", **LOCAL, free=True)])


def test_a_key_never_travels_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    assert api_key(entry()) is None  # LiteLLM finds the usual variable
    for base in ("http://127.0.0.1:1/v1", "https://models.example.org/v1"):
        assert "sk-of-openai" not in str(api_key(entry(api_base=base)))
    monkeypatch.setenv("POLYSWE_TEST_KEY", " sk-mine-1234\n")
    assert api_key(entry(api_key_env="POLYSWE_TEST_KEY")) == "sk-mine-1234"


@pytest.mark.parametrize("name", ["mini-SWE-agent + Claude 4.5 Opus (medium)", "模型", "../up", "a/b", ".", "x" * 120])
def test_a_name_may_be_anything_printable(name: str) -> None:
    assert entry(name).name == name


def test_a_record_changes_no_outcome() -> None:
    assert entry(record="Claude 4.5 Opus medium").record == "Claude 4.5 Opus medium"
    with pytest.raises(ValidationError):
        entry(record="")


def shipped() -> list[ModelConfig]:
    """The entries of every configuration that comes with the product, and of the README."""
    root = Path(__file__).parents[2]
    texts = [path.read_text(encoding="utf-8") for path in sorted((root / "harness/configs").glob("*.yaml"))]
    for page in (root / "README.md", *sorted((root / "harness/docs").glob("*.md"))):
        texts += re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    pools = [parsed.get("pool") for text in texts if isinstance(parsed := yaml.safe_load(text), dict)]
    return [ModelConfig.model_validate(model) for pool in pools if isinstance(pool, list) for model in pool]


def test_every_model_that_is_shipped_exists_and_has_a_price() -> None:
    models = shipped()
    assert {model.model for model in models} >= {"anthropic/claude-opus-4-5-20251101"}
    for model in models:
        own = model.api_base is not None or model.model.startswith("azure/")  # a deployment's name is the user's own
        assert prices(model).source == "litellm" or own, model.model


def test_importing_is_light_and_loading_is_silent() -> None:
    code = (
        "import sys, agents.runner, agents.scripted.server\n"
        "assert not {'litellm', 'minisweagent', 'docker'} & set(sys.modules)\n"
        "import agents.loop\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
