"""What a run of `polyswe grade` will do, take and need, before anything is started: `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config import Config
from harness.data.instances import Dataset
from harness.run.disk import disk_needed, shortage_here
from harness.run.forecast import ASSUMED_TEST_SECONDS, GRADING_OVERHEAD_SECONDS, in_hours
from harness.run.predictions import Predictions
from harness.store.rows import State
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from harness.text import counted, line


@dataclass(frozen=True)
class ModelGradings:
    """One model's predictions, by what is left to do."""

    model: str
    predictions: int
    empty: int
    graded: int
    """Verdicts that stand."""

    @property
    def left(self) -> int:
        return self.predictions - self.graded


@dataclass(frozen=True)
class GradingForecast:
    """What is left of a run that grades predictions."""

    dataset: str
    models: Sequence[ModelGradings]
    hours: float
    """Wall clock with the configured workers."""
    images: int
    images_missing: int | None
    """None when no engine answers."""
    disk_gb: float
    disk_basis: str
    disk_shortage: str
    """What is missing on the engine's disk and what to do about it; empty when there is enough, or nobody knows."""
    notes: Sequence[str] = ()


def forecast_gradings(
    config: Config, predictions: Predictions, dataset: Dataset, folder: RunFolder, notes: Sequence[str] = ()
) -> GradingForecast:
    """Look ahead without starting or writing anything.

    Raises:
        InputError: the run's store cannot be read.
    """
    cells = predictions.plan(config, dataset)
    keys = {}
    if folder.store_path.is_file():
        with Store(folder.store_path, read_only=True) as store:
            keys = {row.cell: row.key for row in store.rows() if row.state is State.GRADED}
    done = {cell for cell in cells if keys.get(cell) == cells[cell]}
    empty = {cell for cell in cells if not predictions.by_cell[cell][1].patch.strip()}
    to_test = cells.keys() - done - empty
    tested = {cell.instance_id for cell in to_test}
    images = sorted({instance.image for instance in dataset.instances if instance.instance_id in tested})
    disk, missing, basis = disk_needed(images, local=dataset.scripted)
    seconds = len(to_test) * (ASSUMED_TEST_SECONDS + GRADING_OVERHEAD_SECONDS) / config.run.grading_workers
    return GradingForecast(
        dataset=dataset.title,
        models=[
            ModelGradings(
                model=model.name,
                predictions=sum(cell.model == model.name for cell in cells),
                empty=sum(cell.model == model.name for cell in empty),
                graded=sum(cell.model == model.name for cell in done),
            )
            for model in config.pool
        ],
        hours=seconds / 3600,
        images=len(images),
        images_missing=missing,
        disk_gb=disk if config.run.images_gb is None else min(disk, config.run.images_gb),
        disk_basis=basis,
        disk_shortage=shortage_here(config, disk),
        notes=notes,
    )


def render(forecast: GradingForecast, folder: Path) -> str:
    """The forecast for a terminal."""
    width = max(len(line(model.model)) for model in forecast.models)
    missing = "no engine answers" if forecast.images_missing is None else f"{forecast.images_missing} missing"
    return "\n".join(
        [
            f"{forecast.dataset}; run folder {folder}",
            "",
            f"{'':<{width}}  predictions  empty  graded  to grade",
            *(
                f"{line(model.model):<{width}}  {model.predictions:>11}  {model.empty:>5}  {model.graded:>6}  "
                f"{model.left:>8}"
                for model in forecast.models
            ),
            "",
            f"expected time   {in_hours(forecast.hours)} ({ASSUMED_TEST_SECONDS:.0f} s of tests assumed for a patch)",
            f"disk            {forecast.disk_gb:.1f} GB more ({counted(forecast.images, 'image')}, {missing}; "
            f"{forecast.disk_basis})",
            *([f"MISSING         disk: {forecast.disk_shortage}"] if forecast.disk_shortage else []),
            *(f"note            {note}" for note in forecast.notes),
            "",
            "nothing was started or written",
        ]
    )
