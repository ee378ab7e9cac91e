"""The configuration's keys, described by the docstrings under them: JSON Schema for editors, Markdown for people."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from harness.config.explain import model_in
from harness.config.tree import Config


def json_schema() -> dict[str, Any]:
    """JSON Schema of a configuration file, with every key's description."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "polyswe configuration", **schema}


def markdown() -> str:
    """Every section as a table: key, type, default, meaning."""
    return "\n\n".join(_sections(Config, "", None))


def _sections(model: type[BaseModel], prefix: str, values: BaseModel | None) -> Iterator[str]:
    """The tables of a section and of those in it; `values` are its defaults where they are not the class's own."""
    rows, inner = [], []
    for name, field in model.model_fields.items():
        section = model_in(field.annotation)
        if section is not None:
            default = field.get_default(call_default_factory=True)
            place = f"{prefix}{name}{'[]' if 'list' in str(field.annotation) else ''}"
            inner.append((section, place, default if isinstance(default, BaseModel) else None))
        if section is None or field.description:
            value = getattr(values, name, field.get_default(call_default_factory=True))
            rows.append(f"| `{name}` | {_type(field)} | {_default(field, value)} | {_text(field.description)} |")
    head = f"### `{prefix.rstrip('.')}`" if prefix else "### Top level"
    yield "\n".join([head, "", "| key | type | default | meaning |", "|---|---|---|---|", *rows])
    for section, place, defaults in inner:
        yield from _sections(section, f"{place}.", defaults)


def _type(field: FieldInfo) -> str:
    if (section := model_in(field.annotation)) is not None:
        return "list of sections" if "list" in str(field.annotation) else f"section ({section.__name__})"
    if isinstance(field.annotation, type) and issubclass(field.annotation, Enum):
        return " or ".join(str(member.value) for member in field.annotation)
    text = str(field.annotation) if not isinstance(field.annotation, type) else field.annotation.__name__
    for old, new in {
        "typing.": "", "pathlib.Path": "path", "Path": "path", "Literal": "one of ", "str": "text", "NoneType": "null",
        "None": "null", "int": "whole number", "float": "number", "bool": "true/false", "dict[text, Any]": "table",
    }.items():  # fmt: skip
        text = text.replace(old, new)
    if "Annotated[" in text:
        text = "number or null" if "number" in text else "path or null" if "null" in text else "path"
    return text.replace("|", "or").replace("<class '", "").replace("'>", "")


def _default(field: FieldInfo, value: object) -> str:
    if field.is_required():
        return "required"
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        value = value.value
    return f"`{value}`" if value not in ([], {}, "") else ""


def _text(description: str | None) -> str:
    return " ".join((description or "").split()).replace("|", "\\|")
