"""Whose fault a grading without a report is: by exceptions and the engine's word, never by text of a model."""

from __future__ import annotations

import errno
import logging
from dataclasses import replace
from typing import Any

import pytest
import requests
from docker.errors import APIError, ImageNotFound
from swebench.harness.utils import EvaluationError

from harness.grading.judge import judge
from harness.grading.observer import ContainerEnd, Observation
from harness.grading.verdict import Verdict

UNTESTED = Observation(container_end=ContainerEnd.RUNNING)
TESTED = Observation(test_seconds=4.2, container_end=ContainerEnd.RUNNING)
MACHINE_WORDS = (
    "Cannot allocate memory",
    "No space left on device",
    "OCI runtime exec failed: x",
    "Read-only file system",
)


def given_up(message: str, cause: BaseException | None = None) -> EvaluationError:
    logger: Any = logging.getLogger("test")
    logger.log_file = "x"
    error = EvaluationError("i", message, logger)
    error.__cause__ = cause
    return error


def refused(status: int, words: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError("refused", response=response, explanation=words)


@pytest.mark.parametrize("words", MACHINE_WORDS)
def test_words_of_a_patch_are_no_evidence(words: str) -> None:
    seen = replace(UNTESTED, refusal=f"error: corrupt patch at line 3: {words}", error=given_up(words))
    assert judge(None, seen).verdict is Verdict.PATCH_FAILED


@pytest.mark.parametrize("words", [*MACHINE_WORDS, "Test timed out after 9 seconds", "Connection refused"])
def test_words_that_a_parser_chokes_on_are_no_evidence(words: str) -> None:
    assert judge(None, replace(TESTED, error=IndexError(words))).verdict is Verdict.HARNESS_ERROR


@pytest.mark.parametrize(
    ("seen", "failure"),
    [
        (replace(UNTESTED, error=given_up("x", refused(500, "write /x: no space left on device"))), "disk"),
        (replace(UNTESTED, error=given_up("x", ImageNotFound("No such image: x"))), "image: missing"),
        (replace(UNTESTED, error=given_up("x", refused(500, "toomanyrequests: rate limit"))), "image: rate-limit"),
        (replace(TESTED, error=requests.ConnectionError("refused")), "engine"),
        (replace(TESTED, error=OSError(errno.ENOSPC, "No space left on device")), "disk"),
        (replace(TESTED, error=MemoryError()), "grading: memory"),
        (replace(UNTESTED, refusal="OCI runtime exec failed: exec failed", error=given_up("x")), "grading: container"),
        (replace(TESTED, container_end=ContainerEnd.KILLED, error=refused(409, "not running")), "grading: container"),
        (replace(TESTED, container_end=ContainerEnd.REMOVED, error=IndexError()), "grading: container"),
        (replace(UNTESTED, error=KeyError("no such parser")), "grading: unknown"),
        (replace(TESTED, container_end=ContainerEnd.NOT_SEEN, error=IndexError()), "engine"),
        (replace(TESTED, container_end=ContainerEnd.EXITED, error=requests.ConnectionError("refused")), "engine"),
        (Observation(), "grading: unknown"),
    ],
)
def test_faults_of_the_machine_are_known_by_their_exceptions(seen: Observation, failure: str) -> None:
    grade = judge(None, seen)
    assert (grade.verdict, grade.failure) == (Verdict.INFRASTRUCTURE, failure)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (replace(TESTED, error=given_up("Test timed out after 1800 seconds.")), Verdict.TEST_TIMEOUT),
        (replace(UNTESTED, error=UnicodeDecodeError("utf-8", b"x", 0, 1, "no")), Verdict.HARNESS_ERROR),
        (
            replace(TESTED, container_end=ContainerEnd.EXITED, exit_code=137, error=refused(409, "not running")),
            Verdict.HARNESS_ERROR,
        ),
    ],
)
def test_faults_of_the_model_stay_its_own(seen: Observation, verdict: Verdict) -> None:
    grade = judge(None, seen)
    assert (grade.verdict, grade.test_seconds) == (verdict, seen.test_seconds)


def test_a_report_decides_unless_the_container_was_taken_away_under_the_tests() -> None:
    mentioned = {"resolved": False, "infra_failure": True, "infra_failure_reason": "out_of_memory"}
    grade = judge(mentioned, TESTED)
    assert grade.verdict is Verdict.UNRESOLVED
    assert "out_of_memory" in grade.detail
    for end in (ContainerEnd.KILLED, ContainerEnd.REMOVED, ContainerEnd.NOT_SEEN):
        taken = replace(TESTED, container_end=end)
        assert judge(mentioned, taken).verdict is Verdict.INFRASTRUCTURE
        assert judge({"resolved": False, "tests_status": {}}, taken).verdict is Verdict.UNRESOLVED
        assert judge({"resolved": True}, taken).verdict is Verdict.RESOLVED


def test_a_container_that_was_ended_for_a_bound_was_not_taken_away() -> None:
    ended = replace(TESTED, container_end=ContainerEnd.KILLED, bound_exceeded="too much output")
    assert judge({"resolved": False}, ended).verdict is Verdict.UNRESOLVED
    assert judge({"resolved": True}, ended).verdict is Verdict.RESOLVED
    grade = judge(None, replace(ended, error=refused(409, "not running")))
    assert (grade.verdict, grade.detail) == (Verdict.HARNESS_ERROR, "too much output")
