"""How requests to models leave this process: no redirect is followed, and what the provider truly answered is kept.

LiteLLM and the clients below it follow redirects, and take along keys in headers of a provider's own (Anthropic's,
Gemini's, Azure's). LiteLLM also replaces a reply's status by that of the exception it chooses. Both are settled at one
place, a transport that is given to LiteLLM by its settings.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies

import httpx

MAX_REPLY_BYTES = 64 * 2**20
"""A longer reply is no model's: reading ends there."""

MAX_ARGUMENTS_DEPTH = 100
"""Lists and objects within each other in a tool call's arguments. Deeper ones, which no tool takes, are made what a
model's other mistakes are: a call that cannot be read. Python's parsers fail on them in ways of their own."""

_BRACKETS = re.compile(r'[\[\]{}"\\]')


@dataclass
class Exchange:
    """One request's reply as it came over the wire."""

    ssl_verify: bool | str | None = None
    """The model's own setting for certificates; None is LiteLLM's."""
    provider: str = ""
    """LiteLLM's name of the model's provider."""
    status: int = 0
    """HTTP status; 0 until a reply has begun."""
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: bytes = b""
    redirect: str = ""
    """Where a redirect pointed, without query and credentials."""
    too_long: bool = False
    """The reply was longer than `MAX_REPLY_BYTES`."""

    def json(self) -> Any:
        """The body; None where it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def broke_off(self) -> bool:
        """Whether the first choice is an error: how OpenRouter says that a provider failed in the midst of a reply."""
        reply = self.json() if self.status == 200 and b'"error"' in self.body else None
        choices = reply.get("choices") if isinstance(reply, dict) else None
        first = choices[0] if isinstance(choices, list) and choices else None
        return isinstance(first, dict) and isinstance(first.get("error"), dict)

    @property
    def too_deep(self) -> bool:
        """Whether the body is nested deeper than Python can read: no gateway's error page, a model's words."""
        try:
            json.loads(self.body)
        except RecursionError:
            return True
        except ValueError:
            pass
        return False


_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def recorded(exchange: Exchange) -> Iterator[None]:
    """Record the replies of this thread's requests in `exchange`; the last one counts."""
    token = _exchange.set(exchange)
    try:
        yield
    finally:
        _exchange.reset(token)


class Transport(httpx.BaseTransport):
    """Sends requests as LiteLLM's own clients do (certificates, proxies), without redirects. Thread-safe."""

    def __init__(self) -> None:
        self._clients: dict[object, httpx.Client] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _exchange.get()
        reply = self._client(exchange.ssl_verify if exchange else None).send(request, stream=True)
        headers = _without_redirect(reply)
        if exchange is None:
            assert isinstance(reply.stream, httpx.SyncByteStream)
            return httpx.Response(reply.status_code, headers=headers, stream=reply.stream, extensions=reply.extensions)
        exchange.status, exchange.headers, exchange.body = reply.status_code, reply.headers, b""
        exchange.redirect = _redirect(reply)
        try:
            exchange.body, exchange.too_long = _read(reply)
        except httpx.HTTPError:
            exchange.status = 0 if reply.status_code == 200 else reply.status_code  # half a reply is none
            raise
        finally:
            reply.close()
        for name in ("content-encoding", "content-length", "transfer-encoding"):
            headers.pop(name, None)
        content = _readable(exchange.body, exchange.provider) if reply.status_code == 200 else exchange.body
        return httpx.Response(reply.status_code, headers=headers, content=content)

    def _client(self, ssl_verify: bool | str | None) -> httpx.Client:
        """A client for these settings and the environment's proxies as they are now."""
        key = (ssl_verify, tuple(sorted(getproxies().items())))
        with self._lock:
            if key not in self._clients:
                self._clients[key] = _new_client(ssl_verify)
            return self._clients[key]


def _new_client(ssl_verify: bool | str | None) -> httpx.Client:
    import litellm
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    return httpx.Client(
        verify=get_ssl_configuration(ssl_verify),
        cert=os.getenv("SSL_CERTIFICATE", litellm.ssl_certificate),
        follow_redirects=False,
        # One key's cookies must not go out with another's.
        cookies=no_cookies(),
        # Every agent of a run may have a request under way.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
    )


