"""Whose failure a failed model call is: one table, from what the provider answered to a kind of failure.

The HTTP status decides first, then codes in the reply's body, then LiteLLM's class, and words last: providers echo
texts, and a word such as "content_filter" in an overloaded gateway's page says nothing about the model.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.errors import ProviderError

if TYPE_CHECKING:
    from agents.http import Exchange

KINDS: dict[str, tuple[bool, str]] = {
    "rate-limit": (True, "use fewer workers or ask the provider for a higher rate"),
    "server": (True, "the provider is failing, run again later"),
    "timeout": (True, "run again later or raise call_timeout_seconds"),
    "connection": (True, "check the network and api_base"),
    "malformed": (True, "check that api_base speaks the OpenAI protocol"),
    "auth": (False, "check the key and what it may use"),
    "quota": (False, "the account is out of credit or quota, top it up"),
    "not-found": (False, "check the model id and api_base"),
    "bad-request": (False, "check model_kwargs (additional_drop_params: [NAME] there leaves out a parameter)"),
    "context-window": (False, "the conversation outgrew the model's context"),
    "content-policy": (False, "the provider refused the content"),
    "installation": (False, "install the Python package that is missing"),
    "unknown": (False, "see the provider's message"),
}
"""Kind of failure → (worth another try, what to do about it)."""

WORDS_SEARCHED = 20_000
"""Characters of an error's text in which words are looked for."""


@dataclass(frozen=True)
class Answer:
    """What is known of a failed call."""

    provider: str
    """LiteLLM's name of the provider, such as `groq`."""
    status: int | None
    """HTTP status, or the status that the body of a 200 states; None when nothing was answered."""
    codes: frozenset[str]
    """Codes and types of the error in the reply's body, and LiteLLM's class names in it."""
    classes: frozenset[str]
    """Names of the exceptions, LiteLLM's and those behind it."""
    text: str
    """The provider's message, or the exception's."""


@dataclass(frozen=True)
class Row:
    """One way in which a call fails. Whatever is empty is not looked at."""

    kind: str
    """One of `KINDS`."""
    statuses: tuple[range, ...] = ()
    codes: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    words: re.Pattern[str] | None = None
    providers: frozenset[str] = frozenset()

    def fits(self, answer: Answer) -> bool:
        """Whether everything that the row states is so. Of codes, classes and words one suffices."""
        if self.statuses and not any(answer.status in statuses for statuses in self.statuses):
            return False
        if self.providers and answer.provider not in self.providers:
            return False
        signs = [
            bool(self.codes & answer.codes) if self.codes else None,
            bool(self.classes & answer.classes) if self.classes else None,
            bool(self.words.search(answer.text[:WORDS_SEARCHED])) if self.words else None,
        ]
        stated = [sign for sign in signs if sign is not None]
        return not stated or any(stated)


def _status(*codes: int) -> tuple[range, ...]:
    return tuple(range(code, code + 1) for code in codes)


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_REFUSED = (*_status(400), *_status(413), *_status(422))
"""Statuses of a request that is refused for what it holds."""

