"""Whose failure a failed call is, for what providers really answer: over real HTTP, through LiteLLM's own clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from agents.deadline import Deadline
from agents.errors import ProviderError
from agents.http import Exchange
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.provider_errors import KINDS, TABLE, answer_of
from agents.retry import RetryConfig

ONCE = RetryConfig(max_attempts=1, initial_wait_seconds=0.01, call_timeout_seconds=60)


def error(message: str = "no", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message} | fields}


NGINX = b"<html><head><title>413 Request Entity Too Large</title></head><body>nginx/1.25</body></html>"
SAFETY = b"<html><title>503</title>upstream content_filter content_policy_violation, maximum context length</html>"
AZURE_FILTER = error(
    "The response was filtered", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}
)
QUOTA = error("You exceeded your current quota", type="insufficient_quota", code="insufficient_quota")
GEMINI_QUOTA = error(
    "You exceeded your current quota, please check your plan and billing details.",
    code=429,
    status="RESOURCE_EXHAUSTED",
)
TPM = error("Request too large for model on tokens per minute (TPM): Limit 6000", code="rate_limit_exceeded")
OUTGROWN = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"

OUTGROWN_ELSEWHERE = [
    ("openai", "Your input exceeds the context window of this model. Please adjust your input and try again."),
    ("openai", "Input tokens exceed the configured limit of 272000 tokens."),
    ("openai", "Invalid 'messages': array too long. Expected an array with maximum length 2048, but got 2049 instead."),
    ("anthropic", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length"),
    (
        "gemini",
        "Unable to submit request because the input token count is 9 but model only supports up to 8. Reduce it.",
    ),
    ("hosted_vllm", "The decoder prompt (length 40000) is longer than the maximum model length of 32768."),
    ("hosted_vllm", "Input prompt (40000 tokens) is too long and exceeds limit of 32768"),
    ("hosted_vllm", "max_tokens must be at least 1, got -1234."),
    ("hosted_vllm", "max_completion_tokens must be at least 1, got -3."),
    ("openai", "Input length (9000 tokens) exceeds the maximum allowed length (8187 tokens). Use a shorter input."),
    ("openai", "The number of tokens to keep from the initial prompt is greater than the context length."),
    ("openai", "Context size has been exceeded."),
    ("openai", "Input validation error: `inputs` must have less than 4095 tokens. Given: 9000"),
    ("together_ai", "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 32769."),
    ("nvidia_nim", "Prompt length (9000) exceeds maximum input length (8192). Set log level to info."),
    ("deepinfra", "Requested input length 40000 exceeds maximum input length 32768"),
    (
        "openai",
        "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum",
    ),
    ("openai", "400 Bad Request: Too many input tokens. Max input tokens: 4096, request input token count: 5000"),
    ("openai", "too many tokens: size limit exceeded by 1000 tokens. Try using shorter or fewer inputs."),
    ("openai", "too many tokens: total number of tokens in the prompt cannot exceed 128000 - received 130000."),
    ("openai", "Input is too long. Received 9000 tokens"),
    ("openai", "Exceeded max context length of the model"),
    ("openai", "max tokens of 8192 exceeded"),
    ("openai", "Total tokens of image and text exceed max message tokens. Request id: 02"),
    ("openai", "length of prompt_tokens (140000) must be less than max_seq_len (131072)."),
    ("fireworks_ai", "The prompt is too long: 40000, model maximum context length: 32767"),
]
"""What further servers say of a conversation that outgrew the model."""
ROUTED = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}}
ECHO = {"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted", "input": OUTGROWN}

ANSWERS: list[tuple[str, str, int, Any]] = [
    *(("context-window", f"{provider}/m", 400, error(words)) for provider, words in OUTGROWN_ELSEWHERE),
    # 429 and 5xx are the provider's, whatever the texts mention
    ("rate-limit", "openai/m", 429, error("Rate limit")),
    ("rate-limit", "openai/m", 429, error("busy, content_filter queue is full", code="content_filter")),
    ("rate-limit", "azure/m", 429, error("content_filter is overloaded: content_policy_violation")),
    ("rate-limit", "gemini/m", 429, GEMINI_QUOTA),
    ("rate-limit", "anthropic/m", 429, error("slow down", type="rate_limit_error")),
    ("quota", "openai/m", 429, QUOTA),
    ("quota", "hosted_vllm/m", 429, QUOTA),
    ("server", "openai/m", 503, SAFETY),
    ("server", "azure/m", 503, AZURE_FILTER),
    ("server", "anthropic/m", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ("server", "openai/m", 500, QUOTA),
    ("server", "openai/m", 500, error("No module named 'vllm.worker'")),
    ("server", "openai/m", 500, error(OUTGROWN)),
    ("server", "gemini/m", 500, error("context window", status="INTERNAL")),
    ("server", "openai/m", 424, {"message": "The request failed due to an error while processing the model."}),
    ("server", "gemini/m", 499, error("The operation was cancelled.", status="CANCELLED")),
    ("server", "groq/m", 498, error("Flex tier capacity exceeded", type="capacity_exceeded")),
    ("server", "openai/m", 502, b"<html>bad gateway: insufficient_quota</html>"),
    ("timeout", "openai/m", 504, error("content_filter timed out")),
    ("timeout", "openai/m", 524, b"<html>a timeout occurred</html>"),
    # a reply with an error in it
    ("server", "openai/m", 200, error("upstream overloaded", code=502)),
    ("rate-limit", "openrouter/m", 200, error("Provider returned error", code=429)),
    ("malformed", "openai/m", 200, {"detail": "Not Found"}),
    ("malformed", "openai/m", 200, {"error": "boom"}),
    ("server", "openrouter/m", 200, {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "no"},
                                                  "message": {"role": "assistant", "content": ""}}]}),
    # 413 is never the model's by itself
    ("bad-request", "openai/m", 413, NGINX),
    ("bad-request", "anthropic/m", 413, NGINX),
    ("rate-limit", "openai/m", 413, TPM),
    ("rate-limit", "groq/m", 413, TPM),
    ("rate-limit", "openai/m", 413, error("Request too large on tokens per min (TPM): Limit 30000, Requested 40000.")),
    ("rate-limit", "openai/m", 400, error("Rate limit reached for requests")),
    ("rate-limit", "openai/m", 400, error("litellm.RateLimitError: RateLimitError: OpenAIException - slow down")),
    ("rate-limit", "openai/m", 400, {"message": "Too many tokens, please wait before trying again."}),
    ("rate-limit", "openrouter/m", 400, error(metadata={"raw": json.dumps(error(code="rate_limit_exceeded"))})),
    ("context-window", "openai/m", 413, error(OUTGROWN)),
    # the conversation outgrew the model
    ("context-window", "openai/m", 400, error("too long", code="context_length_exceeded")),
    ("context-window", "openai/m", 400, error("Too long", code="string_above_max_length")),
    ("context-window", "openai/m", 400, {"message": OUTGROWN, "type": "BadRequestError", "code": 400}),
    ("context-window", "hosted_vllm/m", 400, error(OUTGROWN, code=400)),
    ("context-window", "deepseek/m", 400, error(OUTGROWN + ". Please reduce the length.")),
    ("context-window", "openrouter/m", 400, error("This endpoint's maximum context length is 8 tokens.", code=400)),
    (
        "context-window",
        "xai/m",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        },
    ),
    ("context-window", "moonshot/m", 400, error("Invalid request: Your request exceeded model token limit: 131072")),
    ("context-window", "zai/m", 400, error("Prompt exceeds max length", code="1261")),
    (
        "context-window",
        "dashscope/m",
        400,
        error("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]"),
    ),
    ("context-window", "openai/m", 400, {"message": "Input is too long for requested model."}),
    (
        "context-window",
        "openai/m",
        400,
        error("litellm.BadRequestError: litellm.ContextWindowExceededError: XaiException - no words", code="400"),
    ),
    ("context-window", "openrouter/m", 400, error("Provider returned error", metadata={"raw": json.dumps(ROUTED)})),
    ("context-window", "anthropic/m", 400, {"error": {"message": "prompt is too long: 210 tokens > 200 maximum"}}),
    ("context-window", "gemini/m", 400, error("The input token count (9) exceeds the maximum number of tokens (8)")),
    ("context-window", "openai/m", 400, error("invalid params, context window exceeds limit (2013)")),
    (
        "context-window",
        "openai/m",
        400,
        error("request (9 tokens) exceeds the available context size", type="exceed_context_size_error"),
    ),
    ("context-window", "openai/m", 400, error("The input (9 tokens) is longer than the model's context length (4).")),
    ("context-window", "openai/m", 422, error("`inputs` tokens + `max_new_tokens` must be <= 4097")),
    ("context-window", "mistral/m", 400, error("Prompt contains 9 tokens, too large for 8 maximum context length")),
    ("context-window", "groq/m", 400, error("Please reduce the length of the messages or completion.")),
    (
        "context-window",
        "openai/m",
        400,
        error(
            "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 4096 "
            "tokens and your request has 3000 input tokens"
        ),
    ),
    (
        "bad-request",  # too much for the window by itself: a setting
        "openai/m",
        400,
        error(
            "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 4096 "
            "tokens and your request has 100 input tokens"
        ),
    ),
    ("bad-request", "openai/m", 400, error("Invalid 'user': string too long.", code="string_above_max_length")),
    *(
        (kind, "openai/m", 400, error(f"Invalid '{field}': string too long.", code="string_above_max_length"))
        for kind, field in [
            ("bad-request", "messages[1].tool_calls[0].id"),
            ("bad-request", "messages[2].tool_call_id"),
            ("context-window", "messages[2].content"),
            ("context-window", "messages[1].tool_calls[0].function.arguments"),
        ]
    ),
    ("bad-request", "openai/m", 400, error("Range of max_tokens should be [1, 8192]")),
    ("bad-request", "hosted_vllm/m", 400, error("max_tokens must be at least 1, got 0.")),
    ("bad-request", "anthropic/m", 400, error("max_tokens: 9 > 8, which is the maximum number of output tokens")),
    ("bad-request", "openai/m", 422, {"detail": [ECHO]}),  # the request's own words are none of the server's
    # the content was refused
    ("content-policy", "openai/m", 400, error("rejected by our safety system", code="content_policy_violation")),
    ("content-policy", "azure/m", 400, AZURE_FILTER),
    ("content-policy", "dashscope/m", 400, error("Output data may be unsafe.", code="data_inspection_failed")),
    ("content-policy", "deepseek/m", 400, error("Content Exists Risk", type="invalid_request_error")),
    ("content-policy", "openai/m", 400, error("Your request was rejected as a result of our safety system.")),
    ("content-policy", "openai/m", 400, error("Invalid prompt: your prompt was flagged as potentially violating our")),
    ("content-policy", "anthropic/m", 400, error("Output blocked by content filtering policy")),
    ("content-policy", "openai/m", 400, error("sensitive information", code="InputTextSensitiveContentDetected")),
    ("content-policy", "gemini/m", 400, error("sensitive words that violate Google's Responsible AI practices.")),
    ("content-policy", "xai/m", 403, {"code": "no permission", "error": "Content violates usage guidelines. Team: x"}),
    ("content-policy", "openrouter/m", 403, error("m requires moderation and your input was flagged", code=403)),
    # the account, the key, the id, the request
    ("quota", "openai/m", 402, error("Insufficient Balance")),
    ("quota", "anthropic/m", 400, error("Your credit balance is too low to access the API.")),
    ("quota", "anthropic/m", 400, error("You have reached your specified API usage limits.")),
    ("quota", "openai/m", 429, error("Your account is not active, check your billing", code="billing_not_active")),
    ("quota", "moonshot/m", 429, error("Your account is suspended", type="exceeded_current_quota_error")),
    ("quota", "xai/m", 429, {"code": "exhausted", "error": "Your team has either used all available credits or more"}),
    ("quota", "xai/m", 403, {"code": "no permission", "error": "Your new team doesn't have any credits yet."}),
    ("quota", "openai/m", 412, error("Account is suspended, possibly due to reaching the monthly spending limit")),
    ("quota", "openai/m", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
    ("quota", "volcengine/m", 403, error("overdue balance", code="AccountOverdueError")),
    ("quota", "openai/m", 401, QUOTA),
    ("quota", "dashscope/m", 400, error("Access denied: is your account in good standing?", code="Arrearage")),
    ("auth", "openai/m", 401, error("bad key")),
    ("auth", "openai/m", 403, error("not yours")),
    ("auth", "xai/m", 400, {"code": "invalid", "error": "Incorrect API key provided: xa***"}),
    ("auth", "gemini/m", 400, error("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT")),
    ("auth", "gemini/m", 400, error("API key expired. Please renew the API key.", status="INVALID_ARGUMENT")),
    ("not-found", "openai/m", 404, error("The model `m` does not exist", code="model_not_found")),
    ("not-found", "openai/m", 400, error("no such model", code="model_not_found")),
    ("bad-request", "openai/m", 400, error("Unsupported value: 'temperature'", code="unsupported_value")),
    ("bad-request", "openai/m", 400, error("Invalid 'tools[0].function.name': expected at most a length of 64")),
    ("bad-request", "openai/m", 422, {"detail": [{"loc": ["body"], "msg": "field required"}]}),
    ("bad-request", "gemini/m", 400, [error("Function call is missing a thought_signature", code=400)]),
    # redirects
    ("malformed", "openai/m", 301, b""),
    ("malformed", "anthropic/m", 308, b""),
]  # fmt: skip


def make(url: str, model: str = "openai/m", **fields: Any) -> PoolModel:
    prices = {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2}
    kwargs = {"api_version": "2024-01-01"} if model.startswith("azure") else {}
    entry = ModelConfig.model_validate(
        {"name": "m", "model": model, "api_base": url, "api_key_env": "POLYSWE_TEST_KEY", "model_kwargs": kwargs}
        | prices
        | fields
    )
    return PoolModel(entry, ONCE, Deadline())


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSWE_TEST_KEY", "sk-canary-0123456789")


@pytest.mark.parametrize(("kind", "model", "status", "body"), ANSWERS)
def test_an_answer_is_of_its_kind(faulty: Any, kind: str, model: str, status: int, body: Any) -> None:
    faulty.faults = [lambda handler: handler.answer(status, body)]
    with pytest.raises(ProviderError) as caught:
        make(faulty.url, model).query([{"role": "user", "content": "hello"}])
    assert caught.value.kind == kind, str(caught.value)


def test_every_row_decides_something() -> None:
    """A row that no answer above needs, or that an earlier one hides, is none."""
    deciding = set()
    for _, model, status, body in ANSWERS:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = answer_of(ValueError(), Exchange(status=status, body=raw), provider=model.partition("/")[0])
        deciding.add(next(i for i, row in enumerate(TABLE) if row.fits(answer)))
    assert [row for i, row in enumerate(TABLE) if row.statuses and i not in deciding] == []


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, error("upstream overloaded", code=502), "upstream overloaded"),
        (200, b"<html>Sign in to the network</html>", "is no chat completion: <html>Sign in to the network</html>"),
        (200, {"detail": "Not Found"}, "is no chat completion: Not Found"),
        (429, GEMINI_QUOTA, "check your plan"),
        (400, [error("Function call is missing a thought_signature")], "thought_signature"),
    ],
)
def test_the_message_says_what_the_provider_says_and_no_traceback(
    faulty: Any, status: int, body: Any, words: str
) -> None:
    faulty.faults = [lambda handler: handler.answer(status, body)]
    with pytest.raises(ProviderError) as caught:
        make(faulty.url).query([{"role": "user", "content": "hello"}])
    assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_the_table_knows_all_kinds() -> None:
    assert {row.kind for row in TABLE} == set(KINDS)


MISSING = """
import sys
from agents.deadline import Deadline
from agents.errors import ProviderError
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.retry import RetryConfig
sys.modules[sys.argv[2]] = None  # as where it is not installed
entry = ModelConfig(name="m", model=sys.argv[1], api_base="http://provider.example.org/v1", free=True)
model = PoolModel(entry, RetryConfig(), Deadline())
try:
    model.query([{"role": "user", "content": "hello"}])
except ProviderError as error:
    print(error.kind, model.usage.failed_calls, error)
"""


@pytest.mark.parametrize(
    ("model", "package", "environment"),
    [
        ("vertex_ai/gemini-2.5-pro", "google", {}),
        ("openai/m", "socksio", {"HTTP_PROXY": "socks5://127.0.0.1:9"}),
    ],
)  # fmt: skip
def test_a_missing_package_is_named_and_not_tried_again(model: str, package: str, environment: dict[str, str]) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", MISSING, model, package], env=clean | environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr[-300:]) == (0, "")
    assert done.stdout.startswith("installation 1 m: installation: ")
    assert package in done.stdout.lower()
