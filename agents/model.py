"""A pool's model as mini-swe-agent sees it: LiteLLM with our retries, exact costs, and keys that are never kept.

Importing this module loads LiteLLM (two to three seconds): do so inside functions.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any

from agents.attempt import Usage
from agents.budget import Budget, Call
from agents.callbacks import callback_metadata
from agents.deadline import Deadline, OutOfTimeError
from agents.errors import ProviderError
from agents.http import Exchange, recorded
from agents.pool import ModelConfig, address, api_key, prices
from agents.provider_errors import answer_of, kind_of, missing_package, provider_error, retry_after
from agents.rate_limit import RateLimit, Turn
from agents.redaction import redact, secrets
from agents.retry import RetryConfig, call_with_retries
from agents.secret_settings import resolved
from agents.third_party import bypass_proxy_for_loopback, is_loopback, load_litellm, load_minisweagent
from agents.usage import CHARACTERS_PER_TOKEN, Tokens, count, usage_of

litellm = load_litellm()
load_minisweagent()

import openai  # noqa: E402
from minisweagent.exceptions import FormatError  # noqa: E402
from minisweagent.models.litellm_model import LitellmModel  # noqa: E402
from minisweagent.models.utils.actions_toolcall import BASH_TOOL  # noqa: E402

_LATE_SECONDS = 1.0
"""The client's own timeout comes first: it closes the connection."""

_SLICE_SECONDS = 0.2
"""How long a wait for a turn may outlast the run's end."""

_TRANSLATED = frozenset({"anthropic", "azure_ai", "bedrock", "gemini", "litellm_proxy", "vertex_ai", "vertex_ai_beta"})
"""Providers whose messages LiteLLM translates, with what it keeps in its `provider_specific_fields`. All others get the
messages as they are, and strict ones refuse a field that is not their own."""

_COMPATIBLE = frozenset({"hosted_vllm", "openai"})
"""Providers that are anyone's OpenAI-compatible server, with names of its own for what OpenAI's protocol lacks."""

_REPLY_FIELDS = ("provider_specific_fields", "annotations", "images")
"""Fields of a reply's message that no request has."""


