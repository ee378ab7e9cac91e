"""What the pipeline and an engine agree on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.store.store import Cell

if TYPE_CHECKING:
    from agents.attempt import AgentTask, Attempt
    from agents.budget import Budget, Call
    from agents.pool import ModelConfig
    from agents.runner import AgentConfig
    from harness.data.instances import Instance
    from harness.grading.verdict import Grade


class Work(Protocol):
    """The two stages of a cell. Both record what they did in the store and say whether the cell goes on."""

    def attempt(self, cell: Cell) -> bool:
        """Let the cell's model work on its instance; True when there is a patch to grade."""

    def grade(self, cell: Cell) -> None:
        """Grade the cell's patch."""


class Stop:
    """Asks a run to end: cells in flight are finished, no other is started."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""
        self.now = False
        """The process is about to end: nothing is started or tried again, not even a grading."""

    def request(self, reason: str) -> None:
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()


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
    ) -> Attempt: ...


class ImageKeeper(Protocol):
    """`harness.docker.images.Images`, or the nodes' own."""

    def ensure(self, image: str) -> None: ...
    def release(self, image: str) -> None: ...
    def engine_answers(self, patience: float) -> bool: ...


class Grades(Protocol):
    """`harness.grading.grader.Grader`, or one that has a node do it."""

    def grade(self, instance: Instance, model: str, patch: str, cell_dir: Path) -> Grade: ...


class Shop(Protocol):
    """Where a run's attempts and gradings happen: this machine, or the nodes of a cluster."""

    run_agent: RunAgent
    images: ImageKeeper
    grader: Grades
    budget: Budget
    lanes: int
    """Gradings in hand at the same time, those being set up or cleaned up included."""
    places: Sequence[Path]
    """Where the run and the engine write on this machine."""
