from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

START = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def archived(live: Path) -> Callable[..., Path]:
    """Makes an archive of `live` that was last written `days` before START."""

    def make(days: float, size: int = 10) -> Path:
        written = START - timedelta(days=days)
        path = live.with_name(f"{live.name}.{written:%Y%m%dT%H%M%S}")
        path.write_bytes(b"x" * size)
        os.utime(path, (written.timestamp(), written.timestamp()))
        return path

    return make
