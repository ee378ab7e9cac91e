"""The run's purse: never more than the calls in flight past its limit, and nothing spent is forgotten."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agents.budget import Budget, BudgetSpentError, Call
from agents.deadline import Deadline
from agents.errors import ProviderError
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.retry import RetryConfig


def test_no_call_starts_once_the_limit_is_spent() -> None:
    budget = Budget(limit=1.0, spent=0.4)
    budget.reserve(0.1)
    budget.settle(0.1, 0.6)
    assert budget.exhausted
    with pytest.raises(BudgetSpentError, match="higher limit"):
        budget.reserve(0.0)


def test_near_the_limit_a_call_waits_for_those_in_flight() -> None:
    budget = Budget(limit=1.0, spent=0.5)
    budget.reserve(0.4)
    entered = threading.Event()
    refused: list[str] = []

    def second() -> None:
        try:
            budget.reserve(0.4)
        except BudgetSpentError as error:
            refused.append(str(error))
        entered.set()

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    assert not entered.wait(0.2), "two calls of 0.4 do not fit into 0.5"
    budget.settle(0.4, 0.6)
    assert entered.wait(30)
    assert refused, "the first call has spent the limit"


def test_many_agents_pass_the_limit_by_one_call_at_most() -> None:
    budget, limit, price = Budget(limit=2.0), 2.0, 0.03
    made = []

    def agent() -> None:
        while True:
            try:
                budget.reserve(price)
            except BudgetSpentError:
                return
            made.append(price)
            budget.settle(price, price)

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(agent) for _ in range(16)]:
            future.result()
    assert limit <= sum(made) <= limit + price + 1e-9
    assert budget.spent == pytest.approx(sum(made))


def test_without_a_limit_nothing_waits() -> None:
    budget = Budget()
    for _ in range(100):
        budget.reserve(1e9)
    assert not budget.exhausted


def test_every_request_is_told_with_what_the_provider_counted(faulty) -> None:  # type: ignore[no-untyped-def]
    calls: list[Call] = []
    faulty.faults = [lambda handler: handler.answer(503, {"error": {"message": "no"}})]
    entry = ModelConfig(
        name="m", model="openai/m", api_base=faulty.url, input_cost_per_token=1e-3, output_cost_per_token=1e-2,
        cache_read_cost_per_token=1e-4,
    )  # fmt: skip
    budget = Budget(limit=1.0)
    retry = RetryConfig(max_attempts=3, initial_wait_seconds=0.01)
    model = PoolModel(entry, retry, Deadline(), budget=budget, on_call=calls.append)
    model.query([{"role": "user", "content": "hello"}])
    failed, answered = calls
    assert (failed.failure, failed.cost_usd, failed.prompt_tokens) == ("server", 0.0, 0)
    assert (answered.failure, answered.prompt_tokens, answered.cached_tokens) == ("", 100, 40)
    assert answered.completion_tokens == 10
    assert answered.cost_usd == pytest.approx(60e-3 + 40e-4 + 0.1) == budget.spent
    assert answered.seconds > 0
    faulty.faults = [lambda handler: handler.answer(401, {"error": {"message": "no"}})]
    with pytest.raises(ProviderError):
        model.query([{"role": "user", "content": "hello"}])
    assert calls[-1].failure == "auth"
    budget.settle(0.0, 1.0)
    asked = len(faulty.requests)
    with pytest.raises(BudgetSpentError):
        PoolModel(entry, retry, Deadline(), budget=Budget(1.0, 1.0)).query([{"role": "user", "content": "hello"}])
    assert len(faulty.requests) == asked, "a call was made after the limit"
