"""The two stages of a cell, as the run does them: the agent's attempt, and the official grading of its patch."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from agents.attempt import AgentTask, Attempt
from agents.budget import BudgetSpentError, Call
from agents.errors import AgentError, AgentFaultError, ProviderError
from agents.leaks import KINDS as LEAK_KINDS
from agents.leaks import Flag, scan_file
from agents.pool import ModelConfig
from agents.redaction import redact, secrets
from agents.review import review
from agents.runner import AgentConfig
from agents.scripted.playbook import address_of_attempt
from agents.signals import SIGNALS, extract
from harness.config import RunConfig
from harness.data.instances import Instance
from harness.docker.engine import CELL_LABEL, RUN_LABEL, cell_label, check_disk, check_starved
from harness.errors import EnvironmentUnavailableError, NodeLostError, PolysweError
from harness.files import make_folder, sync_files, write_atomic
from harness.grading.suspect import KINDS as SUSPECT_KINDS
from harness.grading.suspect import Suspicion, suspicions
from harness.grading.verdict import Grade, Verdict
from harness.run.engines.base import Backend
from harness.run.failures import ENGINE_KINDS, RETRIED_KINDS, attempt_kind
from harness.run.interrupt import Stop
from harness.run.leaks import hints_of
from harness.run.progress import SHOWN_WAIT, Progress
from harness.run.spending import Spending
from harness.store.rows import KILLED, Cell, State
from harness.store.run_folder import CARRIED_FILE, PATCH_FILE, TRAJECTORY_FILE, UNSUBMITTED_FILE, RunFolder, read_patch
from harness.store.store import Store

REFUSALS = frozenset({"quota", "installation"})
"""Kinds of provider failure that every further call of the model would meet."""
FINAL_IF_NEVER_ANSWERED = frozenset({"auth", "not-found"})
"""Kinds that are final only for a model that never answered in this run."""
DISK_FULL = "the disk is full"
"""Why a run stops."""
SIGNAL_COLUMNS = {
    "submitted": "exit_status",
    "calls": "api_calls",
    "cost_usd": "cost_usd",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "seconds": "agent_seconds",
}
"""Signals that are read off the store, and the columns that hold them."""
MAX_OUTAGES = 5
"""How often the engine may go down under one attempt or one grading."""


@dataclass(frozen=True)
class CellRunner:
    """Implements `harness.run.engines.base.CellStages` for the cells of one run."""

    instances: Mapping[str, Instance]
    models: Mapping[str, ModelConfig]
    agent: AgentConfig
    folder: RunFolder
    store: Store
    backend: Backend
    spending: Spending
    progress: Progress
    stop: Stop
    limits: RunConfig
    stand_ins: Collection[str] = ()
    """Models that are scripted stand-ins behind the run's own server."""
    carried: Mapping[Cell, str] = field(default_factory=dict)
    """Diffs of earlier attempts that cells start with."""
    answered: set[str] = field(default_factory=set)
    """Models that have answered a call in this run."""
    refused: dict[str, ProviderError] = field(default_factory=dict)
    """Models whose provider refuses every call: their other cells start no container to hear it again."""

    # ---- the agent's attempt ----

    def attempt(self, cell: Cell) -> bool:
        """Let the cell's model work on its instance; True when there is a patch to grade."""
        finished = False
        try:
            with self.spending.cell(cell.model) as charge:
                if reason := self._reason_not_to_start():
                    self.stop.request(reason)
                elif not self.stop.requested:  # it may have been while this cell waited for others to end
                    finished = self._attempt_until_finished(cell, charge)
        except BudgetSpentError as error:
            self.stop.request(str(error))
        finally:
            if not finished:
                self.backend.images.release(self.instances[cell.instance_id].image)
        return finished

    def _attempt_until_finished(self, cell: Cell, charge: Callable[[float], None]) -> bool:
        """Attempt the cell again after failures that may pass; True when there is a patch to grade."""
        tries = outages = 0
        while not self.stop.now:
            failure = self._attempt_once(cell, charge)
            if failure is None:
                return True
            if failure not in RETRIED_KINDS:
                return False
            if failure == "engine":  # no try of the cell's
                outages += 1
                if outages > MAX_OUTAGES:
                    return False
                time.sleep(2.0 ** (outages - 1))  # an engine that goes down still answers for a while
            else:
                tries += 1
                if tries >= self.limits.agent_attempts:
                    return False
            if not self._engine_is_back():
                return False
            self.progress.attempt_retried(cell)
        return False

    def _attempt_once(self, cell: Cell, charge: Callable[[float], None]) -> str | None:
        """One attempt, recorded; None when there is a patch to grade, else the kind of failure."""
        refusal = self.refused.get(cell.model)
        if refusal and self._is_final(refusal, cell.model):  # it may have answered another cell's call since
            return self._record_failure(cell, refusal, lost_cost=0.0, detail=f"not tried: {refusal}")
        self.store.agent_started(cell)
        self.progress.agent_started(cell)
        kept: list[Attempt] = []  # filled as soon as there is something to keep, before the container is removed
        try:
            self._run_agent(cell, kept, charge)
        except Exception as error:  # noqa: BLE001 - a fault in one cell must not end the others'
            if not kept and isinstance(error, AgentError) and error.attempt:
                kept.append(error.attempt)
            elif self._is_recorded(cell):
                self.progress.say(f"{cell}: {error} (after its patch was kept)")
                return None
            paid = error.paid if isinstance(error, NodeLostError) else 0.0
            return self._record_failure(cell, error, lost_cost=kept[0].cost_usd if kept else paid)
        finally:
            self.progress.agent_ended(cell, kept[0] if kept else None)
        return None

    def _run_agent(self, cell: Cell, kept: list[Attempt], charge: Callable[[float], None]) -> None:
        instance = self.instances[cell.instance_id]
        self.backend.images.ensure(instance.image)
        cell_dir = self.folder.cell_dir(cell)
        make_folder(cell_dir)
        carried = self.carried.get(cell, "")
        if carried:
            write_atomic(cell_dir / CARRIED_FILE, carried.encode("utf-8", "surrogatepass"))

        def keep(attempt: Attempt) -> None:
            if self.stop.now:  # its last commands may have been killed by ourselves: no work of the model's
                raise InterruptedError("the run is stopping now")
            kept.append(attempt)
            check_starved(self.backend.places, attempt.trajectory)
            self._record_attempt(cell, attempt)

        def record_call(call: Call) -> None:
            self.store.called(cell, call)
            charge(call.cost_usd)
            self.progress.paid(cell, call.cost_usd)
            if not call.failure:
                self.answered.add(cell.model)

        finished = self.backend.run_agent(
            AgentTask(
                instance_id=instance.instance_id,
                problem_statement=instance.problem_statement,
                image=instance.image,
                carried=carried,
            ),
            self._model(cell),
            self.agent,
            out_dir=cell_dir,
            labels={RUN_LABEL: self.folder.label, CELL_LABEL: cell_label(cell.instance_id, cell.model, cell.attempt)},
            on_attempt=keep,
            budget=self.backend.budget,
            on_call=record_call,
            rate=self.backend.rates.get(cell.model),
            on_wait=lambda seconds: self._wait(cell, seconds),
            trace=self._trace(cell),
        )
        if self.agent.reviewer is not None:
            self._review(cell, finished, charge)

    def _trace(self, cell: Cell) -> dict[str, Any] | None:
        """What callbacks are told of a call."""
        if not self.limits.callbacks:
            return None
        run = self.folder.path.name
        return {"run": run, "instance": cell.instance_id, "model": cell.model, "attempt": cell.attempt}

    def _wait(self, cell: Cell, seconds: float) -> None:
        """Show that the agent waits for its model's next turn."""
        self.progress.agent_waits(cell, seconds)
        if seconds >= SHOWN_WAIT:
            self.store.waits(cell, seconds)

    def _model(self, cell: Cell) -> ModelConfig:
        """The cell's model; a stand-in is told which attempt it is, as nothing else varies what it does."""
        model = self.models[cell.model]
        if cell.attempt == 1 or cell.model not in self.stand_ins:
            return model
        return model.model_copy(update={"api_base": address_of_attempt(str(model.api_base), cell.attempt)})

    def _record_attempt(self, cell: Cell, attempt: Attempt) -> None:
        """The paid patch is on disk before the store says so."""
        cell_dir = self.folder.cell_dir(cell)
        write_atomic(cell_dir / PATCH_FILE, attempt.patch)
        if attempt.unsubmitted_patch:
            write_atomic(cell_dir / UNSUBMITTED_FILE, attempt.unsubmitted_patch)
        self.store.agent_done(cell, attempt)

    def _review(self, cell: Cell, attempt: Attempt, charge: Callable[[float], None]) -> None:
        """Ask for a second model's opinion. Without an answer the signal is missing; the attempt stands."""
        assert self.agent.reviewer is not None

        def record_call(call: Call) -> None:
            self.store.called(cell, call)
            charge(call.cost_usd)
            self.progress.paid(cell, call.cost_usd)
            self.store.add_signals(cell, {}, call.cost_usd)  # paid from now on, whether or not its answer is read

        try:
            opinion = review(
                self.instances[cell.instance_id].problem_statement,
                attempt,
                self.models[self.agent.reviewer],
                self.agent.retry,
                budget=self.backend.budget,
                on_call=record_call,
                rate=self.backend.rates.get(self.agent.reviewer),
                trace=self._trace(cell),
            )
        except (ProviderError, BudgetSpentError) as error:
            self.progress.say(f"{cell}: no review, {error}")
            return
        self.store.add_signals(cell, opinion.signals)

    def _is_recorded(self, cell: Cell) -> bool:
        row = self.store.row(cell)
        return row is not None and row.state is State.AGENT_DONE

    def _record_failure(self, cell: Cell, error: Exception, *, lost_cost: float, detail: str = "") -> str:
        """Record a failure that was not the model's, and stop what would only fail again; returns its kind."""
        if isinstance(error, ProviderError) and self._is_final(error, cell.model):
            self.refused[cell.model] = error
        kind = attempt_kind(error)
        if self.stop.now:  # our own doing; the next start finds the agent at work and what its calls had cost
            return KILLED
        if kind == "container" and not self.backend.images.engine_answers(0):
            kind = "engine"
        if kind == "budget":
            self.stop.request(self._hard_limit_reached())
        if kind == "disk":
            self.stop.request(DISK_FULL)
        foreseen = isinstance(error, AgentError | PolysweError) and not isinstance(error, AgentFaultError)
        detail = detail or (str(error) if foreseen else self._write_traceback(cell, error))
        self.store.failed(cell, kind, detail, lost_cost)
        self.progress.attempt_failed(cell, kind=kind, detail=detail, lost_cost_usd=lost_cost)
        return kind

    def _is_final(self, error: ProviderError, model: str) -> bool:
        """Whether every further call of the model would meet the same error; a gateway's single 403 does not say so."""
        return error.kind in REFUSALS or (error.kind in FINAL_IF_NEVER_ANSWERED and model not in self.answered)

    # ---- the grading ----

    def grade(self, cell: Cell) -> None:
        """Look at the finished attempt, grade its patch and record the verdict."""
        try:
            if self.stop.now:
                return
            self._examine(cell)
            self.progress.grading_started(cell)
            try:
                grade = self._grade_until_final(cell)
            finally:
                self.progress.grading_ended(cell)
            if not self.stop.now:  # else we ended its container ourselves; the patch waits for the next start
                self._record_grade(cell, grade)
        finally:
            self.backend.images.release(self.instances[cell.instance_id].image)

    def _examine(self, cell: Cell) -> None:
        """Record what the attempt shows: its signals, and signs that it had help.

        This reads text that a model wrote, after the paid attempt is on record: should it fail or be killed, nothing is
        lost, and the next start looks again at what has no verdict yet.
        """
        try:
            attempt = attempt_on_record(self.folder, self.store, cell)
            leaks = scan_file(attempt.trajectory, hints_of(self.instances[cell.instance_id]))
            self.store.flagged(cell, leaks, LEAK_KINDS)
            self.store.add_signals(cell, extract(attempt, known_signals(self.store, cell)))
        except Exception as error:  # noqa: BLE001 - its patch is graded all the same
            detail = str(error) if isinstance(error, PolysweError) else self._write_traceback(cell, error)
            self.progress.say(f"{cell}: its trajectory was not looked at ({detail})")

    def _grade_until_final(self, cell: Cell) -> Grade:
        """Grade the patch again while the engine may have been the reason; else as `_grade_once`."""
        outages = 0
        while True:
            grade = self._grade_once(cell)
            if grade.failure not in ENGINE_KINDS or self.stop.now:
                return grade
            if outages >= (MAX_OUTAGES if grade.failure == "engine" else 1):
                return grade
            time.sleep(2.0**outages)  # an engine that goes down still answers for a while
            outages += 1
            if self.stop.now or not self._engine_is_back():
                return grade
            self.store.graded(cell, grade, grade.failure)  # on record, should the next try overcome it

    def _grade_once(self, cell: Cell) -> Grade:
        instance = self.instances[cell.instance_id]
        cell_dir = self.folder.cell_dir(cell)
        try:
            patch = read_patch(self.folder, cell)
            if patch:
                self.backend.images.ensure(instance.image)  # it may have been removed since the agent had it
            grade = self.backend.grader.grade(instance, cell.model, patch, cell_dir, attempt=cell.attempt)
            check_starved(self.backend.places, cell_dir / "test_output.txt")
        except Exception as error:  # noqa: BLE001 - a fault in one cell must not end the others'
            detail = str(error) if isinstance(error, PolysweError) else self._write_traceback(cell, error)
            kind = attempt_kind(error)
            return Grade(Verdict.INFRASTRUCTURE, detail, "grading: unknown" if kind == "internal" else kind)
        return grade

    def _record_grade(self, cell: Cell, grade: Grade) -> None:
        if grade.verdict.final:
            sync_files(self.folder.cell_dir(cell))  # report and test output are on disk before the store says so
            self._examine_passes(cell, grade)
            self.store.graded(cell, grade)
            self.progress.cell_graded(cell, grade)
            return
        self.store.graded(cell, grade, grade.failure)
        if grade.failure == "disk":
            self.stop.request(DISK_FULL)
        self.progress.grading_failed(cell, kind=grade.failure, detail=grade.detail)

    def _examine_passes(self, cell: Cell, grade: Grade) -> None:
        """Record signs that a resolved cell's passes are faked; the verdict stands."""
        output = self.folder.cell_dir(cell) / "test_output.txt"
        signs: list[Suspicion] = []
        if grade.resolved:
            log = output.read_text(encoding="utf-8", errors="replace") if output.is_file() else ""
            signs = suspicions(self.instances[cell.instance_id].row, read_patch(self.folder, cell), log)
        flags = [Flag(kind=sign.kind, step=0, command=sign.where) for sign in signs]
        self.store.flagged(cell, flags, SUSPECT_KINDS)

    # ---- what both stages need ----

    def _reason_not_to_start(self) -> str:
        """Why no further cell can be started; empty when one can."""
        if self.backend.budget.exhausted:
            return self._hard_limit_reached()
        for place in self.backend.places:
            try:
                check_disk(place, self.limits.least_disk_gb)
            except EnvironmentUnavailableError as error:
                return str(error)
        return ""

    def _hard_limit_reached(self) -> str:
        return f"the hard cost limit of ${self.backend.budget.limit:g} is reached"

    def _engine_is_back(self) -> bool:
        """Wait for an engine that went down; without it the run ends."""
        if self.backend.images.engine_answers(self.limits.engine_patience):
            return True
        self.stop.request("the Docker Engine is gone")
        return False

    def _write_traceback(self, cell: Cell, error: Exception) -> str:
        """One line about an unforeseen error, whose traceback is kept with the cell."""
        hidden = [secret for model in self.models.values() for secret in secrets(model)]
        log = self.folder.cell_dir(cell) / "error.log"
        with suppress(OSError):  # a full disk must not hide the error that it caused
            write_atomic(log, redact("".join(traceback.format_exception(error)), hidden))
        return redact(f"{type(error).__name__}: {error} (traceback: {log})", hidden)


