"""One instance's evidence: its tests are run on its attempts' patches, broken ones judged, and signals recorded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from agents.budget import BudgetSpentError, Call
from agents.container.host import DockerHost
from agents.errors import AgentError, ProviderError
from agents.evidence.config import EvidenceConfig
from agents.evidence.existing import find_existing_tests
from agents.evidence.issue_tests import IssueTest
from agents.evidence.judge import Question, judge, questions
from agents.evidence.own import own_tests
from agents.evidence.run import TestRuns, TreeRun, patch_key, run_tests
from agents.pool import ModelConfig
from harness.data.instances import Instance
from harness.docker.engine import CELL_LABEL, RUN_LABEL, cell_label, check_disk, endpoint
from harness.errors import InputError, PolysweError
from harness.run.engines.base import Backend
from harness.run.evidence_record import SIGNALS, evidence_signals
from harness.run.failures import MODEL_KINDS
from harness.run.open_run import OpenRun
from harness.run.spending import spent_by
from harness.run.test_writing import tests_of
from harness.store.rows import ATTEMPTED, JUDGING, Cell, CellRow, EvidenceRow, State
from harness.store.run_folder import TRAJECTORY_FILE, read_patch
from harness.text import counted

JUDGE_FAILURES = 3
"""Failures of the judge's provider after which a start does not call it again."""
KEPT_OUTPUT = 1_000
"""Characters of a generated test's output that the store keeps: its end. A judge is shown those of existing tests."""


@dataclass(frozen=True)
class MadeFrom:
    """What an instance's evidence is made from."""

    instance: Instance
    patches: Mapping[str, str]
    """Model → patch."""
    trajectories: Mapping[str, CellRow]
    """Model → the attempt."""
    tests: Sequence[IssueTest]
    """The writers'."""
    writers: Sequence[CellRow]
    digest: str

    @property
    def keys(self) -> dict[str, str]:
        """Model → the key of its patch."""
        return {model: patch_key(patch) for model, patch in self.patches.items()}