def no_cookies() -> CookieJar:
    """A jar that keeps nothing."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=()))


def _without_redirect(reply: httpx.Response) -> httpx.Headers:
    headers = httpx.Headers(reply.headers)
    if 300 <= reply.status_code < 400:
        headers.pop("location", None)
    return headers


def _redirect(reply: httpx.Response) -> str:
    if not 300 <= reply.status_code < 400:
        return ""
    try:
        parts = urlsplit(str(reply.request.url.join(reply.headers.get("location", ""))))
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except (ValueError, httpx.InvalidURL):
        return "an address that is none"
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def _read(reply: httpx.Response) -> tuple[bytes, bool]:
    chunks: list[bytes] = []
    size = 0
    for chunk in reply.iter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            return b"".join(chunks)[:MAX_REPLY_BYTES], True
    return b"".join(chunks), False


def _readable(body: bytes, provider: str) -> bytes:
    """A reply that LiteLLM can read: it refuses a whole reply for a token count such as 20.5 or "many", a
    content in parts, and one of Groq (or of a gateway that is called so) for a service tier that is not stated."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(reply, dict):
        return body
    changed = _mark_deep_arguments(reply)
    changed = _join_texts(reply) or changed
    if provider == "groq" and "choices" in reply and "service_tier" not in reply:
        reply["service_tier"] = None
        changed = True
    if reply.get("usage") is not None and not _counts_only(reply["usage"]):
        usage = _whole_numbers(reply.pop("usage"))
        changed = True
        if usage is not None:
            reply["usage"] = usage
    usage = reply.get("usage")
    if "choices" in reply and isinstance(usage, dict) and "prompt_tokens" not in usage and "input_tokens" in usage:
        reply["usage"] = usage | {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage.get("output_tokens"),
        }
        changed = True
    return json.dumps(reply).encode() if changed else body


def _mark_deep_arguments(reply: dict[str, Any]) -> bool:
    """Make arguments of tool calls that are nested too deeply no JSON, in place; whether there were any."""
    changed = False
    for function in _called_functions(reply):
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        if _depth(text) > MAX_ARGUMENTS_DEPTH:
            function["arguments"] = f"nested too deeply: {text}"
            changed = True
    return changed


def _join_texts(reply: dict[str, Any]) -> bool:
    """Make a content that is a list of texts one text, in place; whether there were any."""
    changed = False
    for message in _messages(reply):
        parts = message.get("content")
        if not isinstance(parts, list) or not all(
            isinstance(part, dict) and part.get("type") == "text" for part in parts
        ):
            continue
        message["content"] = "".join(str(part.get("text") or "") for part in parts)
        changed = True
    return changed


def _messages(reply: dict[str, Any]) -> Iterator[dict[str, Any]]:
    choices = reply.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict):
            yield message


def _called_functions(reply: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for message in _messages(reply):
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                yield function


def _depth(text: str) -> int:
    """How deeply the brackets of a JSON text are nested."""
    if text.count("[") + text.count("{") <= MAX_ARGUMENTS_DEPTH:
        return 0
    depth = deepest = 0
    quoted, escaped = False, -1
    for match in _BRACKETS.finditer(text):
        sign, place = match.group(), match.start()
        if place == escaped:
            continue
        if sign == "\\":
            escaped = place + 1 if quoted else -1
        elif sign == '"':
            quoted = not quoted
        elif not quoted:
            depth += 1 if sign in "[{" else -1
            deepest = max(deepest, depth)
    return deepest


_DETAILS = ("prompt_tokens_details", "completion_tokens_details")


def _counts_only(usage: object) -> bool:
    """Whether a usage is what it should be: whole numbers, and details that are objects of such."""
    if not isinstance(usage, dict):
        return False
    for name, value in usage.items():
        if name in _DETAILS:
            if value is not None and not (
                isinstance(value, dict) and all(_is_count(inner) for key, inner in value.items() if "tokens" in key)
            ):
                return False
        elif name.endswith("_tokens") and not _is_count(value):
            return False
    return True


def _is_count(value: object) -> bool:
    return value is None or type(value) is int


def _whole_numbers(usage: object) -> dict[str, Any] | None:
    """The usage with every count a whole number; None when one is no number at all."""
    if not isinstance(usage, dict):
        return None
    whole: dict[str, Any] = {}
    for name, value in usage.items():
        if name in _DETAILS:
            details = value if isinstance(value, dict) else {}
            whole[name] = {key: count for key, inner in details.items() if (count := _whole(inner)) is not None}
        elif not name.endswith("_tokens") or value is None:
            whole[name] = value
        elif (count := _whole(value)) is None:
            return None
        else:
            whole[name] = count
    return whole


def _whole(value: object) -> int | None:
    """A count as a whole number, rounded up; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return math.ceil(number) if math.isfinite(number) else None
