"""Answers and errors in the form that OpenAI's clients expect."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> HTTPException:
    """An error in OpenAI's form."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return HTTPException(status, {"message": message, "type": kind, "param": None, "code": code}, headers)


def openai_form(response: Any, name: str) -> dict[str, Any]:
    """An answer, or a chunk of one, with the keys that OpenAI's schema requires even where they are null."""
    form: dict[str, Any] = response.model_dump(mode="json", exclude_none=True) | {"model": name}
    form["choices"] = [{"finish_reason": None, "logprobs": None, **choice} for choice in form.get("choices", [])]
    for choice in form["choices"]:
        if "message" in choice:
            choice["message"] = {"content": None, "refusal": None, **choice["message"]}
        for part in (choice, choice.get("message", {}), choice.get("delta", {})):
            if not any((part.get("provider_specific_fields") or {}).values()):
                part.pop("provider_specific_fields", None)
    return form
