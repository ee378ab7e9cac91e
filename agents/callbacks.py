"""LiteLLM's own callbacks (Langfuse, OpenTelemetry, LangSmith, …) on the calls of a run, where nothing waits for them.

LiteLLM calls a callback within the call, and its HTTP requests would be taken for the model's. So LiteLLM gets a
forwarder, and the callback works on a thread of its own: it may fail, hang or be slow, and no call notices.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from agents.errors import PoolError
from agents.third_party import load_litellm

DOCUMENTATION = "https://docs.litellm.ai/docs/observability/callbacks"

NO_OBSERVERS = frozenset(
    {
        "anthropic_cache_control_hook", "bitbucket", "compression_interception", "dotprompt", "dynamic_rate_limiter",
        "dynamic_rate_limiter_v3", "gitlab", "litellm_agent", "prometheus", "resend_email", "sendgrid_email",
        "smtp_email", "vector_store_pre_call_hook",
    }
)  # fmt: skip
"""Callbacks that change a call, or that belong to LiteLLM's proxy."""

MAX_PENDING = 1000
"""Calls that may wait for a slow callback; those beyond are not traced."""


class CallbackError(PoolError):
    """A callback is unknown, or cannot be started."""


def callback_names() -> list[str]:
    """Names of the callbacks that only look on."""
    known: list[str] = load_litellm()._known_custom_logger_compatible_callbacks
    return sorted(set(known) - NO_OBSERVERS)


def check_callbacks(names: Sequence[str]) -> None:
    """Raises CallbackError for a name that is not one of `callback_names`, with the nearest ones."""
    valid = callback_names() if names else []
    for name in names:
        if name not in valid:
            near = difflib.get_close_matches(name, valid, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(near)}?" if near else f"LiteLLM lists them: {DOCUMENTATION}"
            raise CallbackError(f"no callback of LiteLLM's that looks on is called {name!r}; {hint}")


def callback_metadata(trace: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A call's metadata in the places where callbacks look: as it is, as tags, and as a requester's.

    Args:
        trace: What the run says of the call.
        own: The metadata in the model's settings, which go before.
    """
    tags = [*own.get("tags", ()), *(f"{name}:{value}" for name, value in trace.items())]
    return {**trace, "requester_metadata": {**trace, **own}, **own, "tags": tags}


class Tracing:
    """Callbacks at work, between `start` and `stop`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.failures: Counter[str] = Counter()
        """Calls that were not traced, by callback and reason."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="callbacks", daemon=True)
        self._forwarders: list[Any] = []
        self._callbacks: list[Any] = []
        self._pending: set[asyncio.Future[None]] = set()

    def start(self) -> None:
        """Start every callback.

        Raises:
            CallbackError: one is unknown, or lacks a package or a variable.
        """
        check_callbacks(self.names)
        litellm = load_litellm()
        self._thread.start()
        try:
            for name in self.names:
                callback = asyncio.run_coroutine_threadsafe(_started(name), self._loop).result(60)
                self._callbacks.append(callback)
                self._forwarders.append(_forwarder(self, name, callback))
        except BaseException:
            self.stop(0)
            raise
        litellm.callbacks.extend(self._forwarders)

    def stop(self, seconds: float) -> None:
        """Let the callbacks send what they hold, for so many seconds at most, and take them away from LiteLLM."""
        litellm = load_litellm()
        from litellm.litellm_core_utils.litellm_logging import _in_memory_loggers

        # LiteLLM hands the same one out again, which would be at home on a thread that has ended
        _in_memory_loggers[:] = [logger for logger in _in_memory_loggers if logger not in self._callbacks]
        for events in (
            litellm.callbacks, litellm.input_callback, litellm.success_callback, litellm.failure_callback,
            litellm._async_success_callback, litellm._async_failure_callback,
        ):  # fmt: skip
            events[:] = [callback for callback in events if callback not in self._forwarders]
        if self._thread.is_alive():
            try:
                asyncio.run_coroutine_threadsafe(self._flush(), self._loop).result(seconds)
            except TimeoutError:
                self.failures[f"{', '.join(self.names)}: not sent within {seconds:g} s"] += max(1, len(self._pending))
            self._loop.call_soon_threadsafe(self._loop.stop)

    def forward(self, name: str, event: Coroutine[Any, Any, None]) -> None:
        """Run a callback's work on its thread; called by LiteLLM's."""
        if len(self._pending) >= MAX_PENDING:
            event.close()
            self.failures[f"{name}: too slow"] += 1
            return
        self._loop.call_soon_threadsafe(self._begin, name, event)

    def _begin(self, name: str, event: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._guarded(name, event))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _guarded(self, name: str, event: Coroutine[Any, Any, None]) -> None:
        try:
            await event
        except Exception as error:  # noqa: BLE001 - whatever it is, the call it looks at has ended well or not
            self.failures[f"{name}: {type(error).__name__}"] += 1

    async def _flush(self) -> None:
        await asyncio.gather(*self._pending)
        for name, callback in zip(self.names, self._callbacks, strict=False):
            if callable(flush := getattr(callback, "flush_queue", None)):  # of LiteLLM's CustomBatchLogger
                await self._guarded(name, flush())


async def _started(name: str) -> Any:
    """The callback, made on the thread where it works. LiteLLM logs why one cannot be, and returns None."""
    from litellm.litellm_core_utils.litellm_logging import _init_custom_logger_compatible_class

    logger = logging.getLogger("LiteLLM")
    reasons = _Reasons()
    level = logger.level
    logger.addFilter(reasons)
    logger.setLevel(logging.ERROR)
    try:
        callback = _init_custom_logger_compatible_class(name, internal_usage_cache=None, llm_router=None)
    except Exception as error:  # noqa: BLE001 - whatever its package raises
        raise CallbackError(_cannot_start(name, f"{type(error).__name__}: {error}")) from None
    finally:
        logger.removeFilter(reasons)
        logger.setLevel(level)
    if callback is None:
        raise CallbackError(_cannot_start(name, reasons.last))
    return callback


def _cannot_start(name: str, reason: str) -> str:
    words = " ".join(reason.split())[:200] or "LiteLLM does not say why"
    return f"callback {name} cannot be started ({words}): install what it needs and set its variables, {DOCUMENTATION}"


class _Reasons(logging.Filter):
    """Keeps errors from being printed, and remembers the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        self.last = str(error) if error is not None else record.getMessage()
        return False


def _forwarder(tracing: Tracing, name: str, callback: Any) -> Any:
    from litellm.integrations.custom_logger import CustomLogger

    class Forwarder(CustomLogger):  # type: ignore[misc]  # mypy does not follow LiteLLM
        """What LiteLLM calls; returns at once."""

        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            tracing.forward(name, _passed("log_success_event", kwargs, response_obj, start_time, end_time))

        def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            tracing.forward(name, _passed("log_failure_event", kwargs, response_obj, start_time, end_time))

    async def _passed(method: str, *event: Any) -> None:
        # many callbacks know only the one or the other form; the form of the base class does nothing
        if getattr(type(callback), f"async_{method}", None) is not getattr(CustomLogger, f"async_{method}"):
            await getattr(callback, f"async_{method}")(*event)
        else:
            getattr(callback, method)(*event)  # nothing but other callbacks waits for this thread

    return Forwarder()
