"""The models an agent may use: names, addresses, the names of their keys' variables, and prices."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agents.errors import MissingKeyError, PoolError, PriceUnknownError
from agents.secret_settings import VARIABLE, check_address, check_no_secret, looks_like_a_key, resolved
from agents.strict_model import StrictModel
from agents.third_party import is_loopback, is_private, load_litellm

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
RECORD = {"record": True}
"""Context in which the configuration of an earlier run is validated: what has no effect any more is not refused."""

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

_LOCAL = ("ollama/", "ollama_chat/", "llamafile/")
"""Beginnings of the ids of models that run on this machine unless they have an address."""


class ModelConfig(StrictModel):
    """One model of the pool."""

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
    def _open_address(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is not None:
            check_address(address)
            is_host = not VARIABLE.match(address) and any(mark in address for mark in ".:/")
            if is_host and info.context != RECORD and not address.lower().startswith(("http://", "https://")):
                raise ValueError("api_base must begin with http:// or https://, as in http://127.0.0.1:8000/v1")
        return address

    @field_validator("api_key_env")
    @classmethod
    def _name_of_a_variable(cls, name: str | None) -> str | None:
        if name is not None and looks_like_a_key(name):
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
