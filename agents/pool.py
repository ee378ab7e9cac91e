"""The models an agent may use: names, addresses, the names of their keys' variables, and prices."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agents.errors import MissingKeyError, PoolError, PriceUnknownError
from agents.third_party import is_loopback, is_private, load_litellm

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_OWNED = {
    "api_key": "api_key_env (the name of the variable)",
    "api_base": "api_base",
    "base_url": "api_base",
    "model": "model",
    "num_retries": "agent.retry",
    "max_retries": "agent.retry",
    "timeout": "agent.retry.call_timeout_seconds",
    "input_cost_per_token": "input_cost_per_token of the entry",
    "output_cost_per_token": "output_cost_per_token of the entry",
}
"""Arguments of a call that have a field of their own, and which."""

VARIABLE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
"""A text that is taken from an environment variable at call time, as in LiteLLM's own configuration files."""

_SECRET_NAME = re.compile(
    r"key|secret|token|credential|auth|passw|passphrase|bearer|cookie|jwt|signature|^(x-)?(sig|sas|code|pwd|pat)$",
    re.IGNORECASE,
)
_NO_SECRET_NAME = re.compile(
    r"(?!.*(key|secret|credential|password|auth|access|refresh|bearer|session|api|id_)).*_tokens|prompt_cache_key",
    re.IGNORECASE,
)
"""Settings about a model's tokens (`max_tokens`, `stop_tokens`, …) and the like, which are no secrets."""

_SECRET_VALUE = re.compile(
    r"\s*(bearer|basic|token|apikey)\s+\S{6,}"  # as in Authorization
    r"|(sk|pk|rk|gsk|xai|hf|nvapi|glpat|r8|csk|tgp|pplx|fw|ghp|gho|ghs|github_pat|xox[abps])[-_][\w-]{8,}"
    r"|(AIza|AKIA|ASIA|ABSK|ya29\.)[\w+/=.-]{12,}|eyJ[\w-]{8,}\.[\w.-]+|-----BEGIN [\s\S]*",
    re.IGNORECASE,
)
"""Texts that are keys, whatever they are called."""

_OPAQUE = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[A-Za-z0-9+/_=.~-]{20,}")
"""A long text of letters and digits in one piece."""

_MODEL_ID = re.compile(
    r"[a-z][a-z0-9_.-]*/[A-Za-z0-9/_.:-]+|(claude|gpt|gemini|o\d|grok|llama|qwen|deepseek)[a-z0-9.-]*"
)
"""A model's id is no secret, however long."""

_OPEN_HEADERS = frozenset(
    {
        "accept", "anthropic-beta", "anthropic-version", "api-version", "content-type", "helicone-cache-enabled",
        "http-referer", "openai-beta", "referer", "user-agent", "x-title",
    }
)  # fmt: skip
"""Headers that hold no secret."""

_OPEN_QUERY = frozenset({"api-version", "api_version", "beta", "version"})
"""Parameters of an address that hold no secret."""

_LOCAL = ("ollama/", "ollama_chat/", "llamafile/")
"""Beginnings of the ids of models that run on this machine unless they have an address."""

_ELSEWHERE = "use api_key_env or the environment (os.environ/NAME in its place)"


