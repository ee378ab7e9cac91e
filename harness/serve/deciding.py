"""Decisions off the event loop: texts that wait together are embedded in one batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.router import Route


class Deciding:
    """Routes texts one batch at a time in a single thread; while one batch is embedded, the next one gathers."""

    def __init__(self, route: Callable[[Sequence[str]], list[Route]], max_batch: int = 32) -> None:
        self.max_batch = max_batch
        self._route = route
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="deciding")
        self._waiting: list[tuple[str, asyncio.Future[tuple[Route, float]]]] = []
        self._alone: list[list[tuple[str, asyncio.Future[tuple[Route, float]]]]] = []
        """Batches of one, whose batch had failed as a whole."""
        self._working = False

    async def route(self, text: str) -> tuple[Route, float]:
        """The text's route, and the seconds it took from arrival (embedding, and waiting for the batch before)."""
        started = time.perf_counter()
        future: asyncio.Future[tuple[Route, float]] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, future))
        if not self._working:
            self._working = True
            self._task = asyncio.create_task(self._work())
        route, _ = await future
        return route, time.perf_counter() - started

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._alone or self._waiting:
                if self._alone:
                    batch = self._alone.pop(0)
                else:
                    batch, self._waiting = self._waiting[: self.max_batch], self._waiting[self.max_batch :]
                try:
                    routes = await loop.run_in_executor(self._thread, self._route, [text for text, _ in batch])
                except Exception as error:  # noqa: BLE001 - whatever it is belongs to the one whose text it is
                    if len(batch) > 1:  # one by one, so that only the culprit fails
                        self._alone = [[waiting] for waiting in batch] + self._alone
                    elif not batch[0][1].done():
                        batch[0][1].set_exception(error)
                    continue
                for (_, future), route in zip(batch, routes, strict=True):
                    if not future.done():  # its client may have gone
                        future.set_result((route, 0.0))
        finally:
            self._working = False
