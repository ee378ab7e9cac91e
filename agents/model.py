"""A pool's model as mini-swe-agent sees it: LiteLLM with our retries, exact costs, and keys that are never kept.

Importing this module loads LiteLLM (two to three seconds): do so inside functions.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from functools import partial
from typing import Any

from agents.attempt import Usage
from agents.budget import Budget, Call
from agents.deadline import Deadline, OutOfTimeError
from agents.errors import ProviderError
from agents.pool import ModelConfig, api_key, prices, redact, secrets
from agents.retry import RetryConfig, call_with_retries, classify, provider_error, retry_after
from agents.third_party import bypass_proxy_for_loopback, is_loopback, load_litellm, load_minisweagent

litellm = load_litellm()
load_minisweagent()

import openai  # noqa: E402
from minisweagent.exceptions import FormatError  # noqa: E402
from minisweagent.models.litellm_model import LitellmModel  # noqa: E402
from minisweagent.models.utils.actions_toolcall import BASH_TOOL  # noqa: E402

_LATE_SECONDS = 1.0
"""The client's own timeout comes first: it closes the connection."""


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
        **upstream: Any,
    ) -> None:
        """`upstream`: arguments of LitellmModelConfig other than the model's name and registry; the entry's own
        `model_kwargs` go before its `model_kwargs`. `budget` is asked before every request, and `on_call` told of
        every request that has ended before anything is done with its reply. `usage` is counted up."""
        upstream["model_kwargs"] = upstream.get("model_kwargs", {}) | pool.model_kwargs
        super().__init__(model_name=pool.model, litellm_model_registry=None, **upstream)
        self.pool = pool
        self.retry = retry
        self.deadline = deadline
        self.usage = usage or Usage()
        self.budget = budget or Budget()
        self.on_call = on_call
        self._last_cost = 0.0
        self.prices = prices(pool)
        if is_loopback(pool.api_base):
            bypass_proxy_for_loopback()

    def query(self, messages: list[dict[str, Any]], **kwargs: Any) -> dict[str, Any]:
        """One answered call. Raises FormatError (billed), ProviderError, MissingKeyError, OutOfTimeError, and
        BudgetSpentError when the run may not spend any more."""
        prepared = _sendable(self._prepare_messages_for_api(messages))
        send = partial(self._metered, prepared, kwargs)
        response, bill = call_with_retries(send, self.retry, pause=self.deadline.pause)
        record = {"response": response.model_dump(mode="json"), **bill, "timestamp": time.time()}
        try:
            actions = self._parse_actions(response)
        except FormatError as error:
            error.messages[0]["extra"].update(record)  # the agent charges it from there
            raise
        message: dict[str, Any] = response.choices[0].message.model_dump(mode="json")
        message["extra"] = {"actions": actions, **record}
        return message

    def _metered(self, messages: list[dict[str, Any]], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """One request within the budget, charged and told."""
        # a conversation grows: its next call costs about what its last one did, or more
        estimate = self._last_cost or self.prices.input * sum(len(str(m.get("content") or "")) for m in messages) / 4
        waiting = time.monotonic()
        self.budget.reserve(estimate)
        self.deadline.extend(time.monotonic() - waiting)
        before, started_at, started = replace(self.usage), time.time(), time.monotonic()
        seconds, failure = 0.0, "unknown"
        try:
            try:
                response = self._send(messages, kwargs)
            finally:
                seconds = time.monotonic() - started
            bill = self._charge(response, messages)
            failure = ""
            return response, bill
        except ProviderError as error:
            failure = error.kind
            raise
        except OutOfTimeError:
            failure = "timeout"
            raise
        finally:
            used = self.usage
            cost = used.cost_usd - before.cost_usd
            self._last_cost = cost or self._last_cost
            self.budget.settle(estimate, cost)
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

    def ask(self, question: str) -> str:
        """The text of one answered call without tools, charged like any other. Raises as `query` does."""
        messages = _sendable([{"role": "user", "content": question}])
        send = partial(self._metered, messages, {"tool_choice": "none"})
        response, _ = call_with_retries(send, self.retry, pause=self.deadline.pause)
        return str(response.choices[0].message.content or "")

    def _send(self, messages: list[dict[str, Any]], kwargs: dict[str, Any]) -> Any:
        """One request. Raises ProviderError with a redacted message, and counts it."""
        patience = self.retry.call_timeout_seconds
        remaining = self.deadline.remaining()
        # whole seconds: LiteLLM keeps one HTTP client for every timeout it has seen
        timeout = min(patience, remaining if remaining == math.inf else max(1, math.ceil(remaining)))
        key = api_key(self.pool)
        address = {"api_base": self.pool.api_base} if self.pool.api_base else {}
        started = time.monotonic()
        try:
            response = _within(
                timeout,
                litellm.completion,
                model=self.pool.model,
                messages=messages,
                tools=[BASH_TOOL],
                **(self.config.model_kwargs | kwargs),
                **address,
                api_key=key,
                timeout=timeout,
                num_retries=0,
                max_retries=0,
            )
            if response is None:
                raise self._failure("timeout", f"the reply did not end within {timeout:g} s")
            if not getattr(response, "choices", None):
                raise self._failure("malformed", "the reply has no choices")
            return response
        except (openai.OpenAIError, ProviderError) as error:
            self.usage.failed_calls += 1
            if not isinstance(error, ProviderError):
                # `from None`: the original's text and request may carry the key into tracebacks
                error = self._failure(classify(error), str(error), retry_after(error))
            # a gateway's 504 comes while there is time left: it is the provider's, like any other
            if error.kind == "timeout" and timeout < patience and not self.deadline.remaining():
                raise OutOfTimeError from None
            self.deadline.extend(time.monotonic() - started)
            raise error from None

    def _failure(self, kind: str, detail: str, wait: float | None = None) -> ProviderError:
        return provider_error(kind, redact(detail, secrets(self.pool)), model=self.pool.name, retry_after=wait)

    def _charge(self, response: Any, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Count a reply's tokens and cost."""
        usage: Any = getattr(response, "usage", None)
        counts = [0] if usage is None else [usage.prompt_tokens or 0, usage.completion_tokens or 0]
        estimated = max(counts) <= 0 or min(counts) < 0
        if estimated:
            prompt = sum(len(str(message.get("content") or "")) for message in messages)
            reply = response.choices[0].message
            completion = len(str(reply.content or "")) + len(str(reply.tool_calls or ""))
            usage = litellm.Usage(prompt_tokens=math.ceil(prompt / 4), completion_tokens=math.ceil(completion / 4))
            response.usage = usage
        self.usage.calls += 1
        self.usage.estimated_calls += estimated
        self.usage.prompt_tokens += usage.prompt_tokens or 0
        self.usage.completion_tokens += usage.completion_tokens or 0
        self.usage.cached_tokens += getattr(usage.prompt_tokens_details, "cached_tokens", None) or 0
        cost = self._cost(response)  # last: should it fail, the tokens are counted all the same
        self.usage.cost_usd += cost
        return {"cost": cost, **({"usage_estimated": True} if estimated else {})}

    def _cost(self, response: Any) -> float:
        """USD of one reply. Prices of the entry go in per call: LiteLLM's registry is global and keyed by model id,
        so that two entries of one id, or two runs, would overwrite each other's prices."""
        if self.prices.source == "free":
            return 0.0
        if self.prices.source == "litellm":
            return float(litellm.completion_cost(response, model=self.pool.model))
        custom = {
            "input_cost_per_token": self.prices.input,
            "output_cost_per_token": self.prices.output,
            "cache_read_input_token_cost": self.prices.cache_read,
            "cache_creation_input_token_cost": self.prices.cache_write,
        }
        return float(litellm.completion_cost(response, model=self.pool.model, custom_cost_per_token=custom))


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


def _within(seconds: float, call: Callable[..., Any], **arguments: Any) -> Any:
    """What `call` returns or raises; None when it has not ended in time and is left to itself.

    HTTP clients bound the wait for the next byte only: a reply that drips in would hold an agent for ever.
    """
    ended: Future[Any] = Future()

    def run() -> None:
        try:
            ended.set_result(call(**arguments))
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
            ended.set_exception(error)

    threading.Thread(target=run, name="model-call", daemon=True).start()
    try:
        return ended.result(seconds + _LATE_SECONDS)
    except FutureTimeoutError:
        if ended.done():  # the call's own
            raise
        return None
