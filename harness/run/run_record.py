"""What is on record of a run: its configuration, its cells, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from agents.leaks import Flag
from agents.pool import RECORD
from harness.config import Config, explain
from harness.data.instances import Dataset, load_dataset
from harness.errors import InputError
from harness.evaluation.formats import money_kind
from harness.evaluation.schema import Failure
from harness.run.evidence_record import evidence_notes
from harness.run.failure_table import failure_table
from harness.run.plan import plan
from harness.run.predictions import prediction_notes
from harness.run.preflight import is_stand_in
from harness.run.redo import redo_notes
from harness.store.rows import Cell, CellRow, EvidenceRow, FailureRow, Replaced, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from harness.text import counted_part


@dataclass(frozen=True)
class RunRecord:
    """What is on record of a run: its configuration, its cells, and what went wrong."""

    config: Config
    dataset: Dataset
    folder: RunFolder
    rows: Sequence[CellRow]
    failure_events: Sequence[FailureRow]
    """Everything that went wrong in these cells, also what was overcome."""
    flags: Mapping[Cell, Sequence[Flag]]
    """Signs of help in these cells' attempts."""
    replaced: Sequence[Replaced] = ()
    """Earlier attempts of these cells."""
    evidence: Mapping[str, EvidenceRow] = field(default_factory=dict)
    """By instance: what tests say of its attempts."""

    @classmethod
    def read(cls, config: Config, dataset: Dataset, folder: RunFolder, rows: Sequence[CellRow]) -> RunRecord:
        """Add what the folder's store says of the cells of `rows`."""
        cells = {row.cell for row in rows}
        with Store(folder.store_path, read_only=True) as store:
            failure_events = [event for event in store.failures() if event.cell in cells]
            flags = {cell: flags for cell, flags in store.flags().items() if cell in cells}
            replaced = [earlier for earlier in store.replaced() if earlier.cell in cells]
            evidence = store.evidence()
        return cls(
            config=config,
            dataset=dataset,
            folder=folder,
            rows=rows,
            failure_events=failure_events,
            flags=flags,
            replaced=replaced,
            evidence=evidence,
        )

    @property
    def issues(self) -> list[str]:
        return [instance.problem_statement for instance in self.dataset.instances]

    @property
    def failures(self) -> list[Failure]:
        return failure_table(self.rows, self.failure_events)

    @property
    def stand_ins(self) -> list[str]:
        """Models of the pool that play a script; real ones may be tried on the sample beside them."""
        return [model.name for model in self.config.pool if model.scripted or is_stand_in(model)]

    @property
    def scripted(self) -> bool:
        """Whether no real model is in the pool."""
        return len(self.stand_ins) == len(self.config.pool)

    @property
    def notes(self) -> list[str]:
        notes = [*_ending_notes(self.rows), *prediction_notes(self.config), *redo_notes(self.replaced)]
        if self.config.evidence is not None:
            kind = money_kind(scripted=self.scripted, simulated=False)
            notes += evidence_notes(self.evidence, self.rows, kind)
        if self.stand_ins and not self.scripted:
            notes.append(f"scripted stand-ins, no language models: {', '.join(self.stand_ins)}")
        return notes


def read_record(path: Path, part: Callable[[Config], Config] | None = None) -> RunRecord:
    """What a run's folder holds now.

    Args:
        path: the run's folder.
        part: narrows the run's configuration.

    Raises:
        InputError: no run there, or none of its cells has a verdict yet.
    """
    folder = RunFolder(path)
    try:
        config = Config.model_validate(folder.read_manifest()["config"], context=RECORD)
    except ValidationError as error:
        raise InputError(
            f"{path / 'run.yaml'}: of another version of polyswe ({explain(error)}); "
            "'polyswe report --as-written' shows the results it wrote"
        ) from error
    config = part(config) if part else config
    dataset = load_dataset(config.dataset)
    with Store(folder.store_path, read_only=True) as store:
        stored = store.rows()
    cells = plan(config, dataset, stored, folder)
    rows = [row for row in stored if row.cell in cells]
    if not any(row.state is State.GRADED for row in rows):
        raise InputError(f"{path}: no cell has a verdict yet")
    return RunRecord.read(config, dataset, folder, rows)


def _ending_notes(rows: Sequence[CellRow]) -> list[str]:
    """What a reader has to know about how the cells ended, beyond the counts."""
    verdicts: dict[str, int] = {}
    for row in rows:
        if row.verdict is not None:
            verdicts[row.verdict] = verdicts.get(row.verdict, 0) + 1
    notes = ["verdicts: " + ", ".join(f"{count} {name}" for name, count in sorted(verdicts.items()))]
    unsubmitted = sum(row.unsubmitted for row in rows)
    if unsubmitted:
        attempts = "1 attempt" if unsubmitted == 1 else f"{unsubmitted} attempts"
        notes.append(f"{attempts} left changes that were never submitted; these are kept but not counted")
    missing = sum(row.state is not State.GRADED for row in rows)
    if missing:
        notes.append(f"{counted_part(missing, len(rows), 'cell', 'has', 'have')} no verdict")
    return notes
