"""A cell's stages against a real store: what a refusal means for the model's other cells, what a review costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.attempt import AgentTask, Attempt
from agents.budget import Budget, Call
from agents.errors import ProviderError
from agents.leaks import Flag
from agents.pool import ModelConfig
from agents.rate_limit import RateLimit
from agents.runner import AgentConfig
from agents.scripted.server import ScriptedServer
from harness.config import find_config, load_config
from harness.data.instances import Dataset, Instance
from harness.grading.verdict import Grade, Verdict
from harness.run.cells import CellRunner
from harness.run.engines.base import GraderLike, RunAgent
from harness.run.interrupt import Stop
from harness.run.progress import Progress
from harness.run.spending import Spending
from harness.sample import PLAYBOOK
from harness.store.rows import Cell, State
from harness.store.run_folder import PATCH_FILE, RunFolder, read_patch
from harness.store.store import Store


class Images:
    """Every image is here."""

    def ensure(self, image: str) -> None: ...
    def release(self, image: str) -> None: ...
    def engine_answers(self, patience: float) -> bool:
        return True


@dataclass
class Desk:
    """A backend whose agents do what the test says."""

    run_agent: RunAgent
    grader: GraderLike = None  # type: ignore[assignment]  # nothing is graded here
    images: Images = field(default_factory=Images)
    budget: Budget = field(default_factory=Budget)
    rates: Mapping[str, RateLimit] = field(default_factory=dict)
    gradings_in_flight: int = 1
    places: Sequence[Path] = ()


@dataclass
class Bench:
    work: CellRunner
    store: Store
    cells: list[Cell]


MakeBench = Callable[..., Bench]


def submitted(cell: Cell, folder: Path) -> Attempt:
    return Attempt(
        instance_id=cell.instance_id, model=cell.model, patch="diff --git a/x b/x\n", scripted=True,
        exit_status="Submitted", cost_usd=0.5, api_calls=3, prompt_tokens=10, completion_tokens=5, cached_tokens=2,
        failed_calls=0, seconds=7.0, trajectory=folder / "trajectory.json", unsubmitted_patch="",
    )  # fmt: skip


@pytest.fixture
def bench(sample: Dataset, tmp_path: Path) -> Iterator[MakeBench]:
    ends = ExitStack()

    def make(agent: Callable[..., Attempt], kind: type[Store] = Store, **changes: Any) -> Bench:
        config = load_config(find_config("sample"))
        model = config.pool[0]
        instances = {instance.instance_id: instance for instance in sample.instances[:3]}
        folder = RunFolder(tmp_path / "run")
        folder.path.mkdir()
        store = ends.enter_context(kind(folder.store_path))
        cells = [Cell(name, model.name) for name in instances]
        store.plan(dict.fromkeys(cells, "key"))
        progress = Progress(store.rows())
        ends.callback(progress.close)
        work = CellRunner(
            instances=instances, models={model.name: model} | changes.pop("models", {}), folder=folder, store=store,
            agent=AgentConfig(**changes), backend=Desk(agent), progress=progress, stop=Stop(), limits=config.run,
            spending=Spending(config, store),
        )  # fmt: skip
        return Bench(work, store, cells)

    with ends:
        yield make


def call(failure: str = "", cost: float = 0.0) -> Call:
    return Call(
        started_at=1.0, seconds=1.0, prompt_tokens=10, cached_tokens=0, completion_tokens=5, cost_usd=cost,
        estimated=False, failure=failure,
    )  # fmt: skip


@pytest.mark.parametrize(("answered_first", "tried"), [(True, 3), (False, 1)])
def test_a_refusal_is_final_only_for_a_model_that_has_never_answered_a_call(
    bench: MakeBench, answered_first: bool, tried: int
) -> None:
    tasks: list[str] = []

    def refused(task: AgentTask, *_: Any, on_call: Callable[[Call], None], **__: Any) -> Attempt:
        tasks.append(task.instance_id)
        if answered_first:
            on_call(call(cost=0.5))
        on_call(call("auth"))
        raise ProviderError("auth", "403 of a gateway")

    made = bench(refused)
    assert not any([made.work.attempt(cell) for cell in made.cells])
    assert len(tasks) == tried
    assert {(row.state, row.failure) for row in made.store.rows()} == {(State.FAILED, "provider: auth")}


def test_a_refusal_does_not_outlast_an_answer_to_a_cell_at_work_at_the_same_time(bench: MakeBench) -> None:
    tasks: list[str] = []

    def agent(task: AgentTask, *_: Any, on_call: Callable[[Call], None], **__: Any) -> Attempt:
        tasks.append(task.instance_id)
        if len(tasks) == 1:
            made.work.attempt(made.cells[1])  # another worker's
            on_call(call())
        raise ProviderError("auth", "403 of a gateway")

    made = bench(agent)
    for cell in (made.cells[0], made.cells[2]):
        made.work.attempt(cell)
    assert tasks == [cell.instance_id for cell in made.cells]


class Killed(Store):
    """The run is killed before a review's score is recorded."""

    def add_signals(self, cell: Cell, signals: Mapping[str, float], cost_usd: float = 0.0) -> None:
        if signals:
            raise KeyboardInterrupt
        super().add_signals(cell, signals, cost_usd)


