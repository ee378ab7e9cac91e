"""What the kinds of flags on an attempt mean: signs of help in its trajectory, and of faked passes in its patch."""

from __future__ import annotations

from agents.leaks import KINDS as LEAK_KINDS
from harness.grading.suspect import KINDS as SUSPECT_KINDS

FLAG_KINDS = {**LEAK_KINDS, **SUSPECT_KINDS}
"""What an attempt with a flag of this kind did, by kind, in the order in which they are listed."""
UNEXPLAINED = "flagged by another version of polyswe, which explains it"


def explain_flag(kind: str) -> str:
    """What an attempt with a flag of this kind did, in a few words."""
    return FLAG_KINDS.get(kind, UNEXPLAINED)
