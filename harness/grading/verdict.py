"""What a grading ends with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    PATCH_FAILED = "patch did not apply"
    EMPTY_PATCH = "empty patch"
    TEST_TIMEOUT = "test timeout"
    HARNESS_ERROR = "official harness error"
    """The official harness cannot finish with this patch, however often it tries; it counts it as an error."""
    INFRASTRUCTURE = "infrastructure"
    """A fault of the machine, not of the model: never scored, tried again."""

    @property
    def final(self) -> bool:
        return self is not Verdict.INFRASTRUCTURE


@dataclass(frozen=True)
class Grade:
    verdict: Verdict
    detail: str = ""
    """Why, where the verdict alone does not say it."""
    failure: str = ""
    """Kind of the fault (`harness.run.failures`) behind `INFRASTRUCTURE`."""
    seconds: float = 0.0
    """Seconds the grading took, its container included, without the wait for other instances' tests."""
    test_seconds: float | None = None
    """Run time of the test script alone, by the official harness."""

    @property
    def resolved(self) -> bool:
        return self.verdict is Verdict.RESOLVED
