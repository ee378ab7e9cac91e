"""What all parts of a configuration have in common."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class StrictModel(BaseModel):
    """Every part refuses keys it does not know: a misspelt limit must not be silently ignored."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic takes `true` as 1: `max_cost: yes` would be a limit of one dollar."""
        if isinstance(value, bool) and _is_number(cls.model_fields[info.field_name or ""].annotation):
            raise ValueError("expected a number, not true or false")
        return value


def _is_number(annotation: Any) -> bool:
    """Whether a field's value is a number, such as `int`, `float | None` or `Price | None`."""
    return annotation in (int, float) or any(_is_number(part) for part in get_args(annotation))
