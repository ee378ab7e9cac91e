"""Decisions off the event loop: texts that wait together are embedded in one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.router import Route


class RouteBatcher:
    """Routes texts one batch at a time in a single thread. While one batch is embedded, the next one gathers."""

    def __init__(self, route: Callable[[Sequence[str]], list[Route]], max_batch: int = 32) -> None:
        """`route` is `Router.route` for several texts."""
        self.max_batch = max_batch
        self._route = route
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="routing")
        self._waiting: list[tuple[str, asyncio.Future[Route]]] = []
        self._task: asyncio.Task[None] | None = None

    async def route(self, text: str) -> Route:
        """The text's route. Raises what `route` raises for this text."""
        future: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    def close(self) -> None:
        """Stop the thread. What still waits is cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self.max_batch], self._waiting[self.max_batch :]
            if not await self._decide(batch):
                for single in batch:  # one by one, so that only the text that caused the failure fails
                    await self._decide([single])

    async def _decide(self, batch: list[tuple[str, asyncio.Future[Route]]]) -> bool:
        """Answer a batch. False: it failed as a whole, and none of several texts has its answer."""
        loop = asyncio.get_running_loop()
        try:
            routes = await loop.run_in_executor(self._thread, self._route, [text for text, _ in batch])
        except Exception as error:  # noqa: BLE001 - it belongs to the request whose text caused it
            if len(batch) == 1 and not batch[0][1].done():
                batch[0][1].set_exception(error)
            return len(batch) == 1
        for (_, future), route in zip(batch, routes, strict=True):
            if not future.done():  # its client may have gone
                future.set_result(route)
        return True