@pytest.mark.parametrize("kind", [Store, Killed])
def test_a_reviewers_call_is_on_record_and_paid_once(
    bench: MakeBench, kind: type[Store], calls_by_model: Callable[[Path], dict[str, Any]]
) -> None:

    def finished(task: AgentTask, *_: Any, on_attempt: Callable[[Attempt], None], out_dir: Path, **__: Any) -> Attempt:
        attempt = submitted(Cell(task.instance_id, made.cells[0].model), out_dir)
        on_attempt(attempt)
        return attempt

    with ScriptedServer(PLAYBOOK) as server:
        reviewer = ModelConfig(
            name="reviewer", model="openai/scripted-small", api_base=server.url, scripted=True,
            input_cost_per_token=1e-5, output_cost_per_token=1e-4,
        )  # fmt: skip
        made = bench(finished, kind, reviewer="reviewer", models={"reviewer": reviewer})
        with pytest.raises(KeyboardInterrupt) if kind is Killed else nullcontext():
            made.work.attempt(made.cells[0])
    (calls,) = calls_by_model(made.store.path).values()
    row = next(row for row in made.store.rows() if row.cell == made.cells[0])
    assert calls.answered == 1
    assert calls.cost_usd > 0
    assert row.cost_usd == pytest.approx(0.5 + calls.cost_usd)
    assert row.signals.get("review_score") == (None if kind is Killed else 0.5)


def test_an_attempt_is_on_record_before_anything_reads_what_the_model_wrote(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan that hangs or fails must not lose what was paid for; the next start looks again."""

    def finished(task: AgentTask, *_: Any, on_attempt: Callable[[Attempt], None], out_dir: Path, **__: Any) -> Attempt:
        attempt = submitted(Cell(task.instance_id, made.cells[0].model), out_dir)
        on_attempt(attempt)
        return attempt

    def scan(*_: object) -> list[Flag]:
        row = made.store.row(made.cells[0])
        assert row is not None
        scanned.append((row.state, read_patch(made.work.folder, made.cells[0])))
        if len(scanned) == 1:
            raise RecursionError("a hostile trajectory")
        return [Flag("download", 1, "curl")]

    scanned: list[tuple[State, str]] = []
    monkeypatch.setattr("harness.run.cells.scan_file", scan)
    made = bench(finished)
    made.work.backend.grader = GoingDown(0, "")
    assert made.work.attempt(made.cells[0])
    made.work.grade(made.cells[0])
    assert scanned == [(State.AGENT_DONE, "diff --git a/x b/x\n")]
    row = made.store.row(made.cells[0])
    assert row is not None
    assert (row.state, row.cost_usd) == (State.GRADED, 0.5)
    made.work.grade(made.cells[0])
    assert list(made.store.flags()) == [made.cells[0]]


class GoingDown:
    """A grader whose engine goes down under it, answers now and then, and comes back."""

    def __init__(self, failures: int, kind: str) -> None:
        self.left, self.kind, self.asked = failures, kind, 0

    def grade(self, instance: Instance, model: str, patch: str, cell_dir: Path, *, attempt: int = 1) -> Grade:
        self.asked += 1
        if self.asked > self.left:
            return Grade(Verdict.RESOLVED)
        return Grade(Verdict.INFRASTRUCTURE, "no verdict", self.kind)


@pytest.mark.parametrize(
    ("failures", "kind", "back", "asked", "state"),
    [
        (2, "engine", True, 3, State.GRADED),
        (2, "grading: container", True, 2, State.AGENT_DONE),
        (1, "engine", False, 1, State.AGENT_DONE),
    ],
)
def test_a_grading_outlives_an_engine_that_goes_down(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch, failures: int, kind: str, back: bool, asked: int, state: State
) -> None:
    it = bench(submitted)
    monkeypatch.setattr(it.work.backend.images, "engine_answers", lambda patience: back)
    cell = it.cells[0]
    folder = it.work.folder.cell_dir(cell)
    folder.mkdir(parents=True)
    (folder / PATCH_FILE).write_text("diff --git a/x b/x\n")
    it.store.agent_started(cell)
    it.store.agent_done(cell, submitted(cell, folder))
    grader = it.work.backend.grader = GoingDown(failures, kind)
    it.work.grade(cell)
    assert grader.asked == asked
    assert len(it.store.failures()) == failures
    assert next(row for row in it.store.rows() if row.cell == cell).state is state


class Resolving:
    """A grader for which every patch resolves its instance."""

    def grade(self, instance: Instance, model: str, patch: str, cell_dir: Path, *, attempt: int = 1) -> Grade:
        (cell_dir / "test_output.txt").write_text("PASSED test_a\n")
        return Grade(Verdict.RESOLVED)


@pytest.mark.parametrize(("file", "kinds"), [("conftest.py", ["test-configuration"]), ("src/core.py", [])])
def test_a_pass_that_may_be_faked_is_flagged_and_counts(bench: MakeBench, file: str, kinds: list[str]) -> None:
    it = bench(submitted)
    cell = it.cells[0]
    it.work.backend.grader = Resolving()  # type: ignore[misc]
    folder = it.work.folder.cell_dir(cell)
    folder.mkdir(parents=True)
    it.store.agent_started(cell)
    it.store.agent_done(cell, submitted(cell, folder))
    patch = f"diff --git a/{file} b/{file}\nnew file mode 100644\n--- /dev/null\n+++ b/{file}\n@@ -0,0 +1 @@\n+x = 1\n"
    (folder / PATCH_FILE).write_text(patch)
    it.work.grade(cell)
    row = next(row for row in it.store.rows() if row.cell == cell)
    assert row.verdict == Verdict.RESOLVED
    assert [flag.kind for flag in it.store.flags().get(cell, [])] == kinds
