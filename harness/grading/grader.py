"""Verdicts, by the official harness only: `swebench.harness.run_evaluation.run_instance` on one prediction.

The path of a patch: `Grader.grade` starts a process for it, `worker.grade` calls `run_instance` there with a docker
client that adds settings to the container (`container`), `Observer` watches, and `judge` reads the verdict.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_result, wait_exponential

from agents.container.host import DockerHost
from harness.data.instances import Instance
from harness.docker.engine import CELL_LABEL, RUN_LABEL, cell_label, endpoint
from harness.files import slug
from harness.grading.disk import GradingDisk
from harness.grading.processes import HarnessProcess
from harness.grading.settings import Bounds, GradingContainer
from harness.grading.verdict import Grade, Verdict

KEPT_FILES = ("report.json", "test_output.txt", "run_instance.log", "eval.sh")
"""Files of the official log folder that are kept in the cell's folder."""

PREPARED_AHEAD = 4
"""How many gradings at most are set up or cleaned up while others' tests run."""


class Grader:
    """Grades with at most `workers` instances' tests at the same time; safe to call from many threads.

    While these run, the containers of up to PREPARED_AHEAD others are set up or cleaned up: call from
    `gradings_in_flight` threads.
    """

    def __init__(
        self,
        run_label: str,
        scratch: Path,
        *,
        workers: int,
        timeout: int = 1800,
        attempts: int = 3,
        container: GradingContainer | None = None,
        bounds: Bounds | None = None,
        give_up: Callable[[], bool] = lambda: False,
        host: DockerHost | None = None,
    ) -> None:
        """
        Args:
            run_label: marks the containers of this run.
            scratch: folder in which the official harness writes; removed at the end.
            workers: instances whose tests run at the same time.
            timeout: seconds an instance's tests may take.
            attempts: tries of a grading that failed for infrastructure reasons.
            container: how the containers are created.
            bounds: what a patch may take of a grading beyond `timeout`.
            give_up: called before another try.
            host: the engine as agents use it, whose disk watch then sees the containers of both.
        """
        self.run_label = run_label
        self.scratch = scratch
        self.timeout = timeout
        self.attempts = attempts
        self.container = container or GradingContainer()
        self.bounds = bounds or Bounds()
        self.give_up = give_up
        self.gradings_in_flight = workers + PREPARED_AHEAD
        self._host = host or DockerHost(address=endpoint().address)
        self._tests = threading.BoundedSemaphore(workers)
        self._starting = threading.Lock()
        self._harness: HarnessProcess | None = None

    def warm_up(self) -> HarnessProcess:
        """Begin to import the official harness before there is a patch to grade."""
        with self._starting:
            if self._harness is None or not self._harness.alive:
                self._harness = HarnessProcess(self.scratch)
            return self._harness

    def grade(self, instance: Instance, model: str, patch: str, cell_dir: Path, *, attempt: int = 1) -> Grade:
        """The official verdict on a patch; report, test output and logs are kept in `cell_dir`.

        `attempt` keeps gradings of a model's repeated attempts apart, which may hand in the same patch.
        """
        if not patch:  # the official command line does not run these either
            return Grade(Verdict.EMPTY_PATCH)
        tries = Retrying(
            retry=retry_if_result(lambda grade: not grade.verdict.final),
            stop=lambda state: state.attempt_number >= self.attempts or self.give_up(),
            wait=wait_exponential(multiplier=0.5, max=30),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        grade: Grade = tries(self._grade_once, instance, model, patch, cell_dir, attempt)
        return grade

    def _grade_once(self, instance: Instance, model: str, patch: str, cell_dir: Path, attempt: int) -> Grade:
        harness = self.warm_up()
        with harness.fork() as process, GradingDisk(self._host, instance.image, self.container.limits) as disk:
            try:
                answer = process.run(
                    self._job(instance, model, patch, attempt),
                    disk=disk,
                    on_ready=self._tests.acquire,
                    on_tested=self._tests.release,
                    reading_seconds=self.bounds.reading_seconds,
                )
            except TimeoutError:  # the run's sweep removes the container
                seconds = self.bounds.reading_seconds
                detail = f"the official harness did not finish reading the test output within {seconds:g} seconds"
                return Grade(Verdict.HARNESS_ERROR, detail)
        if answer is None:
            detail = f"the grading process died ({harness.last_log_line()})"
            return Grade(Verdict.INFRASTRUCTURE, detail, "grading: process")
        _keep(self.scratch / answer["log_dir"], cell_dir)
        return Grade(**{**answer["grade"], "verdict": Verdict(answer["grade"]["verdict"])})

    def _job(self, instance: Instance, model: str, patch: str, attempt: int) -> dict[str, Any]:
        """What `harness.grading.worker.grade` takes."""
        model_slug = slug(model)
        # the patch's hash binds the verdict to the patch: the harness takes any report.json it finds for this run id
        digest = hashlib.sha256(patch.encode(errors="surrogatepass")).hexdigest()[:12]
        repeat = f".{attempt}" if attempt > 1 else ""
        return {
            "row": dict(instance.row),
            "model": model_slug,
            "patch": patch,
            "run_id": f"{self.run_label}.{model_slug}.{digest}{repeat}",
            "timeout": self.timeout,
            "bounds": asdict(self.bounds),
            "settings": {
                **self.container.arguments(),
                "labels": {RUN_LABEL: self.run_label, CELL_LABEL: cell_label(instance.instance_id, model, attempt)},
            },
        }

    def close(self) -> None:
        """End the grading processes and remove what they wrote; what is kept is in the cells' folders."""
        if self._harness is not None:
            self._harness.close()
            shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> Grader:
        self.warm_up()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _keep(log_dir: Path, cell_dir: Path) -> None:
    cell_dir.mkdir(parents=True, exist_ok=True)
    for name in KEPT_FILES:
        if (log_dir / name).is_file():
            shutil.move(log_dir / name, cell_dir / name)
        else:
            (cell_dir / name).unlink(missing_ok=True)  # of an earlier try: would be taken for this one's
    shutil.rmtree(log_dir, ignore_errors=True)