TABLE: tuple[Row, ...] = (
    # 429 and 5xx: the provider's, whatever the texts mention.
    Row(
        "quota",
        _status(429),
        codes=frozenset(
            {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "exceeded_current_quota_error",
             "1113"}
        ),
        words=_words(r"used all available credits"),  # xAI
    ),
    Row("rate-limit", _status(429)),
    Row("timeout", _status(408, 504, 524)),
    Row("server", (range(500, 600), *_status(409, 424, 425, 499))),
    Row("server", _status(498), providers=frozenset({"groq"})),  # no capacity left
    Row("malformed", (range(300, 400),)),
    # What the request was refused for.
    Row("quota", _status(402)),
    Row(
        "quota",
        _status(400, 401, 403, 412),
        codes=frozenset({"insufficient_quota", "Arrearage", "AccountOverdueError", "1113"}),
        words=_words(
            r"credit balance is too low", r"reached your specified API usage limits",  # Anthropic
            r"(used all available|doesn't have any) credits",  # xAI
            r"reaching the monthly spending limit",  # Fireworks
            r"account balance is insufficient",  # SiliconFlow
        ),
    ),
    Row("content-policy", _status(403), providers=frozenset({"openrouter"}), words=_words("requires moderation")),
    Row("content-policy", _status(403), words=_words("content violates usage guidelines")),  # xAI
    Row("auth", _status(401, 403, 407)),
    Row(
        "auth",
        _status(400),
        codes=frozenset({"API_KEY_INVALID", "invalid_api_key"}),
        words=_words("API key (not valid|expired)", "Incorrect API key provided"),
    ),
    Row("not-found", _status(404, 410)),
    Row("not-found", _status(400), codes=frozenset({"model_not_found", "DeploymentNotFound"})),
    Row(
        "rate-limit",
        _REFUSED,
        codes=frozenset({"rate_limit_exceeded", "rate_limit_error"}),
        words=_words(
            r"tokens per (min|minute|day)\b", r"\b[TR]P[MD]\)?: ?limit", r"rate limit (reached|exceeded)",
            r"\bRateLimitError\b", r"please wait before trying again",
        ),
    ),
    Row(
        "context-window",
        _REFUSED,
        codes=frozenset(
            {"context_length_exceeded", "exceed_context_size_error", "model_max_prompt_tokens_exceeded",
             "string_above_max_length", "1261", "ContextWindowExceededError"}
        ),
        classes=frozenset({"ContextWindowExceededError"}),
        words=_words(
            r"maximum (context|prompt|model|input) length",  # OpenAI, vLLM, DeepSeek, Mistral, OpenRouter; xAI; NIM
            r"context length of ",
            r"(input|prompt)( length)?( \(\d+ tokens\))?( is)? too long",  # Anthropic, Fireworks, Bedrock, Databricks
            r"exceed(s|ed)?( the)?( max(imum)?)?( model'?s?)?( available)? ?(context|token) (limit|size|window|length)",
            r"exceeded model token limit",  # Moonshot
            r"context (window|size|length)( limit| has been)? exceed",  # MiniMax, llama.cpp
            r"(longer|greater) than the (model'?s )?context length",  # SGLang, LM Studio
            r"Prompt exceeds max length",  # Zhipu
            r"Range of input length should be",  # DashScope
            r"too many (input|total|text) tokens",
            r"too many tokens: ",  # Cohere; Bedrock's "too many tokens, please wait" is a rate limit
            r"input tokens exceed",  # OpenAI, Bedrock
            r"input token count .{0,40}(exceeds|only supports up to)",  # Gemini, Vertex
            r"prompt token count of \d+ exceeds",
            r"number of input tokens \d+ cannot exceed",  # watsonx
            r"`inputs` (tokens \+ `max_new_tokens` must be|must have less than)",  # TGI
            r"(input|prompt) length.{0,40}exceeds",
            r"max(_completion)?_tokens must be at least 1, got -\d",  # vLLM: what the prompt has left
            r"prompt tokens too long",
            r"max tokens of \d+ exceeded",  # Snowflake
            r"exceed max message tokens",  # Volcengine
            r"prompt_tokens .{0,40}must be less than max_seq_len",  # SiliconFlow
            r"'messages': array too long",
            r"reduce the length of the (messages|prompt|input)",  # Groq, Cerebras
        ),
    ),
    Row(
        "content-policy",
        _REFUSED,
        codes=frozenset(
            {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "data_inspection_failed",
             "DataInspectionFailed", "1301", "SensitiveContentDetected", "InputTextSensitiveContentDetected",
             "OutputTextSensitiveContentDetected", "ContentPolicyViolationError"}
        ),
        classes=frozenset({"ContentPolicyViolationError"}),
        words=_words(
            r"content_policy_violation", r"ResponsibleAIPolicyViolation", r"content filtering policy",
            r"content management policy", r"Content Exists Risk", r"inappropriate content",
            r"flagged as potentially violating", r"result of our safety system",  # OpenAI
            r"violate .{0,20}Responsible AI practices",  # Vertex
        ),
    ),
    Row("bad-request", (range(400, 500),)),
    # A reply that nobody could read, or none at all.
    Row("malformed", (range(200, 300),)),
    Row(
        "installation",
        classes=frozenset({"ModuleNotFoundError", "ImportError"}),
        words=_words(r"No module named", r"package is not installed", r"pip install "),
    ),
    Row("timeout", classes=frozenset({"Timeout", "APITimeoutError", "TimeoutException", "ReadTimeout"})),
    Row("malformed", classes=frozenset({"APIResponseValidationError"})),
    Row(
        "malformed",
        words=_words(
            r"Unable to get json response", r"Error converting to valid response block",
            r"Empty or invalid response", r"Invalid response object",
        ),
    ),
    Row("connection", classes=frozenset({"APIConnectionError", "ConnectError", "ReadError", "RemoteProtocolError"})),
    Row("connection", words=_words("connection", "disconnected")),
    Row("server", classes=frozenset({"InternalServerError", "ServiceUnavailableError", "BadGatewayError"})),
    Row("unknown"),
)  # fmt: skip
"""The first row that fits decides."""

