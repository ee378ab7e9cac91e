"""Faults of a configuration in plain words: the key, what is wrong with it, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.config.tree import Config

MEANT = {
    "workers": "run.agent_workers (and run.grading_workers)",
    "concurrency": "run.agent_workers",
    "parallel": "run.agent_workers",
    "threads": "run.agent_workers",
    "budget": "run.max_cost",
    "max_budget": "run.max_cost",
    "temperature": "model_kwargs: {temperature: …} of the pool's entry",
    "top_p": "model_kwargs: {top_p: …} of the pool's entry",
    "max_tokens": "model_kwargs: {max_tokens: …} of the pool's entry",
    "reasoning_effort": "model_kwargs: {reasoning_effort: …} of the pool's entry",
    "thinking": "model_kwargs: {thinking: …} of the pool's entry",
    "api_key": "api_key_env: the NAME of the variable that holds the key",
    "key": "api_key_env: the NAME of the variable that holds the key",
    "base_url": "api_base of the pool's entry",
    "url": "api_base of the pool's entry",
    "provider": "model: provider/name, such as openai/gpt-5",
    "models": "pool: a list of models",
    "output": "out.root",
    "output_dir": "out.root",
    "max_steps": "agent.step_limit",
    "retries": "agent.retry.max_attempts",
    "max_retries": "agent.retry.max_attempts",
    "num_retries": "agent.retry.max_attempts",
    "timeout": "agent.wall_time_limit_seconds, agent.retry.call_timeout_seconds or run.grading_timeout",
    "subset": "dataset.name",
    "limit": "dataset.select: [slice=0:20]",
    "instances": "dataset.select: [id=A|B]",
}
"""Keys of other tools, and what they are called here."""
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "dict": "a table of keys and values",
    "model": "a table of keys and values",
    "path": "a path",
}
"""First part of pydantic's kinds of faults, and what is expected."""


@dataclass(frozen=True)
class Fault:
    """One fault at one place of the configuration."""

    place: tuple[int | str, ...]
    message: str

    def __str__(self) -> str:
        return self.message


def explain(error: ValidationError) -> str:
    """All faults of a validation error on one line, each with its place."""
    return " | ".join(str(fault) for fault in faults(error))


def faults(error: ValidationError) -> list[Fault]:
    """The faults of a validation error; none quotes a value, which may be a key."""
    return list(_faults(error))


def _faults(error: ValidationError) -> Iterator[Fault]:
    for fault in error.errors():
        place = tuple(fault["loc"])
        key = ".".join(str(part) for part in place)
        kind, _, rest = fault["type"].partition("_")
        context: Mapping[str, Any] = fault.get("ctx", {})
        if fault["type"] == "extra_forbidden":
            yield Fault(place, f"unknown key '{key}'{_hint(place)}")
        elif fault["type"] == "missing":
            yield Fault(place, f"'{key}' is missing")
        elif kind in KINDS and rest in ("type", "parsing", "attributes_type", "from_float"):
            yield Fault(place, f"'{key}': expected {KINDS[kind]}")
        elif fault["type"] == "literal_error":
            yield Fault(place, f"'{key}': expected {context.get('expected', 'another value')}")
        elif fault["type"] in ("too_short", "string_too_short"):
            yield Fault(place, f"'{key}': must not be empty")
        elif fault["type"] == "string_pattern_mismatch":
            yield Fault(place, f"'{key}': must match {context.get('pattern', 'another form')}")
        elif kind in ("greater", "less"):
            bound = fault["type"].replace("_", " ").replace(" equal", " or equal to")
            yield Fault(place, f"'{key}': must be {bound} {next(iter(context.values()), '')}")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            yield Fault(place, f"'{key}': {message}" if key else message)


def _hint(place: tuple[int | str, ...]) -> str:
    """What was probably meant by an unknown key: the nearest valid one, or what other tools call so."""
    name = str(place[-1])
    valid = valid_keys(place[:-1])
    nearest = difflib.get_close_matches(name.lower(), valid, n=1, cutoff=0.7)
    if name.lower() in MEANT:
        return f"; did you mean {MEANT[name.lower()]}?"
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; valid keys: {', '.join(valid)}"


def valid_keys(place: tuple[int | str, ...]) -> list[str]:
    """Keys that are valid at a place of the tree, e.g. ('pool', 0) → ModelConfig's fields."""
    model: type[BaseModel] | None = Config
    for part in place:
        if isinstance(part, int) or model is None:
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        model = model_in(annotation)
    return sorted(model.model_fields) if model else []


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as `list[ModelConfig]` or `RetryConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := model_in(inner)) is not None:
            return found
    return None
