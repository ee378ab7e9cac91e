"""The same decision inside a LiteLLM proxy: a hook that replaces the model name `polyswe` by the routed model.

In the proxy's configuration, whose `model_list` has the router's models under the names of the checkpoint:

    litellm_settings:
      callbacks: harness.serve.proxy_hook.polyswe

The checkpoint's path is in the environment variable POLYSWE_CHECKPOINT; with POLYSWE_TRUST_EMBEDDER=1 the embedder that
it names is loaded, whatever it is. Everything else is the proxy's: keys, budgets, retries, caching. Models that are
worse for a problem are the request's fallbacks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from harness.serve.batching import RouteBatcher
from harness.serve.conversation import Conversations, NothingToRouteError
from router import Router, UntrustedEmbedderError

ROUTED = "polyswe"
CHECKPOINT = "POLYSWE_CHECKPOINT"
TRUST_EMBEDDER = "POLYSWE_TRUST_EMBEDDER"


class RoutingHook(CustomLogger):  # type: ignore[misc]  # mypy does not follow LiteLLM
    """Sets the model of chat completions that ask for `polyswe`."""

    def __init__(
        self, checkpoint: Path, remembered_conversations: int = 100_000, *, trust_embedder: bool = False
    ) -> None:
        """Load the router.

        Args:
            checkpoint: what `polyswe fit` wrote.
            remembered_conversations: that stay with their model.
            trust_embedder: load whatever embedder the checkpoint names.

        Raises:
            CheckpointError: not a checkpoint, or one whose embedder nobody here asked for.
            EmbedderUnavailableError: its embedder cannot be loaded.
        """
        super().__init__()
        try:
            router = Router.load(checkpoint, trust_embedder=trust_embedder)
        except UntrustedEmbedderError as error:
            raise UntrustedEmbedderError(f"{error}. If you trust the file, set {TRUST_EMBEDDER}=1") from None
        self.conversations = Conversations(RouteBatcher(router.route), remembered_conversations)

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
    hook = globals()["polyswe"] = RoutingHook(Path(os.environ[CHECKPOINT]).expanduser(), trust_embedder=_trusted())
    return hook


def _trusted() -> bool:
    """Whether the environment says that the checkpoint's embedder may be loaded. Raises ValueError."""
    word = os.environ.get(TRUST_EMBEDDER, "").strip().lower()
    if word not in ("", "0", "false", "1", "true"):
        raise ValueError(f"{TRUST_EMBEDDER}={word!r}: set it to 1 or 0")
    return word in ("1", "true")
