"""Evidence on finished attempts: tests are written for their instances and run on their patches, after the attempts.

Test writing is a run inside the run (`harness.run.test_writing`): budget, retries, resume come with it. Running tests
costs nothing but time. A failure of container or engine is never "not fixed": the instance's evidence is missing then,
and gathered at the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from agents.evidence.config import EvidenceConfig
from agents.pool import ModelConfig
from harness.errors import InputError
from harness.run.engines import open_backend
from harness.run.engines.base import Backend
from harness.run.examination import Examiner, made_from
from harness.run.journal import Event
from harness.run.open_run import OpenRun
from harness.run.preflight import scripted_models_ready
from harness.run.test_writing import open_writing, to_write, write_tests
from harness.store.rows import ATTEMPTED, Cell, CellRow
from harness.text import counted


@dataclass
class EvidenceStage:
    """Gathers what is missing; called again between the rounds of a sequential policy."""

    run: OpenRun
    evidence: EvidenceConfig
    say: Callable[[str], None]
    """Takes a line for the user."""
    tried: set[Cell] = field(default_factory=set)
    """Cells of test writers that this start has tried: what failed is tried again by the next one."""

    def gather(self, cells: Collection[Cell]) -> None:
        """Gather the evidence on the finished first attempts among `cells`, where it is not on record."""
        attempts = _finished(self.run, cells)
        with open_writing(self.run, self.evidence) as writing:
            unwritten = [cell for cell in to_write(writing, attempts.keys()) if cell not in self.tried]
            waiting = {cell.instance_id for cell in unwritten}
            recorded = {name: row.digest for name, row in self.run.store.evidence().items()}
            written = _by_instance(writing.store.rows())
            missing = [
                name
                for name, rows in attempts.items()
                if name in waiting or self._digest(writing, rows, written.get(name, [])) != recorded.get(name)
            ]
            if not missing:
                return
            instances = self.run.instances
            images = [instances[name].image for name in (*(cell.instance_id for cell in unwritten), *missing)]
            self.say(f"evidence: {counted(len(unwritten), 'test writing')}, then tests of {len(missing)} instances")
            self.run.journal.record(Event.EVIDENCE_STARTED, instances=len(missing), to_write=len(unwritten))
            with scripted_models_ready(self.run.config.pool) as models:
                context = self.run.context(models, images, self.say, grades=False)
                with open_backend(context) as backend:
                    if unwritten:
                        self.tried.update(unwritten)
                        write_tests(writing, unwritten, models, backend)
                    done = self._examine_all(writing, [attempts[name] for name in missing], models, backend)
            self.run.journal.record(Event.EVIDENCE_ENDED, instances=len(missing), gathered=done)
            if self.run.stop.requested and done < len(missing):
                left = counted(len(missing) - done, "instance")
                self.say(f"no evidence yet on {left} ({self.run.stop.reason}); the same command continues")

    def _examine_all(
        self,
        writing: OpenRun,
        attempts: Sequence[Sequence[CellRow]],
        models: Sequence[ModelConfig],
        backend: Backend,
    ) -> int:
        """Run the tests of several instances side by side; how many have evidence now."""
        by_name = {model.name: model for model in models}
        examiner = Examiner(self.run, self.evidence, writing, by_name, backend, self.say)
        with ThreadPoolExecutor(self.run.config.run.grading_workers, thread_name_prefix="tests") as pool:
            return sum(pool.map(examiner.examine, attempts))

    def _digest(self, writing: OpenRun, attempts: Sequence[CellRow], writers: Sequence[CellRow]) -> str:
        try:
            return made_from(self.run, self.evidence, writing, attempts, writers).digest
        except InputError:  # a patch is gone, which is said where it would be run
            return ""


def _by_instance(rows: Iterable[CellRow]) -> dict[str, list[CellRow]]:
    found: dict[str, list[CellRow]] = {}
    for row in rows:
        found.setdefault(row.instance_id, []).append(row)
    return found


def _finished(run: OpenRun, cells: Collection[Cell]) -> dict[str, list[CellRow]]:
    """By instance: its first attempts among the cells, where all of them have finished."""
    wanted = set(cells)
    rows = _by_instance(row for row in run.store.rows() if row.cell in wanted and row.attempt == 1)
    return {name: own for name, own in rows.items() if all(row.state in ATTEMPTED for row in own)}
