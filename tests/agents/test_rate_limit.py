"""Providers' limits: what a server sees in any window, and that waiting is no time of the agent's or the model's."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.budget import Budget, BudgetSpentError, Call
from agents.deadline import Deadline
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.rate_limit import MINUTE, TokenBucket, least_hours
from agents.retry import RetryConfig

NEAR = 1e-6


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


calls = st.lists(
    st.tuples(st.floats(0, 90), st.integers(1, 3000), st.integers(1, 3000)),  # pause before it, prompt, completion
    min_size=1,
    max_size=40,
)


@given(rpm=st.integers(1, 600), calls=calls)
def test_no_minute_has_more_calls_than_allowed(rpm: int, calls: list[tuple[float, int, int]]) -> None:
    clock = Clock()
    bucket = TokenBucket(rpm=rpm, clock=clock)
    starts = []
    for pause, prompt, _ in calls:
        clock.now += pause if rpm < 20 else pause / rpm
        starts.append(clock.now + bucket.reserve(prompt).seconds)
    for start in starts:
        assert sum(start <= other < start + MINUTE - NEAR for other in starts) <= rpm


@given(tpm=st.integers(100, 100_000), calls=calls)
def test_tokens_in_any_minute_pass_the_limit_by_one_call_at_most(tpm: int, calls: list[tuple[float, int, int]]) -> None:
    """One agent: each call is settled before the next one asks, however wrong its estimate was."""
    clock = Clock()
    bucket = TokenBucket(tpm=tpm, clock=clock)
    used: list[tuple[float, int]] = []
    for pause, prompt, completion in calls:
        clock.now += pause
        turn = bucket.reserve(prompt)
        clock.now += turn.seconds
        used.append((clock.now, prompt + completion))
        bucket.settle(turn, prompt_tokens=prompt, completion_tokens=completion)
    for start, _ in used:
        window = [tokens for at, tokens in used if start <= at < start + MINUTE - NEAR]
        assert sum(window[:-1]) <= tpm * (1 + NEAR)


@given(rpm=st.integers(1, 600), waits=st.lists(st.floats(0, 30), max_size=20))
def test_a_quiet_model_answers_at_once_and_an_attempt_starts_only_then(rpm: int, waits: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(rpm=rpm, clock=clock)
    for wait in waits:
        clock.now += wait
        if bucket.start() == 0:
            assert bucket.reserve(10).seconds == 0
            assert bucket.start() > 0, "a second attempt would wait in its container"
    clock.now += MINUTE * (len(waits) + 1)
    assert bucket.reserve(10).seconds == 0


def entry(url: str, **limits: int) -> ModelConfig:
    return ModelConfig(name="m", model="openai/m", api_base=url, free=True, **limits)


def test_a_server_sees_the_limit_kept_by_all_agents_together(faulty) -> None:  # type: ignore[no-untyped-def]
    arrivals: list[float] = []

    def answer(handler) -> None:  # type: ignore[no-untyped-def]
        arrivals.append(time.monotonic())
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "done"}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        handler.answer(200, {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    def agent(_: int) -> PoolModel:
        model = PoolModel(entry(faulty.url), RetryConfig(), Deadline(60), rate=bucket, on_call=recorded.append)
        for _ in range(3):
            model.ask("hello")
        return model

    faulty.faults = [answer] * 10
    PoolModel(entry(faulty.url), RetryConfig(), Deadline()).ask("a first call loads what calls need")
    arrivals.clear()
    bucket, recorded = TokenBucket(rpm=120), list[Call]()
    with ThreadPoolExecutor(3) as pool:
        models = list(pool.map(agent, range(3)))
    assert len(arrivals) == 9
    for start in arrivals:
        within = sum(start <= at < start + 2 for at in arrivals)
        assert within <= 4 + 1, "two a second; one may arrive late"
    waited = sum(model.usage.waited_seconds for model in models)
    assert waited > 2
    assert sum(model.deadline.excused for model in models) >= waited, "waiting is no time of the agent's"
    assert sum(call.seconds for call in recorded) < waited / 2, "waiting is no latency of the model's"


def test_the_runs_end_ends_a_wait(faulty) -> None:  # type: ignore[no-untyped-def]
    ended, waiting = threading.Event(), threading.Event()
    bucket = TokenBucket(rpm=1)
    bucket.reserve(10)
    model = PoolModel(
        entry(faulty.url), RetryConfig(), Deadline(), rate=bucket, budget=Budget(halted=ended.is_set),
        on_wait=lambda seconds: waiting.set(),
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(model.ask, "hello")
        assert waiting.wait(30)
        ended.set()
        with pytest.raises(BudgetSpentError):
            call.result(timeout=30)
    assert faulty.requests == []


def test_least_hours_are_those_of_the_tightest_limit() -> None:
    model = entry("http://127.0.0.1:9/v1", rpm=10, tpm=1000, max_parallel=2)
    assert least_hours(model, calls=6000, tokens=1000, attempt_seconds=60) == 10
    assert least_hours(model, calls=1, tokens=600_000, attempt_seconds=60) == 10
    assert least_hours(model, calls=1, tokens=1, attempt_seconds=72_000) == 10
    assert least_hours(entry("http://127.0.0.1:9/v1"), calls=1e9, tokens=1e9, attempt_seconds=1e9) == 0
