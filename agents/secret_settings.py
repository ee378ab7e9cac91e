"""Secrets stay out of a configuration: which settings are refused, and the variables that stand in their place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from agents.errors import MissingKeyError

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

_ELSEWHERE = "use api_key_env or the environment (os.environ/NAME in its place)"


def looks_like_a_key(name: str) -> bool:
    """Whether what should be a variable's name is a key itself."""
    return bool(_SECRET_VALUE.fullmatch(name) or (_OPAQUE.fullmatch(name) and not name.isupper()))


def check_no_secret(settings: object, place: str) -> None:
    """Refuse settings that may hold a secret; the message never quotes a value.

    Args:
        settings: A tree of settings.
        place: What the tree is called.

    Raises:
        ValueError: They are refused.
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


def check_address(address: str) -> None:
    """Refuse an address that is none or that holds a secret; the message never quotes it.

    Raises:
        ValueError: It is refused.
    """
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
