"""Evidence on finished attempts: tests are written for their instances and run on their patches, after the attempts.

Test writing is a run inside the run (`harness.run.test_writing`): budget, retries, resume come with it. Running tests
costs nothing but time. A failure of container or engine is never "not fixed": the instance's evidence is missing then,
and gathered at the next start.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from agents.container.host import DockerHost
from agents.errors import AgentError
from agents.evidence.config import EvidenceConfig
from agents.evidence.issue_tests import IssueTest
from agents.evidence.run import TestRuns, patch_key, run_tests
from agents.pool import ModelConfig
from harness.docker.engine import CELL_LABEL, RUN_LABEL, cell_label, check_disk, endpoint
from harness.errors import InputError, PolysweError
from harness.run.engines import open_backend
from harness.run.engines.base import Backend
from harness.run.evidence_record import SIGNALS, evidence_signals
from harness.run.journal import Event
from harness.run.open_run import OpenRun
from harness.run.preflight import scripted_models_ready
from harness.run.test_writing import open_writing, tests_of, to_write, write_tests
from harness.store.rows import ATTEMPTED, Cell, CellRow, EvidenceRow, State
from harness.store.run_folder import read_patch
from harness.text import counted

KEPT_OUTPUT = 1_000
"""Characters of a test's output that the store keeps: its end."""


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
        examiner = _Examiner(self.run, self.evidence, writing, by_name, backend, self.say)
        with ThreadPoolExecutor(self.run.config.run.grading_workers, thread_name_prefix="tests") as pool:
            return sum(pool.map(examiner.examine, attempts))

    def _digest(self, writing: OpenRun, attempts: Sequence[CellRow], writers: Sequence[CellRow]) -> str:
        try:
            return _made_from(self.run, self.evidence, writing, attempts, writers).digest
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


@dataclass(frozen=True)
class _MadeFrom:
    """What an instance's evidence is made from."""

    patches: Mapping[str, str]
    """Model → patch."""
    tests: Sequence[IssueTest]
    """The writers'."""
    writers: Sequence[CellRow]
    digest: str


def _made_from(
    run: OpenRun,
    evidence: EvidenceConfig,
    writing: OpenRun,
    attempts: Sequence[CellRow],
    writers: Sequence[CellRow],
) -> _MadeFrom:
    """Raises InputError where a patch or a submission of tests is gone."""
    instance = run.instances[attempts[0].instance_id]
    patches = {row.model: read_patch(run.folder, row.cell) for row in attempts}
    writers = [row for row in writers if row.model in evidence.writers]
    tests = tests_of(writing, evidence, writers)
    settings = evidence.model_dump(mode="json", include={"test_timeout", "own_tests", "existing_tests", "judge"})
    parts = {
        "image": instance.image,
        "patches": {model: patch_key(patch) for model, patch in sorted(patches.items())},
        "tests": [[test.source, test.key] for test in tests],
        "settings": settings,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return _MadeFrom(patches, tests, writers, digest)


@dataclass(frozen=True)
class _Examiner:
    """Runs an instance's tests and records what came of them."""

    run: OpenRun
    evidence: EvidenceConfig
    writing: OpenRun
    models: Mapping[str, ModelConfig]
    backend: Backend
    say: Callable[[str], None]
    host: DockerHost = field(default_factory=lambda: DockerHost(address=endpoint().address))

    def examine(self, attempts: Sequence[CellRow]) -> bool:
        """Gather an instance's evidence; False where it is missing, which is said."""
        name = attempts[0].instance_id
        image = self.run.instances[name].image
        try:
            if self.run.stop.requested:
                return False
            self.backend.images.ensure(image)
            self._examine(name, attempts)
        except (AgentError, PolysweError, OSError) as error:  # container, engine, disk, a patch that is gone
            if not self.run.stop.now:  # else we ended its containers ourselves
                self.say(f"{name}: no evidence yet, {error}; the next start tries again")
            return False
        finally:
            self.backend.images.release(image)
        return True

    def _examine(self, name: str, attempts: Sequence[CellRow]) -> None:
        writers = [row for row in self.writing.store.rows() if row.instance_id == name]
        made_from = _made_from(self.run, self.evidence, self.writing, attempts, writers)
        unwritten = [row for row in made_from.writers if row.state not in (*ATTEMPTED, State.FAILED)]
        if unwritten:
            raise InputError(f"{counted(len(unwritten), 'writer')} did not come to write tests")
        before = self.run.store.evidence(name).get(name)
        known = before.content if before is not None and before.content["timeout"] == self.evidence.test_timeout else {}
        runs = run_tests(
            made_from.tests,
            made_from.patches.values(),
            image=self.run.instances[name].image,
            agent=self.run.config.agent,
            timeout=self.evidence.test_timeout,
            labels={RUN_LABEL: self.run.folder.label, CELL_LABEL: cell_label(name, "tests", 1)},
            host=self.host,
            known=TestRuns.model_validate(known["runs"]) if known else None,
        )
        for place in self.backend.places:  # a full disk fails tests that would have passed
            check_disk(place, self.run.config.run.least_disk_gb)
        written = [row for row in made_from.writers if row.state in ATTEMPTED]
        row = EvidenceRow(
            instance_id=name,
            digest=made_from.digest,
            content={
                "timeout": self.evidence.test_timeout,
                "attempts": {model: patch_key(patch) for model, patch in made_from.patches.items()},
                "tests": [asdict(test) for test in made_from.tests],
                "runs": _shortened(runs).model_dump(mode="json"),
                "failed_writers": sorted(row.model for row in made_from.writers if row.state is State.FAILED),
            },
            seconds=runs.seconds + sum(row.agent_seconds or 0.0 for row in written),
            cost_usd=sum(row.cost_usd or 0.0 for row in written) + self.writing.store.judging_cost(name),
        )
        if self.run.stop.now:
            return
        signals = evidence_signals(row, made_from.patches) or {}
        unknown = dict.fromkeys(SIGNALS, math.nan)
        self.run.store.add_evidence(
            row, {Cell(name, model): {**unknown, **values} for model, values in signals.items()}
        )


def _shortened(runs: TestRuns) -> TestRuns:
    """The same with the ends of the outputs."""
    trees = {
        name: tree.model_copy(
            update={
                "results": {
                    key: result.model_copy(update={"output": result.output[-KEPT_OUTPUT:]})
                    for key, result in tree.results.items()
                }
            }
        )
        for name, tree in runs.trees.items()
    }
    return runs.model_copy(update={"trees": trees})
