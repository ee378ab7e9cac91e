"""The verdict behind what the official harness returned, and whose fault it is where there is none.

A report decides by its `resolved`. Without one, the fault is the machine's only on evidence that a model cannot make
up: exceptions of the engine's client, and how the engine says the container ended.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import requests
from docker.errors import APIError, DockerException, ImageNotFound
from swebench.harness.utils import EvaluationError
from urllib3.exceptions import HTTPError

from harness.docker.images import pull_failure_kind
from harness.grading.observer import ContainerEnd, Observation
from harness.grading.verdict import Grade, Verdict

RUNTIME_FAULTS = ("OCI runtime exec failed", "cannot exec in a")
"""How the output begins of a command that the engine could not start. No code of the model's has run before the patch
is applied, and neither git nor patch begins with words of the patch."""


def judge(report: Mapping[str, Any] | None, seen: Observation) -> Grade:
    """The grade of a prediction.

    Args:
        report: what `run_instance` returned for the instance; None where it returned nothing.
        seen: what was observed while it worked.
    """
    ended_by_others = seen.container_end in (ContainerEnd.KILLED, ContainerEnd.REMOVED) and not seen.bound_exceeded
    if report is not None:
        if report["resolved"]:
            return Grade(Verdict.RESOLVED, test_seconds=seen.test_seconds)
        if "tests_status" not in report and (ended_by_others or seen.container_end is ContainerEnd.NOT_SEEN):
            return _container_lost()
        reason = report.get("infra_failure_reason")
        detail = f"no test results in the output; it mentions: {reason}" if reason else ""
        return Grade(Verdict.UNRESOLVED, seen.bound_exceeded or detail, test_seconds=seen.test_seconds)
    if seen.bound_exceeded:
        return Grade(Verdict.HARNESS_ERROR, seen.bound_exceeded, test_seconds=seen.test_seconds)
    if seen.refusal is not None:
        if seen.refusal.startswith(RUNTIME_FAULTS):
            return Grade(Verdict.INFRASTRUCTURE, _one_line(seen.refusal), "grading: container")
        return Grade(Verdict.PATCH_FAILED)
    if _overdue(seen):
        return Grade(Verdict.TEST_TIMEOUT, _one_line(seen.error), test_seconds=seen.test_seconds)
    if ended_by_others:
        return _container_lost()
    tests_ran = seen.test_seconds is not None
    if tests_ran and seen.container_end is ContainerEnd.EXITED and not _connection_lost(seen.error):
        detail = f"the tests ended their own container (exit code {seen.exit_code})"
        return Grade(Verdict.HARNESS_ERROR, detail, test_seconds=seen.test_seconds)
    if fault := machine_fault(seen.error):
        return Grade(Verdict.INFRASTRUCTURE, _one_line(seen.error), fault)
    if (seen.container_end is ContainerEnd.RUNNING and tests_ran) or isinstance(seen.error, UnicodeError):
        # text that cannot be encoded or read, or that the log's parser fails on: the same at every try
        return Grade(Verdict.HARNESS_ERROR, _one_line(seen.error), test_seconds=seen.test_seconds)
    detail = _one_line(seen.error) or "the official harness gave no report"
    return Grade(Verdict.INFRASTRUCTURE, detail, "engine" if tests_ran else "grading: unknown")


def _overdue(seen: Observation) -> bool:
    """Whether the harness gave up because the tests took too long."""
    if isinstance(seen.error, EvaluationError):
        return bool(seen.error.super_str.startswith("Test timed out after "))
    # where the image has no `kill`, the harness fails while it ends the overdue test script
    calls = [frame.name for frame in traceback.extract_tb(seen.error.__traceback__)] if seen.error else []
    ending = ("exec_run_with_timeout", "exec_run")
    return isinstance(seen.error, APIError) and seen.container_end is ContainerEnd.RUNNING and ending in pairwise(calls)


def machine_fault(error: BaseException | None) -> str:
    """Kind of the machine's fault behind an exception; empty where it is none of the machine's."""
    for link in _chain(error):
        match link:
            case ImageNotFound():
                return "image: missing"
            case APIError():
                return _engine_refusal(link)
            case requests.RequestException() | DockerException() | HTTPError() | ConnectionError():
                return "engine"
            case OSError():
                return "disk" if link.errno in (errno.ENOSPC, errno.EDQUOT) else "grading: unknown"
            case MemoryError():
                return "grading: memory"
    return ""


def _connection_lost(error: BaseException | None) -> bool:
    """Whether the engine stopped answering: after a restart it does not know why its containers have ended."""
    lost = (requests.ConnectionError, requests.Timeout, HTTPError, ConnectionError)
    return any(isinstance(link, lost) for link in _chain(error))


def _engine_refusal(error: APIError) -> str:
    words = str(error.explanation or error)
    if pull_failure_kind(words) == "disk":
        return "disk"
    if pull_failure_kind(words) == "rate-limit":
        return "image: rate-limit"
    return "grading: container" if error.is_client_error() else "engine"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _container_lost() -> Grade:
    return Grade(
        Verdict.INFRASTRUCTURE, "the container was ended from outside before its tests were over", "grading: container"
    )


def _one_line(words: object) -> str:
    return " ".join(str(words or "").split())[:300]