def made_from(
    run: OpenRun,
    evidence: EvidenceConfig,
    writing: OpenRun,
    attempts: Sequence[CellRow],
    writers: Sequence[CellRow],
    say: Callable[[str], None] = lambda message: None,
) -> MadeFrom:
    """What the evidence on these attempts is made from, given the cells of the instance's test writers.

    `say` takes a line for each submission of which something is left out.

    Raises:
        InputError: a patch or a submission of tests is gone.
    """
    instance = run.instances[attempts[0].instance_id]
    patches = {row.model: read_patch(run.folder, row.cell) for row in attempts}
    writers = [row for row in writers if row.model in evidence.writers]
    tests = tests_of(writing, evidence, writers, say)
    settings = evidence.model_dump(mode="json", include={"test_timeout", "own_tests", "existing_tests", "judge"})
    parts = {
        "image": instance.image,
        "patches": {model: patch_key(patch) for model, patch in sorted(patches.items())},
        "tests": [[test.source, test.key] for test in tests],
        "settings": settings,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return MadeFrom(instance, patches, {row.model: row for row in attempts}, tests, writers, digest)


@dataclass
class _Found:
    """What has been found out about an instance so far; each part is kept as soon as it is there."""

    tests: list[IssueTest]
    existing_since: dict[str, list[str]]
    """Key of an existing test → the models whose attempts had been made when it was chosen."""
    runs: TestRuns
    judged: dict[str, bool]
    """Name of a broken existing test → whether the issue changes what it expects."""


@dataclass(frozen=True)
class Examiner:
    """Gathers the evidence on single instances. Safe for many threads."""

    run: OpenRun
    evidence: EvidenceConfig
    writing: OpenRun
    models: Mapping[str, ModelConfig]
    backend: Backend
    say: Callable[[str], None]
    show: Callable[[str, int], None] = lambda instance, tested: None
    """Takes how many of an instance's attempts have been tested."""
    failed: dict[str, str] = field(default_factory=dict)
    """Takes why an instance has no evidence."""
    judge_failures: list[ProviderError] = field(default_factory=list)
    """Failures of the judge's provider so far."""
    host: DockerHost = field(default_factory=lambda: DockerHost(address=endpoint().address))

    def examine(self, attempts: Sequence[CellRow]) -> bool:
        """Gather the evidence on an instance's attempts; False where it is missing, which is reported."""
        name = attempts[0].instance_id
        image = self.run.instances[name].image
        try:
            if self.run.stop.requested:
                return False
            self.backend.images.ensure(image)
            self._examine(name, attempts)
        except BudgetSpentError as error:  # before a judge's call
            self.run.stop.request(str(error))
            return False
        except (AgentError, PolysweError, OSError) as error:  # container, engine, disk, provider, a patch that is gone
            if not self.run.stop.now:  # else we ended its containers ourselves
                self.failed[name] = str(error)
                self.say(f"{name}: no evidence yet, {error}; the next start tries again")
            return False
        finally:
            self.backend.images.release(image)
        return True

    def _examine(self, name: str, attempts: Sequence[CellRow]) -> None:
        writers = [row for row in self.writing.store.rows() if row.instance_id == name]
        origin = made_from(
            self.run, self.evidence, self.writing, attempts, writers, lambda message: self.say(f"{name}: {message}")
        )
        if unwritten := [row for row in origin.writers if row.state not in (*ATTEMPTED, State.FAILED)]:
            raise InputError(f"{counted(len(unwritten), 'writer')} did not come to write tests")
        found = self._found_before(name)
        self._choose_tests(origin, found)

        def keep(runs: TestRuns) -> None:
            for place in self.backend.places:  # a full disk fails tests that would have passed
                check_disk(place, self.run.config.run.least_disk_gb)
            found.runs = _shortened(runs, found.tests)
            self._record(origin, found)
            self.show(name, sum(key in runs.trees for key in origin.keys.values()))

        found.runs = run_tests(
            found.tests,
            origin.patches.values(),
            image=origin.instance.image,
            agent=self.run.config.agent,
            timeout=self.evidence.test_timeout,
            labels=self._labels(name),
            host=self.host,
            known=found.runs,
            on_tree=keep,
        )
        keep(found.runs)
        if self.evidence.judge is not None:
            self._judge(self.evidence.judge, origin, found)
        self._record(origin, found, complete=True)

    def _found_before(self, name: str) -> _Found:
        """What an earlier start or an earlier round has found out, as far as it holds for these settings."""
        row = self.run.store.evidence(name).get(name)
        if row is None or row.content["timeout"] != self.evidence.test_timeout:
            return _Found([], {}, TestRuns(), {})
        content = row.content
        existing = [IssueTest(**test) for test in content["tests"] if test["runner"]]
        judged = content["judged"] if content["judge"] == self.evidence.judge else {}  # of another judge
        return _Found(existing, content["existing_since"], TestRuns.model_validate(content["runs"]), judged)

    def _choose_tests(self, origin: MadeFrom, found: _Found) -> None:
        """The writers' tests, the attempts' own, and existing ones: those that were chosen before stay."""
        existing = found.tests if self.evidence.existing_tests else []
        if self.evidence.existing_tests:
            chosen = find_existing_tests(
                origin.patches.values(),
                image=origin.instance.image,
                agent=self.run.config.agent,
                labels=self._labels(origin.instance.instance_id),
                host=self.host,
            )
            known = {test.key for test in existing}
            existing = [*existing, *(test for test in chosen if test.key not in known)]
        since = {test.key: found.existing_since.get(test.key, sorted(origin.patches)) for test in existing}
        found.existing_since = since
        found.tests = [*origin.tests, *self._own_tests(origin), *existing]

    def _own_tests(self, origin: MadeFrom) -> Iterator[IssueTest]:
        """The reproduction tests that the attempts have written, where they are wanted."""
        for model, row in origin.trajectories.items() if self.evidence.own_tests else ():
            trajectory = self.run.folder.cell_dir(row.cell) / TRAJECTORY_FILE
            yield from own_tests(model, trajectory, origin.patches[model], cwd=self.run.config.agent.cwd)

    def _judge(self, name: str, origin: MadeFrom, found: _Found) -> None:
        """Ask the judge about broken tests that it has not judged yet; each answer is kept at once."""
        for question in questions([test for test in found.tests if test.runner], found.runs, origin.patches.values()):
            if question.name not in found.judged:
                found.judged[question.name] = self._is_obsolete(name, origin.instance, question)
                self._record(origin, found)

    def _is_obsolete(self, name: str, instance: Instance, question: Question) -> bool:
        """The judge's answer; False where its provider refuses the question, as it would at every start.

        Raises:
            BudgetSpentError: before the call, if a limit of the run's cost is reached.
            ProviderError: the provider failed, now or too often before.
        """
        limit = self.run.config.run.max_cost
        if limit is not None and spent_by(self.run.whole) >= limit:
            raise BudgetSpentError(f"the cost limit of ${limit:g} is reached")
        if len(self.judge_failures) >= JUDGE_FAILURES:
            raise self.judge_failures[-1]
        cell = Cell(instance.instance_id, name, JUDGING)
        try:
            return judge(
                instance.problem_statement,
                question,
                self.models[name],
                self.run.config.agent.retry,
                budget=self.backend.budget,
                on_call=lambda call: self._paid(cell, call),
                rate=self.backend.rates.get(name),
            ).obsolete
        except ProviderError as error:
            if error.kind in MODEL_KINDS:
                refused = f"{instance.instance_id}: judge {name}: its provider refuses a question ({error.kind})"
                self.say(f"{refused}; the test counts as broken, not as obsolete")
                return False
            self.judge_failures.append(error)
            raise

    def _paid(self, cell: Cell, call: Call) -> None:
        self.writing.store.called(cell, call)

    def _labels(self, name: str) -> dict[str, str]:
        return {RUN_LABEL: self.run.folder.label, CELL_LABEL: cell_label(name, "tests", 1)}

    def _record(self, origin: MadeFrom, found: _Found, *, complete: bool = False) -> None:
        """Keep what has been found out; with the signals that follow once it is complete."""
        if self.run.stop.now:  # what ran last may have been ended by ourselves
            raise InputError("the run is stopping now")
        name = origin.instance.instance_id
        written = [row for row in origin.writers if row.state in ATTEMPTED]
        row = EvidenceRow(
            instance_id=name,
            digest=origin.digest if complete else "",
            content={
                "timeout": self.evidence.test_timeout,
                "attempts": origin.keys,
                "tests": [asdict(test) for test in found.tests],
                "existing_since": found.existing_since,
                "runs": found.runs.model_dump(mode="json"),
                "judge": self.evidence.judge,
                "judged": found.judged,
                "failed_writers": sorted(row.model for row in origin.writers if row.state is State.FAILED),
            },
            seconds=found.runs.seconds + sum(row.agent_seconds or 0.0 for row in written),
            cost_usd=sum(row.cost_usd or 0.0 for row in written) + self.writing.store.judging_cost(name),
        )
        signals = (evidence_signals(row, origin.patches) or {}) if complete else {}
        unknown = dict.fromkeys(SIGNALS, math.nan)
        cells = {Cell(name, model): {**unknown, **values} for model, values in signals.items()}
        self.run.store.add_evidence(row, cells)


def _shortened(runs: TestRuns, tests: Sequence[IssueTest]) -> TestRuns:
    """The same with the ends of the outputs of generated tests."""
    existing = {test.key for test in tests if test.runner}

    def shortened(tree: TreeRun) -> TreeRun:
        results = {
            key: result if key in existing else result.model_copy(update={"output": result.output[-KEPT_OUTPUT:]})
            for key, result in tree.results.items()
        }
        return tree.model_copy(update={"results": results})

    return runs.model_copy(update={"trees": {name: shortened(tree) for name, tree in runs.trees.items()}})
