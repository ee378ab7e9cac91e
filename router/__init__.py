"""The decision: which model should attempt which instance, and what such a choice is worth on recorded outcomes.

This package knows arrays, texts and its checkpoint: no Docker, no LLM, no database. Names are imported on first use,
so that `import router` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.outcomes import OutcomeMatrix
    from router.router import Router

__all__ = ["OutcomeMatrix", "Router"]

_HOMES = {"OutcomeMatrix": "router.outcomes", "Router": "router.router"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'router' has no attribute {name!r}; it exports {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