def attempt_on_record(folder: RunFolder, store: Store, cell: Cell) -> Attempt:
    """A finished attempt, as the store and the cell's files tell it.

    Raises:
        InputError: its patch cannot be read.
    """
    row = store.row(cell)
    assert row is not None
    cell_dir = folder.cell_dir(cell)
    unsubmitted = cell_dir / UNSUBMITTED_FILE
    return Attempt(
        instance_id=cell.instance_id,
        model=cell.model,
        patch=read_patch(folder, cell),
        exit_status=row.exit_status or "",
        cost_usd=row.cost_usd or 0.0,
        api_calls=row.api_calls or 0,
        prompt_tokens=row.prompt_tokens or 0,
        completion_tokens=row.completion_tokens or 0,
        cached_tokens=row.cached_tokens or 0,
        failed_calls=row.failed_calls or 0,
        seconds=row.agent_seconds or 0.0,
        trajectory=cell_dir / TRAJECTORY_FILE,
        unsubmitted_patch=unsubmitted.read_text(encoding="utf-8", errors="replace") if row.unsubmitted else "",
        scripted=row.scripted,
    )


def known_signals(store: Store, cell: Cell) -> list[str]:
    """Names of the signals that can be told of an attempt: of one that was made elsewhere much may be unknown."""
    row = store.row(cell)
    return [name for name in SIGNALS if name not in SIGNAL_COLUMNS or getattr(row, SIGNAL_COLUMNS[name]) is not None]