class PoolModel(LitellmModel):  # type: ignore[misc]
    """Upstream's LitellmModel with our retries, prices and redaction; parsing and formats stay upstream's."""

    def __init__(
        self,
        pool: ModelConfig,
        retry: RetryConfig,
        deadline: Deadline,
        *,
        budget: Budget | None = None,
        on_call: Callable[[Call], None] | None = None,
        usage: Usage | None = None,
        rate: RateLimit | None = None,
        on_wait: Callable[[float], None] | None = None,
        trace: Mapping[str, Any] | None = None,
        **upstream: Any,
    ) -> None:
        """A model for one attempt.

        Args:
            pool: The pool's entry.
            retry: Patience with the provider.
            deadline: The attempt's clock.
            budget: Asked before every request.
            on_call: Receives every request that has ended, before anything is done with its reply.
            usage: Counted up.
            rate: Calls and tokens a minute, shared by the agents that use the model.
            on_wait: Receives the seconds until the next call's turn before they are waited for.
            trace: Metadata of every call for LiteLLM's callbacks (`agents.callbacks`); providers do not receive it.
            **upstream: Arguments of LitellmModelConfig other than the model's name and registry; the entry's own
                `model_kwargs` go before its `model_kwargs`.
        """
        upstream["model_kwargs"] = upstream.get("model_kwargs", {}) | pool.model_kwargs
        super().__init__(model_name=pool.model, litellm_model_registry=None, **upstream)
        self.pool = pool
        self.retry = retry
        self.deadline = deadline
        self.usage = usage or Usage()
        self.budget = budget or Budget()
        self.on_call = on_call
        self.rate = rate
        self.on_wait = on_wait
        self.trace = trace
        self._last_cost = 0.0
        self.prices = prices(pool)
        self.provider = _provider(pool)
        if is_loopback(address(pool)):
            bypass_proxy_for_loopback()

    def query(self, messages: list[dict[str, Any]], **kwargs: Any) -> dict[str, Any]:
        """One answered call.

        Raises:
            FormatError: The reply holds no action; it is billed.
            ProviderError: The call failed for good.
            MissingKeyError: A variable is not set.
            OutOfTimeError: The attempt's time is over.
            BudgetSpentError: The run may not spend any more.
        """
        paid = self.usage.cost_usd
        response, estimated = self._answered(self._prepare_messages_for_api(messages), kwargs)
        record = {
            "response": response.model_dump(mode="json"),
            "cost": self.usage.cost_usd - paid,  # with that of replies that could not be used
            **({"usage_estimated": True} if estimated else {}),
            "timestamp": time.time(),
        }
        try:
            actions = self._parse_actions(response)
        except FormatError as error:
            error.messages[0]["extra"].update(record)  # the agent charges it from there
            raise
        message: dict[str, Any] = response.choices[0].message.model_dump(mode="json")
        message["extra"] = {"actions": actions, **record}
        return message

    def ask(self, question: str) -> str:
        """The text of one answered call without tools, charged like any other. Raises as `query` does."""
        response, _ = self._answered([{"role": "user", "content": question}], {"tool_choice": "none"})
        return str(response.choices[0].message.content or "")

    def _prepare_messages_for_api(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        prepared: list[dict[str, Any]] = super()._prepare_messages_for_api(messages)
        if self.provider not in _TRANSLATED:
            for message in prepared:
                own = message.get("provider_specific_fields") or {}
                for field in _REPLY_FIELDS:
                    message.pop(field, None)
                if calls := message.get("tool_calls"):
                    message["tool_calls"] = [{key: call[key] for key in call if key != "index"} for call in calls]
                if self.provider in _COMPATIBLE and own.get("reasoning") and "reasoning_content" in message:
                    message["reasoning"] = message.pop("reasoning_content")  # by the name under which it came
        return prepared

    def _answered(self, messages: list[dict[str, Any]], kwargs: dict[str, Any]) -> tuple[Any, bool]:
        """A usable reply and whether its tokens are estimated; failures are tried again as the retry settings say."""
        messages = _sendable(messages)
        unusable = 0

        def send() -> tuple[Any, bool]:
            nonlocal unusable
            try:
                return self._metered(messages, kwargs)
            except ProviderError as error:
                unusable += error.billed
                if error.billed and unusable > 1:
                    error.transient = False  # each try is paid
                raise

        return call_with_retries(send, self.retry, pause=self.deadline.pause)

    def _metered(self, messages: list[dict[str, Any]], kwargs: dict[str, Any]) -> tuple[Any, bool]:
        """One request within the rate limit and the budget, charged and recorded."""
        turn = self._await_turn(messages)
        # A conversation grows: its next call costs about what its last one did, or more.
        estimate = self._last_cost or self.prices.input * len(_text(messages)) / 4
        waiting = time.monotonic()
        self.budget.reserve(estimate)
        self.deadline.extend(time.monotonic() - waiting)
        before, started_at, started = replace(self.usage), time.time(), time.monotonic()
        exchange = Exchange(ssl_verify=self.config.model_kwargs.get("ssl_verify"), provider=self.provider)
        seconds, failure = 0.0, "unknown"
        try:
            try:
                response = self._send(messages, kwargs, exchange)
            finally:
                seconds = time.monotonic() - started
            failure = ""
            return response, self._charge(response, messages)
        except ProviderError as error:
            failure = error.kind
            error.billed = self._charge_unusable(exchange, messages)
            raise
        except OutOfTimeError:
            failure = "timeout"
            raise
        finally:
            used = self.usage
            cost = used.cost_usd - before.cost_usd
            self._last_cost = cost or self._last_cost
            self.budget.settle(estimate, cost)
            if self.rate is not None and turn is not None:
                self.rate.settle(
                    turn,
                    prompt_tokens=used.prompt_tokens - before.prompt_tokens,
                    completion_tokens=used.completion_tokens - before.completion_tokens,
                )
            if self.on_call is not None:
                self.on_call(
                    Call(
                        started_at=started_at,
                        seconds=seconds,
                        prompt_tokens=used.prompt_tokens - before.prompt_tokens,
                        cached_tokens=used.cached_tokens - before.cached_tokens,
                        completion_tokens=used.completion_tokens - before.completion_tokens,
                        cost_usd=cost,
                        estimated=used.estimated_calls > before.estimated_calls,
                        failure=failure,
                    )
                )

    def _await_turn(self, messages: list[dict[str, Any]]) -> Turn | None:
        """Wait until the rate limit allows another call, or until the run ends; None without a limit."""
        if self.rate is None:
            return None
        turn = self.rate.reserve(len(_text(messages)) / CHARACTERS_PER_TOKEN)
        if turn.seconds > 0 and self.on_wait is not None:
            self.on_wait(turn.seconds)
        started = time.monotonic()
        while (left := started + turn.seconds - time.monotonic()) > 0 and not self.budget.halted:
            time.sleep(min(left, _SLICE_SECONDS))
        waited = time.monotonic() - started
        self.usage.waited_seconds += waited
        self.deadline.extend(waited)
        return turn

    def _send(self, messages: list[dict[str, Any]], kwargs: dict[str, Any], exchange: Exchange) -> Any:
        """One request. Raises ProviderError with a redacted message, and counts it."""
        patience = self.retry.call_timeout_seconds
        remaining = self.deadline.remaining()
        # whole seconds: LiteLLM keeps one HTTP client for every timeout it has seen
        timeout = min(patience, remaining if remaining == math.inf else max(1, math.ceil(remaining)))
        key, base = api_key(self.pool), address(self.pool)
        arguments = resolved(self.config.model_kwargs | kwargs) | ({"api_base": base} if base else {})
        if self.trace:
            arguments["metadata"] = callback_metadata(self.trace, arguments.get("metadata") or {})
        started = time.monotonic()

        def call() -> Any:
            with recorded(exchange):
                return litellm.completion(
                    model=self.pool.model,
                    messages=messages,
                    tools=[BASH_TOOL],
                    **arguments,
                    api_key=key,
                    timeout=timeout,
                    num_retries=0,
                    max_retries=0,
                )

        try:
            response = _within(timeout, call)
            if response is None:
                raise self._failure("timeout", f"the reply did not end within {timeout:g} s")
            if not getattr(response, "choices", None):
                raise self._failure("malformed", "the reply has no choices")
            if exchange.broke_off:
                raise openai.OpenAIError("the reply broke off")
            return response
        except (openai.OpenAIError, ProviderError) as error:
            self.usage.failed_calls += 1
            if not isinstance(error, ProviderError):
                # `from None`: the original's text and request may carry the key into tracebacks
                error = self._as_provider_error(error, exchange)
            # a gateway's 504 comes while there is time left: it is the provider's, like any other
            if error.kind == "timeout" and timeout < patience and not self.deadline.remaining():
                raise OutOfTimeError from None
            self.deadline.extend(time.monotonic() - started)
            raise error from None

    def _as_provider_error(self, error: Exception, exchange: Exchange) -> ProviderError:
        if 300 <= exchange.status < 400:
            target = f" to {exchange.redirect}" if exchange.redirect else ""
            failure = self._failure("malformed", f"HTTP {exchange.status} redirects{target}, which is not followed")
            failure.transient = False
            return failure
        if exchange.too_long:
            return self._failure("malformed", "the reply does not end")
        answer = answer_of(error, exchange, provider=self.provider)
        kind, detail = kind_of(answer), missing_package(error) or str(error)
        if kind == "malformed" and exchange.status:
            detail = f"the reply is no chat completion: {answer.text}"
        elif answer.text[:50] not in detail:  # LiteLLM leaves some out
            detail = f"{detail} {answer.text}"
        return self._failure(kind, detail, retry_after(error, exchange))

    def _failure(self, kind: str, detail: str, wait: float | None = None) -> ProviderError:
        return provider_error(kind, redact(detail, secrets(self.pool)), model=self.pool.name, retry_after=wait)

    def _charge(self, response: Any, messages: list[dict[str, Any]]) -> bool:
        """Count a reply's tokens and cost. Returns whether they are estimated."""
        reply = response.choices[0].message
        reasoning = getattr(reply, "reasoning_content", None)
        received = "".join(str(part or "") for part in (reply.content, reasoning, reply.tool_calls))
        usage = getattr(response, "usage", None)
        tokens = count(usage.model_dump() if usage is not None else None, sent=_text(messages), received=received)
        self.usage.calls += 1
        self._count(tokens)
        return tokens.estimated

    def _charge_unusable(self, exchange: Exchange, messages: list[dict[str, Any]]) -> bool:
        """Count what a failed call has cost, where it was answered with a model's reply. Returns whether it was."""
        reply = exchange.json() if exchange.status == 200 else None
        if exchange.status == 200 and exchange.too_deep:
            self._count(count(None, sent=_text(messages), received=exchange.body.decode("utf-8", "replace")))
            return True
        if not isinstance(reply, dict):
            return False
        parts = (reply.get(key) for key in ("choices", "candidates", "content", "output"))
        is_reply = "error" not in reply and any(part is not None for part in parts)
        usage = usage_of(reply)
        if not is_reply and usage is None:
            return False
        tokens = count(usage, sent=_text(messages), received=exchange.body.decode("utf-8", "replace"))
        if tokens.estimated and not is_reply:
            return False
        self._count(tokens)
        return True

    def _count(self, tokens: Tokens) -> None:
        self.usage.estimated_calls += tokens.estimated
        self.usage.prompt_tokens += tokens.prompt
        self.usage.completion_tokens += tokens.completion
        self.usage.cached_tokens += tokens.cache_read
        self.usage.cost_usd += self._cost(tokens)  # last: should it fail, the tokens are counted all the same

    def _cost(self, tokens: Tokens) -> float:
        """USD of one reply."""
        if self.prices.source != "litellm":
            return (
                (tokens.prompt - tokens.cache_read - tokens.cache_write) * self.prices.input
                + tokens.cache_read * self.prices.cache_read
                + tokens.cache_write * self.prices.cache_write
                + tokens.completion * self.prices.output
            )
        costs: tuple[float, float] = litellm.cost_per_token(  # with the table's tiers
            model=self.pool.model,
            prompt_tokens=tokens.prompt,
            completion_tokens=tokens.completion,
            cache_read_input_tokens=tokens.cache_read,
            cache_creation_input_tokens=tokens.cache_write,
        )
        return sum(costs)


def _provider(model: ModelConfig) -> str:
    """LiteLLM's name of a model's provider; nothing where it knows none, which the first call will say."""
    try:
        provider: str = litellm.get_llm_provider(model.model, api_base=address(model))[1]
    except openai.OpenAIError:
        return ""
    return provider


def _text(messages: list[dict[str, Any]]) -> str:
    """What messages say and which tools they call."""
    parts = (message.get(key) for message in messages for key in ("content", "tool_calls"))
    return "".join(part if isinstance(part, str) else str(part) for part in parts if part)


def _sendable(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without lone surrogates: one in the history would make every later request fail unsent."""
    if _encodable(messages):  # looked at, as writing a long conversation again takes ten times as long
        return messages
    clean: list[dict[str, Any]] = json.loads(json.dumps(messages, ensure_ascii=False).encode("utf-8", "replace"))
    return clean


def _encodable(value: object) -> bool:
    if isinstance(value, str):
        try:
            return value.isascii() or bool(value.encode())
        except UnicodeEncodeError:
            return False
    if isinstance(value, dict):
        return all(map(_encodable, value.values()))
    return not isinstance(value, list) or all(map(_encodable, value))


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """What `call` returns or raises; None when it has not ended in time and is left to itself.

    HTTP clients bound the wait for the next byte only: a reply that drips in would hold an agent for ever.
    """
    ended: Future[Any] = Future()

    def run() -> None:
        try:
            ended.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
            ended.set_exception(error)

    threading.Thread(target=run, name="model-call", daemon=True).start()
    try:
        return ended.result(seconds + _LATE_SECONDS)
    except FutureTimeoutError:
        if ended.done():  # the call's own
            raise
        return None
