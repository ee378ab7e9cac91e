"""The two stages of a cell, as the run does them: the agent's attempt, and the official grading of its patch."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agents.attempt import AgentTask, Attempt
from agents.budget import BudgetSpentError, Call
from agents.errors import AgentError, AgentFaultError, ProviderError
from agents.leaks import scan_file
from agents.pool import ModelConfig, redact, secrets
from agents.review import review
from agents.runner import AgentConfig
from agents.signals import extract
from harness.config import RunConfig
from harness.data.instances import Instance
from harness.docker.engine import CELL_LABEL, NO_SPACE, RUN_LABEL, STARVED_GB, check_disk, disk_free_gb
from harness.errors import DiskFullError, EnvironmentUnavailableError, NodeLostError, PolysweError
from harness.files import make_folder, sync_files, write_atomic
from harness.grading.verdict import Grade, Verdict
from harness.run.engines.base import Backend
from harness.run.failures import ENGINE_KINDS, RETRIED_KINDS, attempt_kind, grading_kind
from harness.run.interrupt import Stop
from harness.run.leaks import hints_of
from harness.run.progress import Progress
from harness.store.run_folder import PATCH_FILE, UNSUBMITTED_FILE, RunFolder, read_patch
from harness.store.store import KILLED, Cell, State, Store

REFUSALS = frozenset({"quota", "installation"})
"""Kinds of provider failure that every further call of the model would meet."""
FINAL_IF_NEVER_ANSWERED = frozenset({"auth", "not-found"})
"""Kinds that are final only for a model that never answered in this run."""
DISK_FULL = "the disk is full"
MAX_OUTAGES = 5
"""How often the engine may go down under one cell."""


@dataclass(frozen=True)
class CellRunner:
    """Implements `harness.run.engines.base.CellStages` for the cells of one run."""

    instances: Mapping[str, Instance]
    models: Mapping[str, ModelConfig]
    agent: AgentConfig
    folder: RunFolder
    store: Store
    backend: Backend
    progress: Progress
    stop: Stop
    limits: RunConfig
    answered: set[str] = field(default_factory=set)
    """Models that have answered a call in this run."""
    refused: dict[str, ProviderError] = field(default_factory=dict)
    """Models whose provider said no for good: their other cells need not start a container to hear it again."""

    def attempt(self, cell: Cell) -> bool:
        if self.backend.budget.exhausted:
            self._stop_for_budget()
            return False
        if full := self._full_place():
            self.stop.request(full)
            return False
        done = False
        try:
            tries, outages = 0, 0
            while not self.stop.now:
                failure = self._attempt(cell)
                done = failure is None
                # an engine that goes down still answers for a while, so that a pause comes before each new look;
                # its absence is no try of the cell's
                outages += failure == "engine"
                tries += failure != "engine"
                if failure not in RETRIED_KINDS or tries >= self.limits.agent_attempts or outages > MAX_OUTAGES:
                    break
                if failure == "engine":
                    time.sleep(2.0 ** (outages - 1))
                if not self._engine_back():
                    break
                self.progress.say(f"{cell.instance_id} / {cell.model}: trying again")
            return done
        finally:
            if not done:
                self.backend.images.release(self.instances[cell.instance_id].image)

    def grade(self, cell: Cell) -> None:
        try:
            if self.stop.now:
                return
            self.progress.grading_started()
            try:
                grade, failure = self._graded(cell)
                outages = 0
                while failure in ENGINE_KINDS and not self.stop.now:
                    if outages >= (MAX_OUTAGES if failure == "engine" else 1):
                        break
                    time.sleep(2.0**outages)  # as above: an engine that goes down still answers for a while
                    outages += 1
                    if self.stop.now or not self._engine_back():
                        break
                    self.store.graded(cell, grade, failure)  # on record, should the next try overcome it
                    grade, failure = self._graded(cell)
            finally:
                self.progress.grading_ended()
            if self.stop.now:  # its container or process was ended by ourselves; the patch waits for the next start
                return
            if grade.verdict.final:
                sync_files(self.folder.cell_dir(cell))  # report and test output are on disk before the store says so
            self.store.graded(cell, grade, failure)
            if grade.verdict.final:
                self.progress.cell_done(resolved=grade.resolved)
                return
            if failure == "disk":
                self.stop.request(DISK_FULL)
            self.progress.cell_failed(
                f"{cell.instance_id} / {cell.model}: no verdict, the grading failed ({failure}: {grade.detail}); "
                "the patch is kept and graded at the next start"
            )
        finally:
            self.backend.images.release(self.instances[cell.instance_id].image)

    def _graded(self, cell: Cell) -> tuple[Grade, str]:
        """A grade, and the kind of failure where it has no verdict."""
        instance = self.instances[cell.instance_id]
        try:
            patch = read_patch(self.folder, cell)
            if patch:
                self.backend.images.ensure(instance.image)  # it may have been removed since the agent had it
            grade = self.backend.grader.grade(instance, cell.model, patch, self.folder.cell_dir(cell))
            self._check_starved(self.folder.cell_dir(cell) / "test_output.txt")
        except Exception as error:  # noqa: BLE001 - the one boundary: a fault in one cell must not end the others'
            expected = isinstance(error, PolysweError)
            detail = str(error) if expected else self._noted(cell, error)
            kind = attempt_kind(error)
            return Grade(Verdict.INFRASTRUCTURE, detail), "grading: unknown" if kind == "internal" else kind
        return grade, "" if grade.verdict.final else grading_kind(grade)

    def _attempt(self, cell: Cell) -> str | None:
        """One attempt, recorded; None when there is a patch to grade, else the kind of failure."""
        refusal = self.refused.get(cell.model)
        if refusal and self._final(refusal, cell.model):  # it may have answered another cell's call since
            return self._failed(cell, refusal, 0.0, f"not tried: {refusal}")
        self.store.agent_started(cell)
        self.progress.agent_started()
        attempts: list[Attempt] = []  # filled as soon as there is something to keep, before the container is removed
        try:
            self._run_agent(cell, attempts)
        except Exception as error:  # noqa: BLE001 - as above
            if not attempts and isinstance(error, AgentError) and error.attempt:
                attempts.append(error.attempt)
            elif self._kept(cell):
                self.progress.say(f"{cell.instance_id} / {cell.model}: {error} (after its patch was kept)")
                return None
            paid = error.paid if isinstance(error, NodeLostError) else 0.0
            return self._failed(cell, error, attempts[0].cost_usd if attempts else paid)
        finally:
            self.progress.agent_ended(attempts[0].cost_usd if attempts else 0.0)
        return None

    def _run_agent(self, cell: Cell, attempts: list[Attempt]) -> None:
        instance = self.instances[cell.instance_id]
        self.backend.images.ensure(instance.image)
        cell_dir = self.folder.cell_dir(cell)
        make_folder(cell_dir)

        def keep(attempt: Attempt) -> None:
            if self.stop.now:  # its last commands may have been killed by ourselves: no work of the model's
                raise InterruptedError("the run is stopping now")
            attempts.append(attempt)
            self._check_starved(attempt.trajectory)
            # the paid-for patch is on disk before the store says so
            write_atomic(cell_dir / PATCH_FILE, attempt.patch)
            if attempt.unsubmitted_patch:
                write_atomic(cell_dir / UNSUBMITTED_FILE, attempt.unsubmitted_patch)
            self.store.flagged(cell, scan_file(attempt.trajectory, hints_of(instance)))
            self.store.agent_done(cell, attempt, extract(attempt))

        def called(call: Call) -> None:
            self.store.called(cell, call)
            if not call.failure:
                self.answered.add(cell.model)

        finished = self.backend.run_agent(
            AgentTask(instance.instance_id, instance.problem_statement, instance.image),
            self.models[cell.model],
            self.agent,
            out_dir=cell_dir,
            labels={RUN_LABEL: self.folder.label, CELL_LABEL: f"{cell.instance_id}/{cell.model}"},
            on_attempt=keep,
            budget=self.backend.budget,
            on_call=called,
        )
        if self.agent.reviewer is not None:
            self._review(cell, finished, self.models[self.agent.reviewer])

    def _review(self, cell: Cell, attempt: Attempt, reviewer: ModelConfig) -> None:
        """Ask for a second model's opinion. Without an answer the signal is missing; the attempt stands."""

        def called(call: Call) -> None:
            self.store.called(cell, call)
            self.store.add_signals(cell, {}, call.cost_usd)  # paid from now on, whether or not its answer is read

        try:
            issue = self.instances[cell.instance_id].problem_statement
            told = review(issue, attempt, reviewer, self.agent.retry, budget=self.backend.budget, on_call=called)
        except (ProviderError, BudgetSpentError) as error:
            self.progress.say(f"{cell.instance_id} / {cell.model}: no review, {error}")
            return
        self.store.add_signals(cell, told.signals)

    def _kept(self, cell: Cell) -> bool:
        return any(row.cell == cell and row.state is State.AGENT_DONE for row in self.store.rows())

    def _failed(self, cell: Cell, error: Exception, lost_cost: float, detail: str = "") -> str:
        """Record a failure that was not the model's, and stop what would only fail again; returns its kind."""
        if isinstance(error, ProviderError) and self._final(error, cell.model):
            self.refused[cell.model] = error
        kind = attempt_kind(error)
        if self.stop.now:  # our own doing; the next start finds the agent at work and what its calls had cost
            return KILLED
        if kind == "container" and not self.backend.images.engine_answers(0):
            kind = "engine"
        if kind == "budget":
            self._stop_for_budget()
        if kind == "disk":
            self.stop.request(DISK_FULL)
        expected = isinstance(error, AgentError | PolysweError) and not isinstance(error, AgentFaultError)
        detail = detail or (str(error) if expected else self._noted(cell, error))
        self.store.failed(cell, kind, detail, lost_cost)
        self.progress.cell_failed(f"{cell.instance_id} / {cell.model}: {detail}")
        return kind

    def _stop_for_budget(self) -> None:
        self.stop.request(f"the cost limit of ${self.backend.budget.limit:g} is reached")

    def _engine_back(self) -> bool:
        """Wait for an engine that went down; without it the run ends."""
        if self.backend.images.engine_answers(self.limits.engine_patience):
            return True
        self.stop.request("the Docker Engine is gone")
        return False

    def _check_starved(self, record: Path) -> None:
        """Commands that met a disk that is full say nothing of the model, though they look like its failures.

        Raises:
            DiskFullError: they did.
        """
        full = [place for place in self.backend.places if disk_free_gb(place) < STARVED_GB]
        if full and record.is_file() and NO_SPACE in record.read_text(encoding="utf-8", errors="replace"):
            raise DiskFullError(f"the disk at {full[0]} is full, and {record.name} shows that commands failed for it")

    def _full_place(self) -> str:
        """Why no further cell can be kept safely; empty when there is space."""
        for place in self.backend.places:
            try:
                check_disk(place, self.limits.least_disk_gb)
            except EnvironmentUnavailableError as fault:
                return str(fault)
        return ""

    def _final(self, error: ProviderError, model: str) -> bool:
        """Whether every further call of the model would meet the same error; a gateway's single 403 does not say so."""
        return error.kind in REFUSALS or (error.kind in FINAL_IF_NEVER_ANSWERED and model not in self.answered)

    def _noted(self, cell: Cell, error: Exception) -> str:
        """One line about an unforeseen error, whose traceback is kept with the cell."""
        hidden = [secret for model in self.models.values() for secret in secrets(model)]
        log = self.folder.cell_dir(cell) / "error.log"
        with suppress(OSError):  # a full disk must not hide the error that it caused
            write_atomic(log, redact("".join(traceback.format_exception(error)), hidden))
        return redact(f"{type(error).__name__}: {error} (traceback: {log})", hidden)
