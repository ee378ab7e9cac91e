"""Watches the official harness at work on one prediction, by the messages that it logs while it works.

Three uses. The tests of a limited number of gradings run at the same time, so a grading waits before its tests and says
when they are over. What the official harness does without a time limit gets one. And `run_instance` returns None for a
patch that does not apply, a timeout and a broken engine alike, so what was behind it is noted: the exception, and how
its container ended.

The log file cannot serve for that: it also holds the model's patch and what commands in the container printed, and
either may contain any line. Here every message arrives on its own, and is known by how it begins.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from docker.errors import APIError, NotFound
from docker.models.containers import Container
from requests import RequestException
from swebench.harness.constants import APPLY_PATCH_FAIL, LOG_INSTANCE

from harness.grading.container import GradingClient
from harness.grading.settings import Bounds

BEFORE_PATCH = "Intermediate patch for "
REFUSED = f"{APPLY_PATCH_FAIL}:\n"
BEFORE_TESTS = "Eval script for "
AFTER_TESTS = re.compile(r"Test runtime: ([\d_]+\.\d+) seconds")
BEFORE_READING = "Grading answer for "
CLEANING_UP = "Attempting to stop container "


class Run(Protocol):
    """What the run has to know while a grading is at work."""

    def container_started(self, name: str) -> None:
        """The grading's container runs; no code of the model's has run in it yet."""

    def ended_for(self) -> str:
        """Why the run has ended the container; empty where it has not."""

    def acquire_tests(self) -> None:
        """Wait until this grading's tests may run: a limited number of gradings' tests do at a time."""

    def release_tests(self) -> None:
        """They are over. Nothing happens when they never began."""

    def reading_begins(self) -> None:
        """The official harness begins to read the test output, during which this process may not answer."""

    def reading_ends(self) -> None:
        """It has finished with that, or failed."""


class ContainerEnd(Enum):
    """How a container was found when the official harness began to clean up."""

    NOT_SEEN = auto()
    """There was none yet, or the engine did not answer."""
    RUNNING = auto()
    EXITED = auto()
    """Its first process ended, and nobody had asked the engine to end it."""
    KILLED = auto()
    """The engine was asked to end it."""
    REMOVED = auto()


@dataclass
class Observation:
    """What a grading without a report can be judged by; nothing of it is text that a model chose."""

    error: BaseException | None = None
    """The exception that the harness caught last."""
    refusal: str | None = None
    """What the last attempt to apply the patch printed, if none succeeded."""
    test_seconds: float | None = None
    container_end: ContainerEnd = ContainerEnd.NOT_SEEN
    exit_code: int | None = None
    """Of a container that had ended."""
    bound_exceeded: str = ""
    """Which bound of a grading (`Bounds`, or its share of the disk) it was ended for."""
    waited_seconds: float = 0.0
    """For other gradings' tests."""


class Observer(logging.Handler):
    """Receives the messages of `run_instance` for one instance while the context lasts."""

    def __init__(self, instance_id: str, client: GradingClient, run: Run, bounds: Bounds) -> None:
        super().__init__()
        self.seen = Observation()
        self._client = client
        self._run = run
        self._bounds = bounds
        self._timer: threading.Timer | None = None
        self._cleaning_up = False
        self._logger = logging.getLogger(f"{instance_id}.{LOG_INSTANCE}")  # as swebench.logger.setup_logger names it

    def __enter__(self) -> Observation:
        self._logger.addHandler(self)
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._limit(None)
        self._run.release_tests()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the harness's thread in the midst of its work, which goes on when this returns."""
        message = record.getMessage()
        if self._cleaning_up:  # its own troubles say nothing of the grading
            return
        self.seen.error = sys.exc_info()[1] or self.seen.error
        if message.startswith(BEFORE_PATCH):
            if self._client.created is not None and self._client.created.name:
                self._run.container_started(self._client.created.name)
            self._limit(self._bounds.apply_seconds, "the patch was not applied")
        elif message.startswith(REFUSED):
            self.seen.refusal = message.removeprefix(REFUSED)
        elif message.startswith(BEFORE_TESTS):
            self._limit(None)
            began = time.monotonic()
            self._run.acquire_tests()
            self.seen.waited_seconds = time.monotonic() - began
        elif runtime := AFTER_TESTS.match(message):
            self.seen.test_seconds = float(runtime[1].replace("_", ""))
            self._run.release_tests()
            self._limit(self._bounds.after_tests_seconds, "no diff could be taken after the tests")
        elif message.startswith(BEFORE_READING):
            self._limit(None)
            self._run.reading_begins()
        elif message.startswith(CLEANING_UP) and self._client.created is not None:
            self._limit(None)
            self._cleaning_up = True
            self._run.reading_ends()
            self.seen.bound_exceeded = self._client.ended_for or self._run.ended_for()
            self.seen.container_end, self.seen.exit_code = _end_of(self._client.created)

    def _limit(self, seconds: float | None, otherwise: str = "") -> None:
        """End the container unless the next of the watched messages comes within so many seconds."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            reason = f"{otherwise} within {seconds:g} seconds"
            self._timer = threading.Timer(seconds, self._client.end_container, [reason])
            self._timer.daemon = True
            self._timer.start()


def _end_of(container: Container) -> tuple[ContainerEnd, int | None]:
    """How a container has ended by now, as the engine knows it, and its exit code."""
    try:
        container.reload()
        state = container.attrs["State"]
        # the moment of the end is the engine's, whose clock may not be ours; the event follows it closely
        until = time.time() if state["Running"] else datetime.fromisoformat(state["FinishedAt"]).timestamp() + 1
        # `until` is declared as whole seconds, which would miss the last one; the engine takes fractions
        events = container.client.api.events(  # type: ignore[union-attr,call-overload]
            since=0,
            until=until,
            filters={"container": container.id, "event": "kill"},
            decode=True,
        )
        killed = any(True for _ in events)
    except NotFound:
        return ContainerEnd.REMOVED, None
    except (APIError, RequestException):
        return ContainerEnd.NOT_SEEN, None
    if killed:
        return ContainerEnd.KILLED, state["ExitCode"]
    if state["Running"]:
        return ContainerEnd.RUNNING, None
    return ContainerEnd.EXITED, state["ExitCode"]
