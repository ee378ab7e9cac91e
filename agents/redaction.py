"""Secrets: which values they are, and how they are blotted out of everything that is written or shown."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from agents.pool import ModelConfig
from agents.secret_settings import VARIABLE

MARK = "[redacted]"
"""What stands in a secret's place."""

SHORTEST = 8
"""Characters of the shortest value that is taken for a secret: a shorter one would blot out ordinary words."""

_SECRET_VARIABLE = re.compile(
    r"key|secret|token|passw|_pwd|passphrase|credential|auth|bearer|cookie|signature|connection_string|dsn$",
    re.IGNORECASE,
)
"""Names of environment variables that may hold a secret, whoever reads them."""

_SURE = re.compile(r"(API_?KEY|ACCESS_KEY|SECRET|TOKEN|PASSW(OR)?D|PASSPHRASE)$", re.IGNORECASE)
"""Names of variables that hold nothing else."""

_ORDINARY = re.compile(r"[a-z]{1,12}|[\d.,:-]{1,20}", re.IGNORECASE)
"""Values that are settings rather than secrets: one word, or a number."""


def secrets(model: ModelConfig) -> list[str]:
    """Values that must never be written anywhere, the longest first.

    The variables that the model's entry names, all variables of the environment whose name speaks of a secret, and
    the credentials within addresses that variables hold.
    """
    named = {model.api_key_env or "", *VARIABLE.findall(model.model_dump_json())}
    values = {value for _, value in secret_variables(os.environ, frozenset(named))}
    return sorted((value for value in values if len(value) >= SHORTEST), key=lambda value: (-len(value), value))


def secret_variables(environment: Mapping[str, str], named: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Each secret of an environment as the name of its variable and the value.

    Args:
        environment: Variables and their values.
        named: Variables that hold secrets, whatever they are called.
    """
    for name, text in environment.items():
        value = text.strip()
        if name in named or _SURE.search(name) or (_SECRET_VARIABLE.search(name) and not _is_ordinary(value)):
            yield name, value
        if "://" in value:
            yield from ((name, part) for part in _credentials(value, whole_query=name in named))


def _is_ordinary(value: str) -> bool:
    return bool(_ORDINARY.fullmatch(value)) or (value.startswith(("/", "~")) and Path(value).expanduser().exists())


def _credentials(address: str, *, whole_query: bool) -> Iterator[str]:
    """User, password and query values of an address."""
    try:
        parts = urlsplit(address)
        yield from (part for part in (parts.username, parts.password) if part)
    except ValueError:
        return
    if whole_query:
        yield from (value for _, value in parse_qsl(parts.query))


def redact(text: str, hidden: Sequence[str]) -> str:
    """`text` with every secret blotted out, also where it is JSON-, URL-, HTML- or base64-encoded.

    Args:
        text: Plain text, or a document such as JSON, which stays one.
        hidden: The secrets, as `secrets` gives them.
    """
    for secret in hidden:
        for probe, pattern in _patterns(secret):
            if probe in text:
                text = pattern.sub(MARK, text)
    return text


def redacted_json(data: Any, hidden: Sequence[str], *, indent: int | None = None) -> str:
    """`data` as JSON without secrets: blotting out in the encoded text alone could break an escape sequence in two."""
    text = json.dumps(data, indent=indent)
    if redact(text, hidden) == text:
        return text
    return redact(json.dumps(_redacted(data, hidden), indent=indent), hidden)


def _redacted(value: Any, hidden: Sequence[str]) -> Any:
    if isinstance(value, str):
        return redact(value, hidden)
    if isinstance(value, dict):
        return {_redacted(key, hidden): _redacted(inner, hidden) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(inner, hidden) for inner in value]
    return value


@lru_cache(maxsize=256)
def _patterns(secret: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Patterns of a secret as text, in base64 and in hex, each with a plain part of it that is looked for first."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = [[_character(c) for c in secret]]
    forms += [[_base64_character(c) for c in coded] for coded in _base64_forms(raw)]
    probes = [secret, *_base64_forms(raw)]
    patterns = [(_probe(probe), re.compile("".join(form))) for probe, form in zip(probes, forms, strict=True)]
    return (*patterns, *((form, re.compile(form)) for form in (raw.hex(), raw.hex().upper())))


def _probe(text: str) -> str:
    """The longest part of a text that every encoding leaves as it is; empty if there is none."""
    return max(re.findall(r"[A-Za-z0-9]+", text), key=len, default="")


def _character(c: str) -> str:
    """A pattern for one character in plain text, JSON (in JSON), URLs (in URLs), forms and HTML."""
    if c.isascii() and c.isalnum():
        return c
    units = c.encode("utf-16-be", "surrogatepass")
    in_json = "".join(rf"\\{{1,8}}u(?i:{units[i : i + 2].hex()})" for i in range(0, len(units), 2))
    in_url = "".join(f"%(?:25){{0,2}}(?i:{byte:02x})" for byte in c.encode("utf-8", "surrogatepass"))
    ways = [rf"\\{{0,8}}{re.escape(c)}", in_json, in_url, f"&#0{{0,4}}{ord(c)};", f"&#(?i:x0{{0,4}}{ord(c):x});"]
    if (escaped := json.dumps(c)[1:-1]) != c and not escaped.startswith("\\u"):
        ways.append(rf"\\{{1,8}}{re.escape(escaped[1:])}")
    if (named := html.escape(c)) != c:
        ways.append(re.escape(named))
    if c == " ":
        ways.append(r"\+")
    return f"(?:{'|'.join(ways)})"


def _base64_character(c: str) -> str:
    other = {"+": "-", "/": "_"}.get(c)
    return f"(?:{_character(c)}|{re.escape(other)})" if other else _character(c)


@lru_cache(maxsize=256)
def written_forms(secret: str) -> tuple[str, ...]:
    """The usual ways in which a secret is written, the longest first: for files that are read in blocks."""
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    in_json |= {form.replace("/", r"\/") for form in in_json}
    in_json |= {"".join(f"\\u{ord(c):04x}" if c in "&<>+='" else c for c in form) for form in in_json}
    forms = {secret, html.escape(secret), html.escape(secret, quote=False), *in_json}
    forms |= {json.dumps(form)[1:-1] for form in forms}  # JSON within JSON
    raw = secret.encode("utf-8", "surrogatepass")
    percent = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    percent |= {re.sub(r"%..", lambda match: match[0].lower(), form) for form in percent}
    forms |= percent | {quote(form, safe="") for form in percent}
    forms |= {raw.hex(), raw.hex().upper()}
    for coded in _base64_forms(raw):
        forms |= {coded, coded.replace("/", r"\/"), coded.replace("+", "-").replace("/", "_"), quote(coded, safe="")}
    return tuple(sorted((form for form in forms if len(form) >= SHORTEST or form == secret), key=len, reverse=True))


def _base64_forms(raw: bytes) -> Iterator[str]:
    """The characters that every base64 text with these bytes holds, for each of the three places they may begin at."""
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw + b"\0\0").decode()
        yield coded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
