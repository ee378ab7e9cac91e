"""A run at work in its locked folder: what its stages share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agents.attempt import paid_in
from agents.pool import ModelConfig
from agents.rate_limit import TokenBucket, rate_limits
from harness.config import Config
from harness.data.instances import Dataset, Instance
from harness.docker.images import GB_PER_IMAGE
from harness.run.cell_queue import StartLimits
from harness.run.cells import CellRunner
from harness.run.engines.base import Backend, RunContext
from harness.run.interrupt import Stop
from harness.run.journal import Journal
from harness.run.preflight import is_stand_in
from harness.run.progress import Progress
from harness.run.spending import Spending, spent_by
from harness.store.rows import Cell, State
from harness.store.run_folder import TRAJECTORY_FILE, RunFolder
from harness.store.store import Store


@dataclass(frozen=True)
class OpenRun:
    """A run at work in its locked folder."""

    config: Config
    dataset: Dataset
    folder: RunFolder
    store: Store
    stop: Stop
    journal: Journal
    whole: RunFolder
    """The run whose money is spent: this one, or the one that has tests written in this one."""
    rates: dict[str, TokenBucket] = field(default_factory=dict)
    """Calls and tokens a minute of the models used so far that have such limits; they last from round to round."""

    @property
    def instances(self) -> dict[str, Instance]:
        return {instance.instance_id: instance for instance in self.dataset.instances}

    def recover(self) -> None:
        """Take up what a killed start left: agents at work, and patches that only the trajectory holds."""
        for row in self.store.rows():
            if row.state is State.RUNNING:  # what it had paid must not be forgotten
                self.store.killed(row.cell, paid_in(self.folder.cell_dir(row.cell) / TRAJECTORY_FILE))
            elif row.state is State.AGENT_DONE and not self.folder.restore_patch(row.cell):
                self.store.lost(row.cell)

    def context(
        self, models: Sequence[ModelConfig], images: Sequence[str], say: Callable[[str], None], *, grades: bool = True
    ) -> RunContext:
        """What an engine needs to know; `models` are those that are called, `images` those of the cells left."""
        for name, bucket in rate_limits(models).items():
            self.rates.setdefault(name, bucket)
        return RunContext(
            config=self.config,
            dataset=self.dataset,
            models=models,
            folder=self.folder,
            store=self.store,
            images=images,
            stop=self.stop,
            say=say,
            spent=spent_by(self.whole),
            rates=self.rates,
            grades=grades,
        )

    def runner(
        self,
        models: Sequence[ModelConfig],
        backend: Backend,
        progress: Progress,
        carried: Mapping[Cell, str] | None = None,
    ) -> CellRunner:
        """What runs the stages of its cells; `carried` holds the diffs that some of them start with."""
        return CellRunner(
            instances=self.instances,
            models={model.name: model for model in models},
            agent=self.config.agent,
            folder=self.folder,
            store=self.store,
            backend=backend,
            spending=Spending(self.config, self.store, spent_by(self.whole)),
            progress=progress,
            stop=self.stop,
            limits=self.config.run,
            stand_ins={model.name for model in self.config.pool if is_stand_in(model)},
            carried=carried or {},
        )

    def start_limits(self, backend: Backend) -> StartLimits:
        """What keeps cells waiting: each model's own limits, and the disk, which holds the images under way."""
        run = self.config.run
        return StartLimits(
            max_parallel={model.name: model.max_parallel for model in self.config.pool if model.max_parallel},
            rates=backend.rates,
            reach=None if run.images_gb is None else max(run.agent_workers, int(run.images_gb / GB_PER_IMAGE)),
        )
