"""What a run needs of an engine, and what the engine is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agents.attempt import AgentTask, Attempt
from agents.budget import Budget, Call
from agents.pool import ModelConfig
from agents.rate_limit import RateLimit
from agents.runner import AgentConfig
from harness.config import Config, RunConfig
from harness.data.instances import Dataset, Instance
from harness.grading.settings import GradingContainer
from harness.grading.verdict import Grade
from harness.run.interrupt import Stop
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store


def grading_container(run: RunConfig) -> GradingContainer:
    """How the configuration wants the containers of gradings."""
    return GradingContainer(
        limits=run.grading_limits,
        network=run.grading_network,
        capabilities=run.grading_capabilities,
    )


class CellStages(Protocol):
    """The two stages of a cell. Both record what they did in the store and say whether the cell goes on."""

    def attempt(self, cell: Cell) -> bool:
        """Let the cell's model work on its instance; True when there is a patch to grade."""

    def grade(self, cell: Cell) -> None:
        """Grade the cell's patch."""


class RunAgent(Protocol):
    """`agents.runner.run_agent`, or one that has a node do it."""

    def __call__(
        self,
        task: AgentTask,
        model: ModelConfig,
        config: AgentConfig,
        *,
        out_dir: Path,
        labels: Mapping[str, str],
        on_attempt: Callable[[Attempt], None],
        budget: Budget,
        on_call: Callable[[Call], None],
        rate: RateLimit | None,
        on_wait: Callable[[float], None],
        trace: Mapping[str, Any] | None,
    ) -> Attempt: ...


class ImageCache(Protocol):
    """`harness.docker.images.Images`, or the images of a cluster's nodes."""

    def ensure(self, image: str) -> None: ...
    def release(self, image: str) -> None: ...
    def engine_answers(self, patience: float) -> bool: ...


class GraderLike(Protocol):
    """`harness.grading.grader.Grader`, or one that has a node do it."""

    def grade(self, instance: Instance, model: str, patch: str, cell_dir: Path, *, attempt: int = 1) -> Grade: ...


class Backend(Protocol):
    """Where a run's attempts and gradings happen: this machine, or the nodes of a cluster."""

    run_agent: RunAgent
    images: ImageCache
    grader: GraderLike
    budget: Budget
    rates: Mapping[str, RateLimit]
    """Model → its calls and tokens a minute, for those that have such limits."""
    gradings_in_flight: int
    """Gradings at the same time, those being set up or cleaned up included."""
    places: Sequence[Path]
    """Where the run and the engine write on this machine."""


@dataclass(frozen=True)
class RunContext:
    """What an engine needs to know of a run."""

    config: Config
    dataset: Dataset
    models: Sequence[ModelConfig]
    folder: RunFolder
    store: Store
    images: Sequence[str]
    """The image of every cell that is left, in the order in which the cells start."""
    stop: Stop
    say: Callable[[str], None]
    """Takes a line for the user."""
    spent: float
    """USD that the run has spent so far, tests included."""
    rates: Mapping[str, RateLimit]
    """Calls and tokens a minute of the models that have such limits, on this machine."""
    grades: bool = True
    """Whether patches are graded."""
