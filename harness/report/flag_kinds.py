"""What the kinds of flags on an attempt mean."""

from __future__ import annotations

from agents.leaks import KINDS

UNEXPLAINED = "flagged by another version of polyswe, which explains it"


def explain_flag(kind: str) -> str:
    """What an attempt with a flag of this kind did, in a few words."""
    return KINDS.get(kind, UNEXPLAINED)