_TOO_LARGE_ARGUMENT = re.compile(
    r"max(?:_completion)?_tokens'? is too large: (\d{1,12})\b.{0,80}?maximum context length is (\d{1,12})\b", re.DOTALL
)

_OTHER_FIELD_TOO_LONG = re.compile(
    r"Invalid '((?!messages|input)[^']{1,200}|[^']{1,200}\.(id|call_id|tool_call_id|name))': (string|array) too long"
)
"""OpenAI's words for a field that holds no part of the conversation, such as `user`, a tool's description, or the id of
a call that another provider behind the same gateway has made."""


def classify(error: Exception, exchange: Exchange | None = None, *, provider: str = "") -> str:
    """Kind of failure behind an exception of LiteLLM or the OpenAI client.

    Args:
        error: The exception.
        exchange: What came over the wire, where it was recorded; else the exception's own account counts.
        provider: LiteLLM's name of the provider, where the exception does not say it.
    """
    return kind_of(answer_of(error, exchange, provider=provider))


def kind_of(answer: Answer) -> str:
    """The kind of the first row that fits."""
    kind = next(row.kind for row in TABLE if row.fits(answer))
    if kind == "context-window":
        text = answer.text[:WORDS_SEARCHED]
        match = _TOO_LARGE_ARGUMENT.search(text)
        # more than the window by itself: the configuration's, however short the conversation
        if (match and int(match[1]) >= int(match[2])) or _OTHER_FIELD_TOO_LONG.search(text):
            return "bad-request"
    return kind


def answer_of(error: Exception, exchange: Exchange | None = None, *, provider: str = "") -> Answer:
    """What is known of a failed call."""
    chain = list(_chain(error))
    recorded = exchange is not None and exchange.status > 0
    body = exchange.json() if exchange is not None and recorded else _body(chain)
    status = exchange.status if exchange is not None and recorded else _sent_status(chain)
    details = list(_error_objects(body))
    if recorded and status == 200:
        status = next((code for code in map(_as_status, details) if code), 200)
    texts = [
        value
        for detail in details
        for key in ("message", "msg", "detail", "error", "raw")
        if isinstance(value := detail.get(key), str)
    ]
    if recorded and not texts and exchange is not None:
        texts = [exchange.body[:WORDS_SEARCHED].decode("utf-8", "replace")]
    text = " ".join(texts) if recorded else " ".join([str(error), *texts])
    codes = {str(detail[key]) for detail in details for key in ("code", "type", "status", "reason") if detail.get(key)}
    codes |= set(re.findall(r"\b(?:ContextWindowExceeded|ContentPolicyViolation)Error\b", text[:WORDS_SEARCHED]))
    classes = {type(link).__name__ for link in chain}
    repeats_request = any("loc" in detail for detail in details)  # FastAPI's answers do
    if repeats_request:  # in which LiteLLM looks for words
        classes -= {"ContextWindowExceededError", "ContentPolicyViolationError"}
    return Answer(
        provider=provider or str(getattr(error, "llm_provider", "") or ""),
        status=status,
        codes=frozenset(codes),
        classes=frozenset(classes),
        text=text or str(error),
    )


