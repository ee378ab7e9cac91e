"""A cell's stages against a real store: what a provider's refusal means for the model's other cells, what reviews cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.attempt import AgentTask, Attempt
from agents.budget import Budget, Call
from agents.errors import ProviderError
from agents.pool import ModelConfig
from agents.runner import AgentConfig
from harness.cells import CellWork
from harness.config import find_config, load_config
from harness.engines.base import Grades, RunAgent, Stop
from harness.instances import Dataset
from harness.progress import Progress
from harness.run_folder import RunFolder
from harness.store import Cell, State, Store


class Images:
    """Every image is here."""

    def ensure(self, image: str) -> None: ...
    def release(self, image: str) -> None: ...
    def engine_answers(self, patience: float) -> bool:
        return True


@dataclass
class Desk:
    """A shop whose agents do what the test says."""

    run_agent: RunAgent
    grader: Grades = None  # type: ignore[assignment]  # nothing is graded here
    images: Images = field(default_factory=Images)
    budget: Budget = field(default_factory=Budget)
    lanes: int = 1
    places: Sequence[Path] = ()


@dataclass
class Bench:
    work: CellWork
    store: Store
    cells: list[Cell]


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(sample: Dataset, tmp_path: Path) -> MakeBench:
    def make(agent: Callable[..., Attempt], **changes: Any) -> Bench:
        config = load_config(find_config("sample"))
        model = config.pool[0]
        instances = {instance.instance_id: instance for instance in sample.instances[:3]}
        folder = RunFolder(tmp_path / "run")
        folder.path.mkdir()
        store = Store(folder.store_path)
        cells = [Cell(name, model.name) for name in instances]
        store.plan(dict.fromkeys(cells, "key"))
        work = CellWork(
            instances=instances, models={model.name: model} | changes.pop("models", {}), folder=folder, store=store,
            agent=AgentConfig(**changes), shop=Desk(agent), progress=Progress(3), stop=Stop(), limits=config.run,
        )  # fmt: skip
        return Bench(work, store, cells)

    return make


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
