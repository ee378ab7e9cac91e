"""Calls and tokens a minute for a whole cluster: an actor beside the driver hands out the turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.pool import ModelConfig
from agents.rate_limit import Turn, rate_limits


class RatesActor:
    """The actor: the buckets of all limited models. It never waits; an agent waits for its turn on its own node."""

    def __init__(self, models: Sequence[ModelConfig]) -> None:
        self._buckets = rate_limits(models)

    def reserve(self, model: str, prompt_tokens: float) -> Turn:
        return self._buckets[model].reserve(prompt_tokens)

    def settle(self, model: str, turn: Turn, prompt_tokens: int, completion_tokens: int) -> None:
        self._buckets[model].settle(turn, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)

    def start(self, model: str) -> float:
        return self._buckets[model].start()


@dataclass(frozen=True)
class ClusterRateLimit:
    """Implements `agents.rate_limit.RateLimit` as the actor's client; it can be sent between processes."""

    rates_actor: Any
    model: str

    def reserve(self, prompt_tokens: float) -> Turn:
        import ray

        turn: Turn = ray.get(self.rates_actor.reserve.remote(self.model, prompt_tokens))
        return turn

    def settle(self, turn: Turn, *, prompt_tokens: int, completion_tokens: int) -> None:
        self.rates_actor.settle.remote(self.model, turn, prompt_tokens, completion_tokens)

    def start(self) -> float:
        import ray

        return float(ray.get(self.rates_actor.start.remote(self.model)))
