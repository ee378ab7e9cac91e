"""The models an agent may use: names, addresses, the names of their keys' variables, and prices."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agents.errors import MissingKeyError, PoolError, PriceUnknownError
from agents.third_party import is_loopback, load_litellm

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

_SECRET_NAME = re.compile(r"key|secret|token|credential|authorization|password", re.IGNORECASE)
_TOKEN_COUNT = re.compile(
    r"(?!.*(key|secret|credential|password|auth|access|refresh|bearer|session|api|id_)).*_tokens", re.IGNORECASE
)
"""Settings about a model's tokens (`max_tokens`, `stop_tokens`, …), which are no secrets."""


class ModelConfig(BaseModel):
    """One model of the pool."""

    model_config = ConfigDict(
        extra="forbid", protected_namespaces=(), hide_input_in_errors=True, use_attribute_docstrings=True
    )

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
    """Short name used in tables and folders."""
    model: str = Field(min_length=1)
    """LiteLLM model id, such as `openai/gpt-5` or `anthropic/claude-sonnet-4-5-20250929`."""
    api_base: str | None = None
    """Address of an OpenAI-compatible (or the provider's own) endpoint; None is the provider's usual one."""
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
    """Further arguments of every call, such as temperature, passed as they are. Keys and tokens are refused."""
    scripted: bool = False
    """A stand-in that plays a script: everything it produces says so."""
    step_limit: int | None = Field(default=None, ge=0)
    """Overrides the agent's step limit for this model. 0 means no limit."""
    cost_limit: float | None = Field(default=None, ge=0)
    """Overrides the agent's cost limit in USD for this model. 0 means no limit."""
    wall_time_limit_seconds: int | None = Field(default=None, ge=0)
    """Overrides the agent's wall-clock limit for this model. 0 means no limit."""

    @field_validator("model_kwargs")
    @classmethod
    def _checked_kwargs(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        return checked_kwargs(kwargs)

    @model_validator(mode="after")
    def _prices_fit_together(self) -> ModelConfig:
        given = [self.input_cost_per_token, self.output_cost_per_token]
        cached = [self.cache_read_cost_per_token, self.cache_write_cost_per_token]
        if self.free and any(given + cached):
            raise ValueError(f"model {self.name} is declared free and has a price: drop one of the two")
        if (given[0] is None) != (given[1] is None):
            raise ValueError(f"model {self.name} needs both input_cost_per_token and output_cost_per_token, or neither")
        if given[0] is None and any(price is not None for price in cached):
            raise ValueError(f"model {self.name} prices the cache only: add input_ and output_cost_per_token")
        return self


def checked_kwargs(kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` if they may be passed to every call.

    Raises ValueError (never quoting a value) on arguments that have a field of their own and on secrets, which would be
    written to a run's configuration and trajectories.
    """
    for key in kwargs:
        if key in _OWNED:
            raise ValueError(f"{key} does not belong in model_kwargs: use {_OWNED[key]}")
    if place := next(_secrets_in(kwargs, "model_kwargs"), None):
        raise ValueError(f"{place} would put a secret into the configuration: use api_key_env or the environment")
    return kwargs


def _secrets_in(value: object, place: str, name: str = "") -> Iterator[str]:
    """Places at any depth where a key that is named like a secret holds a text (alone or in a list)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _secrets_in(inner, f"{place}.{key}", str(key))
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _secrets_in(inner, place, name)
    elif _SECRET_NAME.search(name) and not _TOKEN_COUNT.fullmatch(name) and _is_text(value):
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

    Raises PriceUnknownError when neither knows them, or when both are zero without `free: true`.
    """
    if model.free:
        return Prices(0.0, 0.0, 0.0, 0.0, "free")
    if model.input_cost_per_token is not None and model.output_cost_per_token is not None:
        read, write = model.cache_read_cost_per_token, model.cache_write_cost_per_token
        known = Prices(
            model.input_cost_per_token,
            model.output_cost_per_token,
            model.input_cost_per_token if read is None else read,
            model.input_cost_per_token if write is None else write,
            "entry",
        )
    else:
        known = _table_prices(model)
    if known.input == known.output == 0:
        raise PriceUnknownError(f"model {model.name} ({model.model}) has zero prices: add free: true if it is free")
    return known


def _table_prices(model: ModelConfig) -> Prices:
    litellm = load_litellm()
    try:
        info = litellm.get_model_info(model.model)
    except litellm.exceptions.ModelNotMappedError:
        raise _price_unknown(model) from None
    input_cost, output_cost = info.get("input_cost_per_token"), info.get("output_cost_per_token")
    if input_cost is None or output_cost is None:
        raise _price_unknown(model)
    read, write = info.get("cache_read_input_token_cost"), info.get("cache_creation_input_token_cost")
    return Prices(
        input_cost,
        output_cost,
        input_cost if read is None else read,
        input_cost if write is None else write,
        "litellm",
    )


def _price_unknown(model: ModelConfig) -> PriceUnknownError:
    return PriceUnknownError(
        f"price of model {model.name} ({model.model}) is unknown: "
        "add input_cost_per_token and output_cost_per_token to its entry, or free: true"
    )


def check_pool(models: Sequence[ModelConfig]) -> None:
    """Refuse a pool that cannot run, before anything is paid.

    Looks for duplicate names, key variables that are not set, and unknown prices, and lists all culprits in one
    message. Raises MissingKeyError or PriceUnknownError when that is the only kind of problem, else PoolError.
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
    return " or ".join(name for name in missing if name.endswith("API_KEY"))


def api_key(model: ModelConfig) -> str | None:
    """The key of a call, read at call time; None leaves it to LiteLLM to find the provider's usual variable.

    Raises MissingKeyError when the variable is not set.
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


def secrets(model: ModelConfig) -> list[str]:
    """Values that must never be written anywhere: the model's key and whatever else the environment calls secret."""
    values = [
        value.strip()
        for name, value in os.environ.items()
        if name == model.api_key_env or name.upper().endswith(("API_KEY", "ACCESS_KEY", "SECRET", "TOKEN", "PASSWORD"))
    ]
    return sorted({value for value in values if len(value) >= 8}, key=len, reverse=True)


def redact(text: str, hidden: Sequence[str]) -> str:
    """`text`, plain or JSON, with every secret blotted out."""
    for secret in hidden:
        text = text.replace(secret, "[redacted]").replace(json.dumps(secret)[1:-1], "[redacted]")
    return text
