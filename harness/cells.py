"""The two stages of a cell, as the run does them: the agent's attempt, and the official grading of its patch."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.attempt import AgentTask
from agents.errors import AgentError, ContainerError, ProviderError
from agents.pool import ModelConfig
from agents.runner import AgentConfig, run_agent
from harness.docker_engine import CELL_LABEL, RUN_LABEL, Images
from harness.engines.base import Stop
from harness.errors import ImageUnavailableError
from harness.files import write_atomic
from harness.grading import Grade, Grader, Verdict
from harness.instances import Instance
from harness.progress import Progress
from harness.run_folder import RunFolder
from harness.store import Cell, Store

PATCH_FILE = "patch.diff"
REFUSALS = frozenset({"auth", "quota", "not-found", "installation"})
"""Kinds of provider failure that every further call of the model would meet."""
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
    refused: dict[str, ProviderError] = field(default_factory=dict)
    """Models whose provider said no for good: their other cells need not start a container to hear it again."""

    def attempt(self, cell: Cell) -> bool:
        if self.max_cost is not None and self.store.spent() >= self.max_cost:
            self.stop.request(f"the cost limit of ${self.max_cost:g} is reached")
            return False
        if refusal := self.refused.get(cell.model):
            self.store.failed(cell, failure_kind(refusal), f"not tried: {refusal}")
            return False
        self.store.agent_started(cell)
        self.progress.agent_started()
        cost = 0.0
        try:
            cost = self._attempt(cell)
        except (AgentError, ImageUnavailableError) as error:
            paid = error.attempt if isinstance(error, AgentError) else None
            cost = paid.cost_usd if paid else 0.0
            if isinstance(error, ProviderError) and error.kind in REFUSALS:
                self.refused[cell.model] = error
            self._failed(cell, failure_kind(error), str(error), cost)
            return False
        except Exception as error:  # noqa: BLE001 - the one boundary: a fault in one cell must not end the others'
            self._failed(cell, "internal", self._noted(cell, error))
            return False
        finally:
            self.progress.agent_ended(cost)
        return True

    def grade(self, cell: Cell) -> None:
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

    def _attempt(self, cell: Cell) -> float:
        instance = self.instances[cell.instance_id]
        self.images.ensure(instance.image)
        cell_dir = self.folder.cell_dir(cell)
        attempt = run_agent(
            AgentTask(instance.instance_id, instance.problem_statement, instance.image),
            self.models[cell.model],
            self.agent,
            out_dir=cell_dir,
            labels={RUN_LABEL: self.folder.label, CELL_LABEL: f"{cell.instance_id}/{cell.model}"},
        )
        # the paid-for patch is on disk before the store says so
        write_atomic(cell_dir / PATCH_FILE, attempt.patch)
        if attempt.unsubmitted_patch:
            write_atomic(cell_dir / UNSUBMITTED_FILE, attempt.unsubmitted_patch)
        self.store.agent_done(cell, attempt)
        return attempt.cost_usd

    def _failed(self, cell: Cell, failure: str, detail: str, lost_cost: float = 0.0) -> None:
        self.store.failed(cell, failure, detail, lost_cost)
        self.progress.cell_failed(f"{cell.instance_id} / {cell.model}: {detail}")

    def _noted(self, cell: Cell, error: Exception) -> str:
        """One line about an unforeseen error, whose traceback is kept with the cell."""
        log = self.folder.cell_dir(cell) / "error.log"
        write_atomic(log, "".join(traceback.format_exception(error)))
        return f"{type(error).__name__}: {error} (traceback: {log})"


def read_patch(folder: RunFolder, cell: Cell) -> str:
    """The patch of a finished attempt, byte for byte (line ends matter to `git apply`)."""
    return (folder.cell_dir(cell) / PATCH_FILE).read_bytes().decode("utf-8")


def failure_kind(error: AgentError | ImageUnavailableError) -> str:
    """Short kind of a failure that was not the model's, for the store and the failure table."""
    if isinstance(error, ProviderError):
        return f"provider: {error.kind}"
    if isinstance(error, ImageUnavailableError):
        return "image"
    return "container" if isinstance(error, ContainerError) else "pool"