class ModelConfig(BaseModel):
    """One model of the pool."""

    model_config = ConfigDict(
        extra="forbid", protected_namespaces=(), hide_input_in_errors=True, use_attribute_docstrings=True
    )

    name: str = Field(min_length=1, max_length=120)
    """Name used in tables, anything printable. Folders are named by a safe form of it."""
    model: str = Field(min_length=1)
    """LiteLLM model id, such as `openai/gpt-5` or `anthropic/claude-sonnet-4-5-20250929`."""
    api_base: str | None = None
    """Address of an OpenAI-compatible (or the provider's own) endpoint; None is the provider's usual one.
    An address with credentials comes from a variable: `os.environ/NAME`."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the key. The key itself never appears in a configuration.
    None uses the provider's usual variable; with an `api_base`, None sends no key at all."""
    input_cost_per_token: Price | None = None
    """USD per prompt token. None takes LiteLLM's table."""
    output_cost_per_token: Price | None = None
    """USD per completion token. None takes LiteLLM's table."""
    cache_read_cost_per_token: Price | None = None
    """USD per prompt token read from the provider's cache. None charges it like any prompt token
    (or as LiteLLM's table says, when the other prices come from there)."""
    cache_write_cost_per_token: Price | None = None
    """USD per prompt token written to the provider's cache. None charges it like any prompt token (or see above)."""
    free: bool = False
    """Declares that calls cost nothing. Without it a model of unknown or zero price is refused."""
    model_kwargs: dict[str, Any] = {}
    """Further arguments of every call, such as temperature, passed as they are. Keys and tokens are refused, as are all
    headers that may hold one: write `os.environ/NAME` in their place, and the variable is read at call time."""
    record: str | None = Field(default=None, min_length=1)
    """Part of the name under which recorded outcomes know this model. A router that was fitted on that record then
    routes to this entry, and `--dry-run` goes by its costs. It changes no outcome."""
    repeats: int | None = Field(default=None, ge=1)
    """Attempts of this model at every instance. None takes `run.repeats`."""
    scripted: bool = False
    """A stand-in that plays a script: everything it produces says so."""
    step_limit: int | None = Field(default=None, ge=0)
    """Overrides the agent's step limit for this model. 0 means no limit."""
    cost_limit: float | None = Field(default=None, ge=0)
    """Overrides the agent's cost limit in USD for this model. 0 means no limit."""
    wall_time_limit_seconds: int | None = Field(default=None, ge=0)
    """Overrides the agent's wall-clock limit for this model. 0 means no limit."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Attempts of this model at the same time, such as 1 for a small local server. Meanwhile other models' cells take
    the free agents. None means no limit but `run.agent_workers`."""
    rpm: int | None = Field(default=None, ge=1)
    """Requests a minute that the provider allows, over all agents of the run (on a cluster: of all nodes). Calls are
    spread evenly. Waiting for a turn counts neither as the agent's time nor as the model's. None means no limit."""
    tpm: int | None = Field(default=None, ge=1)
    """Tokens a minute that the provider allows, of prompts and completions; cached ones count. A call reserves an
    estimate and is settled with what it used. None means no limit."""

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip():
            raise ValueError("a model's name must be printable, without spaces around it")
        return name

    @field_validator("api_base")
    @classmethod
    def _open_address(cls, address: str | None) -> str | None:
        if address is not None:
            _check_address(address)
        return address

    @field_validator("api_key_env")
    @classmethod
    def _name_of_a_variable(cls, name: str | None) -> str | None:
        if name is not None and (_SECRET_VALUE.fullmatch(name) or (_OPAQUE.fullmatch(name) and not name.isupper())):
            raise ValueError("api_key_env looks like a key: give the name of the variable that holds it")
        return name

    @field_validator("model_kwargs")
    @classmethod
    def _checked_kwargs(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        return checked_kwargs(kwargs)

    @model_validator(mode="after")
    def _prices_fit_together(self) -> ModelConfig:
        plain = [self.input_cost_per_token, self.output_cost_per_token]
        cached = [self.cache_read_cost_per_token, self.cache_write_cost_per_token]
        if self.free and any(plain + cached):
            raise ValueError(f"model {self.name} is declared free and has a price: drop one of the two")
        if (plain[0] is None) != (plain[1] is None):
            raise ValueError(f"model {self.name} needs both input_cost_per_token and output_cost_per_token, or neither")
        if plain[0] is None and any(price is not None for price in cached):
            raise ValueError(f"model {self.name} prices the cache only: add input_ and output_cost_per_token")
        return self


def checked_kwargs(kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` if they may be passed to every call.

    Raises:
        ValueError: An argument has a field of its own, or may be a secret, which would be written to a run's
            configuration and trajectories. The message never quotes a value.
    """
    if not _is_finite(kwargs):
        raise ValueError("model_kwargs: holds .nan or .inf, which no provider's JSON can")
    for key, value in kwargs.items():
        if key in _OWNED:
            raise ValueError(f"{key} does not belong in model_kwargs: use {_OWNED[key]}")
        if isinstance(value, str) and value.startswith("~/"):
            raise ValueError(f"model_kwargs.{key}: write the whole path, '~' is not replaced in model_kwargs")
    check_no_secret(kwargs, "model_kwargs")
    return kwargs


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def check_no_secret(settings: object, place: str) -> None:
    """Raise ValueError where settings may hold a secret; the message never quotes a value.

    Args:
        settings: A tree of settings.
        place: What the tree is called.
    """
    if secret := next(_secrets_in(settings, place), None):
        raise ValueError(f"{secret} would put a secret into the configuration: {_ELSEWHERE}")


def _secrets_in(
    value: object, place: str, name: str = "", *, opaque: bool = False, header: bool = False
) -> Iterator[str]:
    """Places at any depth of texts that are secrets by their name or their look.

    Args:
        value: The settings.
        place: Where they are.
        name: The key they are under.
        opaque: Whether any long text of letters and digits counts, as within `extra_body`.
        header: Whether every text counts but those of headers that are known to be harmless.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            word = str(key).lower()
            yield from _secrets_in(
                inner,
                f"{place}.{key}",
                str(key),
                opaque=opaque or word.startswith("extra_"),
                header=header or word in ("headers", "extra_headers", "default_headers"),
            )
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _secrets_in(inner, place, name, opaque=opaque, header=header)
    elif header and name.lower() not in _OPEN_HEADERS:
        if value is not None and not VARIABLE.fullmatch(str(value)):
            yield place
    elif _is_text(value) and not VARIABLE.fullmatch(str(value)):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        by_name = _SECRET_NAME.search(name) and not _NO_SECRET_NAME.fullmatch(name)
        by_look = _SECRET_VALUE.fullmatch(text) or _has_credentials(text)
        is_opaque = opaque and not header and _OPAQUE.fullmatch(text) and not _MODEL_ID.fullmatch(text)
        if by_name or by_look or is_opaque:
            yield place


def _is_text(value: object) -> bool:
    """Whether a setting is a text, and not a number in quotes."""
    if not isinstance(value, str | bytes):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def _has_credentials(text: str) -> bool:
    """Whether a text is an address with a user or a password in it."""
    _, separator, rest = text.partition("://")
    return bool(separator) and "@" in rest.split("/", 1)[0]


def _check_address(address: str) -> None:
    """Raise ValueError, quoting nothing, for an address that is none or that holds a secret."""
    if VARIABLE.fullmatch(address):
        return
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - it is parsed when it is asked for
    except ValueError:
        raise ValueError("api_base is no address") from None
    in_query = any(name.lower() not in _OPEN_QUERY for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    in_path = any(_SECRET_VALUE.fullmatch(part) or re.search("[;=]", part) for part in parts.path.split("/"))
    has_user = _has_credentials(address) or ("://" not in address and "@" in address)
    if has_user or in_query or in_path or parts.fragment:
        raise ValueError(
            "api_base would put a secret into the configuration: write os.environ/NAME, a variable with the address"
        )


def resolved(settings: Any) -> Any:
    """Settings with every `os.environ/NAME` replaced by the variable's value, as it is now.

    Raises:
        MissingKeyError: A variable is not set.
    """
    if isinstance(settings, dict):
        return {key: resolved(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [resolved(value) for value in settings]
    if isinstance(settings, str) and (match := VARIABLE.fullmatch(settings)):
        value = os.environ.get(match[1], "").strip()
        if not value:
            raise MissingKeyError(f"{settings} is named by the pool: set the environment variable {match[1]}")
        return value
    return settings


def address(model: ModelConfig) -> str | None:
    """A model's `api_base`, from its variable where one is named.

    Raises:
        MissingKeyError: The variable is not set.
    """
    base: str | None = resolved(model.api_base)
    return base


@dataclass(frozen=True)
class Prices:
    """USD per token, and where the figures come from."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    source: Literal["entry", "litellm", "free"]


def prices(model: ModelConfig) -> Prices:
    """Prices of a model: free, else its entry's, else LiteLLM's local table (base rates; calls apply its tiers too).

    Raises:
        PriceUnknownError: Neither knows them, or both are zero without `free: true`.
    """
    if model.free:
        return Prices(input=0.0, output=0.0, cache_read=0.0, cache_write=0.0, source="free")
    if model.input_cost_per_token is None or model.output_cost_per_token is None:
        return _table_prices(model)
    if model.input_cost_per_token == model.output_cost_per_token == 0:
        raise PriceUnknownError(f"model {model.name} ({model.model}) has zero prices: {_price_keys(model)}")
    read, write = model.cache_read_cost_per_token, model.cache_write_cost_per_token
    return Prices(
        input=model.input_cost_per_token,
        output=model.output_cost_per_token,
        cache_read=model.input_cost_per_token if read is None else read,
        cache_write=model.input_cost_per_token if write is None else write,
        source="entry",
    )


def _table_prices(model: ModelConfig) -> Prices:
    litellm = load_litellm()
    try:
        info = litellm.get_model_info(model.model)
    except litellm.exceptions.ModelNotMappedError:
        info = {}
    input_cost, output_cost = info.get("input_cost_per_token"), info.get("output_cost_per_token")
    # For an id that it does not know LiteLLM may make up an entry, whose prices are zero.
    if info.get("key") not in litellm.model_cost or input_cost is None or output_cost is None:
        raise _price_unknown(model)
    if input_cost == output_cost == 0:
        raise PriceUnknownError(
            f"model {model.name} ({model.model}) has zero prices in LiteLLM's table: {_price_keys(model)}"
        )
    read, write = info.get("cache_read_input_token_cost"), info.get("cache_creation_input_token_cost")
    return Prices(
        input=input_cost,
        output=output_cost,
        cache_read=input_cost if read is None else read,
        cache_write=input_cost if write is None else write,
        source="litellm",
    )


def _price_unknown(model: ModelConfig) -> PriceUnknownError:
    near = nearest_ids(model.model)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return PriceUnknownError(
        f"price of model {model.name} is unknown: LiteLLM {version('litellm')} does not know {model.model}{hint}: "
        f"{_price_keys(model)}"
    )


def _price_keys(model: ModelConfig) -> str:
    """What to add to an entry without a price. Only an address of one's own may be free: on any other, `free` would
    switch the cost limits off."""
    keys = "set input_cost_per_token and output_cost_per_token (USD) in its entry"
    private = is_private(model.api_base) or (model.api_base is None and model.model.startswith(_LOCAL))
    return f"{keys}, or free: true if it costs nothing" if private else keys


def nearest_ids(model_id: str, count: int = 3) -> list[str]:
    """Ids of LiteLLM's priced models that are most like one that it does not know, of the same provider where named."""
    table = load_litellm().model_cost
    provider, _, bare = model_id.rpartition("/")
    provider = provider.partition("/")[0]
    names: dict[str, str] = {}
    for known, info in table.items():
        if info.get("mode") != "chat" or not info.get("output_cost_per_token"):
            continue
        if provider and info.get("litellm_provider") == provider:
            names[known.rpartition("/")[2]] = known if "/" in known else f"{provider}/{known}"
        elif not provider and "/" not in known:
            names[known] = known
    return [names[name] for name in difflib.get_close_matches(bare, names, n=count, cutoff=0.6)]


def check_pool(models: Sequence[ModelConfig]) -> None:
    """Refuse a pool that cannot run, before anything is paid.

    Looks for duplicate names, variables that are not set, and unknown prices, and lists all of them in one message.

    Raises:
        MissingKeyError: Variables that are not set are the only kind of problem.
        PriceUnknownError: Unknown prices are.
        PoolError: There is another problem, or more than one kind.
    """
    problems: list[PoolError] = []
    if not models:
        problems.append(PoolError("the pool is empty: add a model"))
    seen: set[str] = set()
    for model in models:
        if model.name.casefold() in seen:  # folders are named so, and some file systems ignore case
            problems.append(PoolError(f"model name {model.name} is used twice: names must differ by more than case"))
        seen.add(model.name.casefold())
    for model in models:
        try:
            prices(model)
        except PriceUnknownError as error:
            problems.append(error)
        if missing := _missing_key(model):
            problems.append(_no_key(model, missing))
        problems += [
            MissingKeyError(f"model {model.name} takes a setting from the environment: set the variable {name}")
            for name in sorted(set(VARIABLE.findall(model.model_dump_json())))
            if not os.environ.get(name, "").strip()
        ]
    if problems:
        kinds = {type(problem) for problem in problems}
        kind = kinds.pop() if len(kinds) == 1 else PoolError
        raise kind("; ".join(str(problem) for problem in problems))


def _no_key(model: ModelConfig, variable: str) -> MissingKeyError:
    return MissingKeyError(f"model {model.name} has no API key: set the environment variable {variable}")


def _missing_key(model: ModelConfig) -> str:
    """Name(s) of the key variable that is not set, or nothing."""
    if model.api_key_env:
        return "" if os.environ.get(model.api_key_env, "").strip() else model.api_key_env
    if model.api_base:
        return ""
    missing: list[str] = load_litellm().validate_environment(model.model)["missing_keys"]
    # Cloud credentials may come from a profile or a machine's role instead, so only plain keys are insisted on.
    return " or ".join(name for name in missing if name.endswith(("API_KEY", "APIKEY")))


def api_key(model: ModelConfig) -> str | None:
    """The key of a call, read at call time; None leaves it to LiteLLM to find the provider's usual variable.

    Raises:
        MissingKeyError: The variable is not set.
    """
    if model.api_key_env:
        key = os.environ.get(model.api_key_env, "").strip()
        if not key:
            raise _no_key(model, model.api_key_env)
        return key
    if model.api_base:
        # A key of the provider's usual variable must not travel to another address; clients insist on *some* key.
        return "none" if is_loopback(model.api_base) else "no-key-configured"
    return None
