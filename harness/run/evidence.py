"""Evidence on finished attempts: tests are written for their instances and run on their patches, after the attempts.

Test writing is a run inside the run (`harness.run.test_writing`): budget, retries, resume come with it. Running tests
costs nothing but time. A failure of container or engine is never "not fixed": the instance's evidence is missing then,
and gathered at the next start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from agents.evidence.config import EvidenceConfig
from agents.pool import ModelConfig
from harness.config import Config
from harness.errors import InputError
from harness.run.display import PlainDisplay
from harness.run.engines import open_backend
from harness.run.engines.base import Backend
from harness.run.examination import Examiner, made_from
from harness.run.journal import Event
from harness.run.open_run import OpenRun
from harness.run.plan import attempts_of
from harness.run.preflight import scripted_models_ready
from harness.run.status import ModelStatus
from harness.run.test_writing import open_writing, to_write, write_tests, writings
from harness.store.rows import ATTEMPTED, Cell, CellRow, State
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
    failed: dict[str, str] = field(default_factory=dict)
    """Instance → why this start could not run its tests."""

    def gather(self, cells: Collection[Cell]) -> None:
        """Gather the evidence on the finished first attempts among `cells`, where it is not on record."""
        attempts = _finished(self.run, cells)
        with open_writing(self.run, self.evidence) as writing:
            unwritten = [cell for cell in to_write(writing, attempts.keys()) if cell not in self.tried]
            waiting = {cell.instance_id for cell in unwritten}
            untested = waiting.union(self._untested(writing, attempts))
            missing = [name for name in attempts if name in untested]
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

    def missing(self, cells: Collection[Cell]) -> list[str]:
        """What is missing of the evidence on the finished first attempts among `cells` and why, one line a cause."""
        attempts = _finished(self.run, cells)
        with open_writing(self.run, self.evidence) as writing:
            untested = self._untested(writing, attempts)
            written = writings(writing, attempts.keys())
        lines = []
        if failed := [row for row in written if row.state is State.FAILED]:
            row = failed[0]
            of = f"{len(failed)} of {counted(len(written), 'test writing')}"
            lines.append(f"{of} failed, e.g. {row.cell}: {row.failure}: {row.detail}")
        if untested:
            example = next((name for name in untested if name in self.failed), untested[0])
            reason = self.failed.get(example) or self.run.stop.reason or "its tests were not run"
            of = f"{len(untested)} of {counted(len(attempts), 'instance')}"
            lines.append(f"no evidence on {of}, e.g. {example}: {reason}")
        return lines

    def _untested(self, writing: OpenRun, attempts: Mapping[str, Sequence[CellRow]]) -> list[str]:
        """Instances whose evidence is not on record, or of other patches, tests or settings."""
        recorded = {name: row.digest for name, row in self.run.store.evidence().items()}
        written = _by_instance(writing.store.rows())
        return [
            name
            for name, rows in attempts.items()
            if self._digest(writing, rows, written.get(name, [])) != recorded.get(name)
        ]

    def _examine_all(
        self,
        writing: OpenRun,
        attempts: Sequence[Sequence[CellRow]],
        models: Sequence[ModelConfig],
        backend: Backend,
    ) -> int:
        """Run the tests of several instances side by side; how many have evidence now."""
        by_name = {model.name: model for model in models}
        shown = _Shown({rows[0].instance_id: len(rows) for rows in attempts})
        display = PlainDisplay(shown, sys.stderr)

        def show(instance: str, tested: int) -> None:
            shown.tested[instance] = tested
            display.update()

        examiner = Examiner(
            run=self.run,
            evidence=self.evidence,
            writing=writing,
            models=by_name,
            backend=backend,
            say=self.say,
            show=show,
            failed=self.failed,
        )
        try:
            with ThreadPoolExecutor(self.run.config.run.grading_workers, thread_name_prefix="tests") as pool:
                return sum(pool.map(examiner.examine, attempts))
        finally:
            if shown.tested:
                display.close()

    def _digest(self, writing: OpenRun, attempts: Sequence[CellRow], writers: Sequence[CellRow]) -> str:
        try:
            return made_from(self.run, self.evidence, writing, attempts, writers).digest
        except InputError:  # a patch is gone, which is reported when its tests would run
            return ""


@dataclass(frozen=True)
class _Shown:
    """How far the tests are; implements `harness.run.display.Snapshot`."""

    attempts: Mapping[str, int]
    """Instance → how many of its attempts are to be tested."""
    tested: dict[str, int] = field(default_factory=dict)
    """Instance → how many of them have been."""

    def models(self) -> Sequence[ModelStatus]:
        return ()

    def at_work(self) -> Sequence[str]:
        return ()

    def summary(self) -> str:
        return f"tests: run on {sum(self.tested.values())} of {sum(self.attempts.values())} attempts"


def repeats_note(config: Config) -> str:
    """That repeated attempts have no evidence of their own; empty where none are made or none is gathered."""
    if config.evidence is None or all(attempts_of(config, model) == 1 for model in config.pool):
        return ""
    return "evidence: tests are run on the first attempts; repeated attempts have no signals from tests"


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