def missing_package(error: Exception) -> str:
    """What Python says of a package that is not installed, behind whatever LiteLLM makes of it; nothing otherwise."""
    return next((str(link) for link in _chain(error) if isinstance(link, ImportError)), "")


def _error_objects(body: object, depth: int = 4) -> Iterator[dict[str, Any]]:
    """The error in a reply's body and what lies within it, in the forms that providers use."""
    if isinstance(body, list) and depth:
        for item in body[:8]:
            yield from _error_objects(item, depth - 1)
    elif isinstance(body, dict):
        yield body
        if depth:
            for key in ("error", "innererror", "inner_error", "detail", "details", "metadata", "choices"):
                yield from _error_objects(body.get(key), depth - 1)
            yield from _error_objects(_parsed(body.get("raw")), depth - 1)  # OpenRouter's: as its provider answered


def _as_status(detail: Mapping[str, Any]) -> int | None:
    """The HTTP status that an error object states."""
    for key in ("code", "status", "status_code"):
        value = detail.get(key)
        if isinstance(value, str) and re.fullmatch(r"[45]\d\d", value):
            value = int(value)
        if type(value) is int and 400 <= value < 600:
            return value
    return None


def _body(chain: list[BaseException]) -> object:
    """The provider's error object, which LiteLLM keeps only on the exception that it wrapped."""
    body = next((body for link in chain if (body := getattr(link, "body", None))), None)
    return _parsed(body) if isinstance(body, str | bytes) else body


def _parsed(text: object) -> object:
    """What a JSON text holds; None for anything else."""
    if not isinstance(text, str | bytes):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _sent_status(chain: list[BaseException]) -> int | None:
    """The HTTP status that was sent, which LiteLLM replaces by that of the class it chooses.

    It makes up 500 for whatever goes wrong before and after; without a reply's headers there was no reply.
    """
    sent = [status for link in chain if type(status := getattr(link, "status_code", None)) is int]
    if not sent or any(isinstance(link, ImportError) for link in chain):
        return None
    return sent[-1] if sent[-1] < 500 or any(_headers(link) for link in chain) else None


def retry_after(error: Exception, exchange: Exchange | None = None) -> float | None:
    """Seconds a response's Retry-After (or retry-after-ms) header asks to wait, if it does so sensibly."""
    headers = exchange.headers if exchange is not None and exchange.status else _headers(error)
    try:
        if value := headers.get("retry-after-ms"):
            seconds = float(value) / 1000
        elif value := headers.get("retry-after"):
            seconds = float(value) if re.fullmatch(r"\s*\d{1,12}(\.\d{1,12})?\s*", value) else _until(value)
        else:
            return None
    except ValueError:
        return None
    return max(0.0, seconds)


def _until(http_date: str) -> float:
    return email.utils.parsedate_to_datetime(http_date).timestamp() - time.time()


def _headers(error: BaseException) -> Mapping[str, str]:
    headers = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
    return headers or {}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it wraps, outermost first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def provider_error(kind: str, detail: str, *, model: str, retry_after: float | None = None) -> ProviderError:
    """A ProviderError whose message names the model, the provider's own words (one line, shortened) and what to do."""
    transient, advice = KINDS[kind]
    words = " ".join(detail[:WORDS_SEARCHED].split())
    error = ProviderError(kind, f"{model}: {kind}: {words if len(words) <= 300 else words[:299] + '…'}; {advice}")
    error.transient, error.retry_after = transient, retry_after
    return error
