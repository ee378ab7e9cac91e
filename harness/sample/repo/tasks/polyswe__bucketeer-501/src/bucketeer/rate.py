"""Rates: so many tokens per so much time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bucketeer.clock import SECOND

_UNITS = {"ms": SECOND // 1000, "s": SECOND, "min": 60 * SECOND, "h": 3600 * SECOND}
_RATE = re.compile(r"\s*(\d+)\s*/\s*(\d*)\s*(ms|s|min|h)\s*")


@dataclass(frozen=True)
class Rate:
    """`tokens` per `period_ns` nanoseconds, both positive."""

    tokens: int
    period_ns: int

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.period_ns < 1:
            raise ValueError(f"a rate must be positive, got {self.tokens} per {self.period_ns} ns")

    @classmethod
    def parse(cls, text: str) -> Rate:
        """`100/min`, `5/s`, `3/10s`."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise ValueError(f"cannot understand rate {text!r}; write it like 100/min or 3/10s")
        tokens, count, unit = match.groups()
        return cls(int(tokens), int(count or 1) * _UNITS[unit])
