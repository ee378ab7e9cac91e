"""The same decision inside a LiteLLM proxy: a hook that replaces the model name `polyswe` by the routed model.

In the proxy's configuration, whose `model_list` has the router's models under the names of the checkpoint:

    litellm_settings:
      callbacks: harness.serve.proxy_hook.polyswe

The checkpoint's path is in the environment variable POLYSWE_CHECKPOINT. Everything else is the proxy's: keys, budgets,
retries, caching. Models that are worse for a problem are the request's fallbacks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from harness.serve.batching import RouteBatcher
from harness.serve.conversation import Conversations, NothingToRouteError
from router import Router

ROUTED = "polyswe"
CHECKPOINT = "POLYSWE_CHECKPOINT"


class RoutingHook(CustomLogger):  # type: ignore[misc]  # mypy does not follow LiteLLM
    """Sets the model of chat completions that ask for `polyswe`."""

    def __init__(self, checkpoint: Path, remembered_conversations: int = 100_000) -> None:
        """Load the router. Raises CheckpointError, EmbedderUnavailableError."""
        super().__init__()
        self.conversations = Conversations(RouteBatcher(Router.load(checkpoint).route), remembered_conversations)

    async def async_pre_call_hook(
        self, user_api_key_dict: object, cache: object, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        if data.get("model") != ROUTED or not isinstance(data.get("messages"), list):
            return data
        try:
            _, decision, _ = await self.conversations.decide(data["messages"], None)
        except NothingToRouteError as error:
            from fastapi import HTTPException

            raise HTTPException(400, str(error)) from None
        best, *others = decision.ranking
        return {**data, "model": best, "fallbacks": [{best: others}]}


def __getattr__(name: str) -> RoutingHook:
    """`polyswe`, loaded when the proxy asks for it."""
    if name != "polyswe":
        raise AttributeError(name)
    if not os.environ.get(CHECKPOINT):
        raise ValueError(f"set {CHECKPOINT} to a checkpoint that `polyswe fit` wrote")
    hook = globals()["polyswe"] = RoutingHook(Path(os.environ[CHECKPOINT]))
    return hook
