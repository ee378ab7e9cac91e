from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobqueue import JobQueue


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def connect(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[..., JobQueue]]:
    """Opens the same file again and again, as several processes would."""
    opened = []

    def connect(**options: int) -> JobQueue:
        opened.append(JobQueue(tmp_path / "jobs.db", lease_seconds=60, clock=clock, **options))
        return opened[-1]

    yield connect
    for queue in opened:
        queue.close()


@pytest.fixture
def queue(connect: Callable[..., JobQueue]) -> JobQueue:
    return connect()
