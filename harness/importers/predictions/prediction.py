"""A prediction: one patch for one instance, and what its source states about the attempt behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """One patch, as a file states it."""

    instance_id: str
    """Unchecked: it names no file until a dataset is known to have it."""
    model: str
    """`model_name_or_path`, or what the format has in its place; empty where nothing names a model."""
    patch: str
    """Empty where nothing was submitted."""
    place: str
    """Where it stands in its source, such as `line 3`."""
    attempt: int = 1
    """Which of several attempts of the model at the instance, where the source holds several."""
    trajectory: Path | None = None
    """The file that tells of the attempt; it may be missing or damaged."""
    offset: int = 0
    """Where the attempt's line begins, of a trajectory file that holds many."""


@dataclass(frozen=True)
class AttemptRecord:
    """What a source states about an attempt. None is unknown."""

    cost_usd: float | None = None
    api_calls: int | None = None
    prompt_tokens: int | None = None
    """Prompt tokens, cached ones included."""
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    seconds: float | None = None
    exit_status: str | None = None
    messages: Sequence[Mapping[str, Any]] = ()
    """The trajectory as mini-swe-agent writes it; empty where there is none."""


@dataclass(frozen=True)
class PredictionSource:
    """One file or folder of predictions."""

    path: Path
    format: str
    """Its reader's name in `READERS`."""
    sha256: str
    """Of the file that holds the patches, or of all patches where each has a file."""
    predictions: tuple[Prediction, ...]
    agent: str = ""
    """What made the attempts, where the format says so."""
    notes: tuple[str, ...] = ()
    """What a reader has to know of it."""


def amount(value: object) -> float | None:
    """A number of at least 0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def count(value: object) -> int | None:
    """A whole number of at least 0 that SQLite can hold; None for anything else."""
    number = amount(value)
    return int(number) if number is not None and number < 2**63 else None


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object; empty for anything else."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """A string without halves of characters, which JSON may spell; empty for anything else."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
