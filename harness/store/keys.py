"""The key of a cell: changes with everything that its outcome depends on.

It has three parts: of what the attempt depends on, of what its grading depends on, and the one key of both that stores
of earlier versions hold, so that their cells are known again.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum

SEPARATOR = "+"


class Change(Enum):
    """Which part of a cell is another than before."""

    NONE = "none"
    GRADING = "grading"
    """The attempt stands; its patch is graded again."""
    ATTEMPT = "attempt"


def make_key(*, attempt: object, grading: object, earlier: str) -> str:
    """A cell's key.

    Args:
        attempt: everything that the attempt depends on, as JSON takes it.
        grading: everything that its grading depends on.
        earlier: the key that earlier versions gave the cell.
    """
    return SEPARATOR.join((_digest(attempt), _digest(grading), earlier))


def change(stored: str, planned: str) -> Change:
    """What is another in a cell that was planned under the key `stored` and is planned under `planned` now."""
    if stored == planned:
        return Change.NONE
    if stored.count(SEPARATOR) == planned.count(SEPARATOR) == 2:
        stored_attempt, stored_grading, _ = stored.split(SEPARATOR)
        attempt, grading, _ = planned.split(SEPARATOR)
        if stored_attempt != attempt:
            return Change.ATTEMPT
        return Change.NONE if stored_grading == grading else Change.GRADING
    return Change.NONE if stored == planned.split(SEPARATOR)[-1] else Change.ATTEMPT


def instance_of(key: str) -> str:
    """The fingerprint of the instance (its text, its grading) that a key holds, whatever the settings were."""
    return key.split(SEPARATOR)[-1].partition(".")[0]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
