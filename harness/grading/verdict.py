"""What a grading ended with, read from what the official harness returned and logged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

MACHINE_TROUBLE = re.compile(
    r"No space left on device|OCI runtime exec failed|Cannot allocate memory|Input/output error|Read-only file system"
)
"""What git and patch say when it is not the patch that fails."""


class Verdict(StrEnum):
    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    PATCH_FAILED = "patch did not apply"
    EMPTY_PATCH = "empty patch"
    TEST_TIMEOUT = "test timeout"
    HARNESS_ERROR = "official harness error"
    """The official harness itself cannot digest the patch, however often; its command line counts it as an error."""
    INFRASTRUCTURE = "infrastructure"
    """Ours, not the model's: never scored, tried again."""

    @property
    def final(self) -> bool:
        return self is not Verdict.INFRASTRUCTURE


@dataclass(frozen=True)
class Grade:
    verdict: Verdict
    detail: str = ""
    """Why, where the verdict alone does not say it."""
    seconds: float = 0.0
    """Wall time of the grading, container included."""
    test_seconds: float | None = None
    """Run time of the test script alone, by the official harness."""
    suspect: bool = False
    """The official harness suspects the environment behind an unresolved verdict: graded again before it counts."""

    @property
    def resolved(self) -> bool:
        return self.verdict is Verdict.RESOLVED


def read_verdict(log_dir: Path, report: Mapping[str, Any] | None) -> Grade:
    """The verdict behind what `run_instance` returned and logged.

    A report decides by its `resolved`, unless the container vanished under the tests. Without a report, the harness's
    own log tells a patch that does not apply and a test timeout (the model's) from everything else (ours).
    """
    log_file = log_dir / "run_instance.log"
    log = log_file.read_text(encoding="utf-8", errors="replace") if log_file.is_file() else ""
    runtime = _logged(r"Test runtime: ([\d_]+\.\d+) seconds", log)
    test_seconds = float(runtime[1].replace("_", "")) if runtime else None
    if report is not None:
        if report["resolved"]:
            return Grade(Verdict.RESOLVED, test_seconds=test_seconds)
        # a container removed under the tests gives a report like any other; what git said next gives it away
        if "tests_status" not in report and _logged(r"Git diff after:\n(cannot exec in a|OCI runtime exec)", log):
            return Grade(Verdict.INFRASTRUCTURE, "the container was gone before its tests ended")
        suspected = report.get("infra_failure_reason")
        detail = f"the official harness suspects: {suspected}" if suspected else ""
        return Grade(Verdict.UNRESOLVED, detail, test_seconds=test_seconds, suspect=bool(report.get("infra_failure")))
    if refused := _logged(r">>>>> Patch Apply Failed:\n((?s:.*))", log):
        trouble = MACHINE_TROUBLE.search(refused[1].split("Traceback")[0])
        return Grade(Verdict.INFRASTRUCTURE, trouble[0]) if trouble else Grade(Verdict.PATCH_FAILED)
    timed_out = re.search(
        r"^swebench\.harness\.utils\.EvaluationError: .*(Test timed out after \d+ seconds)", log, re.M
    )
    # where the image has no `kill`, the harness fails while ending the overdue test script
    if timed_out or re.search(r'^    container\.exec_run\(f"kill -TERM', log, re.M):
        return Grade(Verdict.TEST_TIMEOUT, timed_out[1] if timed_out else "", test_seconds=test_seconds)
    if re.search(r"^UnicodeDecodeError: ", log, re.M):  # a diff that is not UTF-8: the same at every try
        return Grade(Verdict.HARNESS_ERROR, _last_error(log), test_seconds=test_seconds)
    return Grade(Verdict.INFRASTRUCTURE, _last_error(log) or "the official harness gave no report and no log")


def _logged(pattern: str, log: str) -> re.Match[str] | None:
    """A message of the harness itself. The model's diff is in the log too, but never behind a time stamp."""
    return re.search(r"^\d{4}-\d\d-\d\d [\d:,]+ - INFO - " + pattern, log, re.M)


def _last_error(log: str) -> str:
    """The last line of a log that names an error, shortened."""
    errors = [line for line in log.splitlines() if re.search(r"\b\w*(Error|Exception)\b|Error ", line)]
    return errors[-1].strip()[:300] if errors else ""
