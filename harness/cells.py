"""The two stages of a cell, as the run does them: the agent's attempt, and the official grading of its patch."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from agents.attempt import AgentTask, Attempt
from agents.errors import AgentError, AgentFaultError, ContainerError, PoolError, ProviderError
from agents.pool import ModelConfig, redact, secrets
from agents.review import review
from agents.runner import AgentConfig, run_agent
from agents.signals import extract
from harness.docker_engine import CELL_LABEL, RUN_LABEL, Images
from harness.engines.base import Stop
from harness.errors import EngineUnavailableError, ImageUnavailableError, PolysweError
from harness.files import write_atomic
from harness.grading import Grade, Grader, Verdict
from harness.instances import Instance
from harness.progress import Progress
from harness.run_folder import RunFolder
from harness.store import Cell, State, Store

PATCH_FILE = "patch.diff"
REFUSALS = frozenset({"quota", "installation"})
"""Kinds of provider failure that every further call of the model would meet."""
UNLESS_ANSWERED = frozenset({"auth", "not-found"})
"""Kinds that are final only for a model that never answered in this run."""
UNSUBMITTED_FILE = "unsubmitted.diff"
"""Work an agent left in its container without submitting it: kept to look at, never graded."""


@dataclass(frozen=True)
class CellWork:
    """Implements `harness.engines.base.Work` for the cells of one run."""

    instances: Mapping[str, Instance]
    models: Mapping[str, ModelConfig]
    agent: AgentConfig
    folder: RunFolder
    store: Store
    images: Images
    grader: Grader
    progress: Progress
    stop: Stop
    max_cost: float | None = None
    answered: set[str] = field(default_factory=set)
    """Models with a finished attempt in this run."""
    refused: dict[str, ProviderError] = field(default_factory=dict)
    """Models whose provider said no for good: their other cells need not start a container to hear it again."""

    def attempt(self, cell: Cell) -> bool:
        if self.max_cost is not None and self.store.spent() >= self.max_cost:
            self.stop.request(f"the cost limit of ${self.max_cost:g} is reached")
            return False
        if self.stop.now:
            return False
        if refusal := self.refused.get(cell.model):
            self.store.failed(cell, failure_kind(refusal), f"not tried: {refusal}")
            return False
        self.store.agent_started(cell)
        self.progress.agent_started()
        attempts: list[Attempt] = []  # filled as soon as there is something to keep, before the container is removed
        try:
            self._attempt(cell, attempts)
        except Exception as error:  # noqa: BLE001 - the one boundary: a fault in one cell must not end the others'
            if not attempts and isinstance(error, AgentError) and error.attempt:
                attempts.append(error.attempt)
            elif self._kept(cell):
                self.progress.say(f"{cell.instance_id} / {cell.model}: {error} (after its patch was kept)")
                return True
            self._failed(cell, error, attempts[0].cost_usd if attempts else 0.0)
            return False
        finally:
            self.progress.agent_ended(attempts[0].cost_usd if attempts else 0.0)
        self.answered.add(cell.model)
        return True

    def grade(self, cell: Cell) -> None:
        if self.stop.now:
            return
        self.progress.grading_started()
        try:
            patch = read_patch(self.folder, cell)
            grade = self.grader.grade(self.instances[cell.instance_id], cell.model, patch, self.folder.cell_dir(cell))
        except Exception as error:  # noqa: BLE001 - as above
            grade = Grade(Verdict.INFRASTRUCTURE, self._noted(cell, error))
        finally:
            self.progress.grading_ended()
        self.store.graded(cell, grade)
        if grade.verdict.final:
            self.progress.cell_done(resolved=grade.resolved)
        else:
            self.progress.cell_failed(
                f"{cell.instance_id} / {cell.model}: no verdict, the grading failed ({grade.detail}); "
                "the patch is kept and graded at the next start"
            )

    def _attempt(self, cell: Cell, attempts: list[Attempt]) -> None:
        instance = self.instances[cell.instance_id]
        self.images.ensure(instance.image)
        cell_dir = self.folder.cell_dir(cell)

        def keep(attempt: Attempt) -> None:
            attempts.append(attempt)
            # the paid-for patch is on disk before the store says so
            write_atomic(cell_dir / PATCH_FILE, attempt.patch)
            if attempt.unsubmitted_patch:
                write_atomic(cell_dir / UNSUBMITTED_FILE, attempt.unsubmitted_patch)
            self.store.agent_done(cell, attempt, extract(attempt))

        finished = run_agent(
            AgentTask(instance.instance_id, instance.problem_statement, instance.image),
            self.models[cell.model],
            self.agent,
            out_dir=cell_dir,
            labels={RUN_LABEL: self.folder.label, CELL_LABEL: f"{cell.instance_id}/{cell.model}"},
            on_attempt=keep,
        )
        if self.agent.reviewer is not None:
            self._review(cell, finished, self.models[self.agent.reviewer])

    def _review(self, cell: Cell, attempt: Attempt, reviewer: ModelConfig) -> None:
        """Ask for a second model's opinion. Without an answer the signal is missing; the attempt stands."""
        try:
            told = review(self.instances[cell.instance_id].problem_statement, attempt, reviewer, self.agent.retry)
        except ProviderError as error:
            self.progress.say(f"{cell.instance_id} / {cell.model}: no review, {error}")
            return
        self.store.add_signals(cell, told.signals, told.cost_usd)

    def _kept(self, cell: Cell) -> bool:
        return any(row.cell == cell and row.state is State.AGENT_DONE for row in self.store.rows())

    def _failed(self, cell: Cell, error: Exception, lost_cost: float) -> None:
        """Record a failure that was not the model's, and stop what would only fail again."""
        if isinstance(error, ProviderError) and self._final(error, cell.model):
            self.refused[cell.model] = error
        if isinstance(error, EngineUnavailableError):
            self.stop.request("the Docker Engine is gone")
        expected = isinstance(error, AgentError | PolysweError) and not isinstance(error, AgentFaultError)
        detail = str(error) if expected else self._noted(cell, error)
        self.store.failed(cell, failure_kind(error), detail, lost_cost)
        self.progress.cell_failed(f"{cell.instance_id} / {cell.model}: {detail}")

    def _final(self, error: ProviderError, model: str) -> bool:
        """Whether every further call of the model would meet the same error; a gateway's single 403 does not say so."""
        return error.kind in REFUSALS or (error.kind in UNLESS_ANSWERED and model not in self.answered)

    def _noted(self, cell: Cell, error: Exception) -> str:
        """One line about an unforeseen error, whose traceback is kept with the cell."""
        hidden = [secret for model in self.models.values() for secret in secrets(model)]
        log = self.folder.cell_dir(cell) / "error.log"
        with suppress(OSError):  # a full disk must not hide the error that it caused
            write_atomic(log, redact("".join(traceback.format_exception(error)), hidden))
        return redact(f"{type(error).__name__}: {error} (traceback: {log})", hidden)


def read_patch(folder: RunFolder, cell: Cell) -> str:
    """The patch of a finished attempt, byte for byte (line ends matter to `git apply`)."""
    return (folder.cell_dir(cell) / PATCH_FILE).read_bytes().decode("utf-8")


def failure_kind(error: Exception) -> str:
    """Short kind of a failure that was not the model's, for the store and the failure table."""
    match error:
        case ProviderError():
            return f"provider: {error.kind}"
        case ImageUnavailableError():
            return "image"
        case ContainerError() | EngineUnavailableError():
            return "container"
        case PoolError():
            return "pool"
        case _:
            return "internal"
