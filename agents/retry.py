"""Which failed model calls are tried again, how often and how long; everything else ends the attempt at once."""

from __future__ import annotations

import email.utils
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay

from agents.errors import ProviderError

T = TypeVar("T")

KINDS: dict[str, tuple[bool, str]] = {
    "rate-limit": (True, "use fewer workers or ask the provider for a higher rate"),
    "server": (True, "the provider is failing, run again later"),
    "timeout": (True, "run again later or raise call_timeout_seconds"),
    "connection": (True, "check the network and api_base"),
    "malformed": (True, "check that api_base speaks the OpenAI protocol"),
    "auth": (False, "check the key and what it may use"),
    "quota": (False, "the account is out of credit or quota, top it up"),
    "not-found": (False, "check the model id and api_base"),
    "bad-request": (False, "check model_kwargs"),
    "context-window": (False, "the conversation outgrew the model's context"),
    "content-policy": (False, "the provider refused the content"),
    "installation": (False, "install the Python package that LiteLLM misses"),
    "unknown": (False, "see the provider's message"),
}
"""Kind of failure → (worth another try, mend)."""


class RetryConfig(BaseModel):
    """How patient one model call is."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    max_attempts: int = Field(default=8, ge=1)
    """Requests sent for one call, the first included."""
    max_seconds: float = Field(default=900, ge=0)
    """No try starts later than this many seconds after the first; a Retry-After beyond that ends the call at once."""
    initial_wait_seconds: float = Field(default=1, ge=0)
    """Wait before the second try; it doubles each time. Up to as much is added at random."""
    max_wait_seconds: float = Field(default=60, ge=0)
    """Longest wait between two tries, unless the provider's Retry-After asks for more."""
    call_timeout_seconds: float = Field(default=600, gt=0)
    """One request without any answer for this long has failed."""


def call_with_retries(call: Callable[[], T], config: RetryConfig, *, pause: Callable[[float], None]) -> T:
    """Run `call` until it returns, fails for good, or patience ends.

    call: raises ProviderError for failures of the provider; anything else passes straight through.
    pause: sleeps the given seconds (may raise to break off).
    Raises the last ProviderError, whose message then says how many tries were made.
    """
    first = config.initial_wait_seconds

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, ProviderError) else None
        backoff = min(config.max_wait_seconds, first * 2.0 ** (state.attempt_number - 1))
        return max(backoff, asked or 0) + random.uniform(0, first)  # or all agents would come back at once

    retrying = Retrying(
        sleep=pause,
        stop=stop_after_attempt(config.max_attempts) | stop_before_delay(config.max_seconds),
        wait=wait,
        retry=retry_if_exception(lambda error: isinstance(error, ProviderError) and error.transient),
        reraise=True,
    )
    try:
        return retrying(call)
    except ProviderError as error:
        if (tries := retrying.statistics.get("attempt_number", 1)) > 1:
            error.message += f" (after {tries} tries)"
            error.args = (error.kind, error.message)
        raise


def provider_error(kind: str, detail: str, *, model: str, retry_after: float | None = None) -> ProviderError:
    """A ProviderError whose message names the model, the provider's own words (one line, shortened) and the mend."""
    transient, mend = KINDS[kind]
    words = " ".join(detail.split())
    error = ProviderError(kind, f"{model}: {kind}: {words if len(words) <= 300 else words[:299] + '…'}; {mend}")
    error.transient, error.retry_after = transient, retry_after
    return error


_UNREADABLE = (
    "Unable to get json response",
    "Error converting to valid response block",
    "Empty or invalid response",
    "Invalid response object",
)
"""LiteLLM's words for a reply that it could not read, which it files under 400, 500 or no status by provider."""


_OUTGROWN = re.compile(
    r"maximum context length|prompt is too long|context window|input token count .{0,40}exceeds|request_too_large"
    r"|string_above_max_length|reduce the length of the (messages|prompt|input)",
    re.IGNORECASE,
)
"""Providers' words for a conversation that is too long, where LiteLLM does not know them."""
_FILTERED = re.compile(r"content_policy_violation|content_filter|ResponsibleAIPolicyViolation|content filtering policy")


def classify(error: Exception) -> str:
    """Kind of failure behind an exception of LiteLLM or the OpenAI client.

    The HTTP status decides where there is one. LiteLLM reports dropped connections and unreadable bodies as
    InternalServerError as well; those are told apart by having no response headers.
    """
    from litellm import exceptions as litellm_errors

    text = str(error)
    status = getattr(error, "status_code", None)
    body = _body(error)
    if "No module named" in text:  # LiteLLM reports its own missing imports as a connection error
        return "installation"
    if isinstance(error, litellm_errors.ContextWindowExceededError) or "context_length_exceeded" in body:
        return "context-window"
    if isinstance(error, litellm_errors.ContentPolicyViolationError) or _FILTERED.search(body):
        return "content-policy"
    if _sent_status(error) == 413 or (status in (400, 413, 422) and _OUTGROWN.search(f"{text} {body}")):
        return "context-window"
    if any(words in text for words in _UNREADABLE):
        return "malformed"
    if status == 402 or "insufficient_quota" in body or "credit balance is too low" in text:
        return "quota"
    if status in (401, 403):
        return "auth"
    if status == 404:
        return "not-found"
    if status == 429:
        return "rate-limit"
    if status in (408, 504):
        return "timeout"
    if isinstance(error, litellm_errors.APIResponseValidationError):
        return "malformed"
    if status in (409, 425) or (status is not None and status >= 500):
        if _headers(error):
            return "server"
        if isinstance(error, litellm_errors.APIConnectionError) or "onnection" in text or "disconnected" in text:
            return "connection"
        return "malformed" if status == 500 else "server"
    return "bad-request" if status is not None and 400 <= status < 500 else "unknown"


def retry_after(error: Exception) -> float | None:
    """Seconds a response's Retry-After (or retry-after-ms) header asks to wait, if it does so sensibly."""
    headers = _headers(error)
    try:
        if value := headers.get("retry-after-ms"):
            seconds = float(value) / 1000
        elif value := headers.get("retry-after"):
            seconds = float(value) if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value) else _until(value)
        else:
            return None
    except ValueError:
        return None
    return max(0.0, seconds)


def _until(http_date: str) -> float:
    return email.utils.parsedate_to_datetime(http_date).timestamp() - time.time()


def _headers(error: Exception) -> Mapping[str, str]:
    headers = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
    return headers or {}


def _body(error: BaseException) -> str:
    """The provider's error object, which LiteLLM keeps only on the exception that it wrapped."""
    return next((str(body) for link in _chain(error) if (body := getattr(link, "body", None))), "")


def _sent_status(error: BaseException) -> int | None:
    """The HTTP status that was sent, which LiteLLM replaces by that of the class it chooses."""
    sent = [status for link in _chain(error) if (status := getattr(link, "status_code", None)) is not None]
    return sent[-1] if sent else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it wraps, outermost first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
