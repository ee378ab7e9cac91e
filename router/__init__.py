"""The decision: which model should attempt which instance, and what such a choice is worth on recorded outcomes.

    from router import Router

    router = Router.load("router.safetensors")
    route = router.route("TypeError in the date parser for ISO week numbers")
    print(route.model, route.score, route.cost_usd, route.reason)

What `__all__` names is public and stays: `Router` (load, route, choose, next_step, save, renamed) and what it returns,
`Route` and `ModelEstimate`; `OutcomeMatrix` and `make_policy` to fit one; `Embedder`; and the errors. Everything else
in this package may change without notice.

The package knows arrays, texts and its checkpoint: no Docker, no LLM, no database. Names are imported on first use, so
that `import router` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.checkpoint import CheckpointError, UntrustedEmbedderError
    from router.embedding import Embedder, EmbedderUnavailableError
    from router.outcomes import OutcomeError, OutcomeMatrix
    from router.policies import make_policy
    from router.router import ModelEstimate, Route, Router

__all__ = [
    "CheckpointError",
    "Embedder",
    "EmbedderUnavailableError",
    "ModelEstimate",
    "OutcomeError",
    "OutcomeMatrix",
    "Route",
    "Router",
    "UntrustedEmbedderError",
    "make_policy",
]

_MODULES = {
    "CheckpointError": "router.checkpoint",
    "Embedder": "router.embedding",
    "EmbedderUnavailableError": "router.embedding",
    "ModelEstimate": "router.router",
    "OutcomeError": "router.outcomes",
    "OutcomeMatrix": "router.outcomes",
    "Route": "router.router",
    "Router": "router.router",
    "UntrustedEmbedderError": "router.checkpoint",
    "make_policy": "router.policies",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'router' has no attribute {name!r}; it exports {', '.join(__all__)}")
    return getattr(import_module(_MODULES[name]), name)
