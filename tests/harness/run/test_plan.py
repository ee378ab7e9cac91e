"""A cell's key: what makes an outcome another one, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.config import Config, find_config, load_config, with_overrides
from harness.data.instances import Dataset, load_dataset
from harness.errors import ConfigError
from harness.grading.verdict import Grade, Verdict
from harness.run.plan import plan, repeat_notes
from harness.store.keys import Change, change
from harness.store.rows import Cell
from harness.store.store import Store

CELL = Cell("polyswe__billing-201", "scripted-small")


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(find_config("sample"))


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return load_dataset(config.dataset)


def test_runs_of_earlier_versions_are_continued(config: Config, dataset: Dataset) -> None:
    """The key that the first version wrote. A new setting belongs into `ADDED_SETTINGS`."""
    assert change("cca08eda2af38294.e4c4ea3c1047de6e", plan(config, dataset)[CELL]) is Change.NONE


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("run.grading_timeout", 600, Change.GRADING),
        ("run.grading_limits.pids", 999, Change.GRADING),
        ("agent.step_limit", 3, Change.ATTEMPT),
        ("pool.scripted-small.model_kwargs", {"temperature": 1}, Change.ATTEMPT),
        ("pool.scripted-small.record", "a name", Change.NONE),
        ("pool.scripted-small.api_key_env", "MY_KEY", Change.NONE),
        ("agent.retry.max_seconds", 5, Change.NONE),
        ("run.max_cost", 5, Change.NONE),
        ("pool.scripted-small.repeats", 1, Change.NONE),
    ],
)
def test_settings_change_the_part_that_depends_on_them(
    config: Config, dataset: Dataset, setting: str, value: object, expected: Change
) -> None:
    before = plan(config, dataset)[CELL]
    assert change(before, plan(with_overrides(config, {setting: value}), dataset)[CELL]) is expected


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("PASS_TO_PASS", '["tests/test_money.py::test_other"]', Change.GRADING),
        ("eval_script", "set -e\n", Change.GRADING),
        ("hints_text", "look there", Change.NONE),
        ("problem_statement", "another issue", Change.ATTEMPT),
        ("image", "another/image", Change.ATTEMPT),
    ],
)
def test_columns_of_a_row_change_the_part_that_depends_on_them(
    config: Config, dataset: Dataset, column: str, value: str, expected: Change
) -> None:
    (instance,) = (i for i in dataset.instances if i.instance_id == CELL.instance_id)
    own = {column: value} if column in ("problem_statement", "image") else {}
    other = replace(instance, row=dict(instance.row) | {column: value}, **own)  # type: ignore[arg-type]
    before = plan(config, dataset)[CELL]
    after = plan(config, replace(dataset, instances=(other,)))[CELL]
    assert change(before, after) is expected


def test_repeats_add_attempts_and_leave_the_keys_alone(config: Config, dataset: Dataset) -> None:
    """A run goes on with more attempts, and the first ones are what they were."""
    once = plan(config, dataset)
    changes = {"run.repeats": 2, "pool.scripted-large.repeats": 3, "pool.scripted-small.repeats": 1}
    cells = plan(with_overrides(config, changes), dataset)
    assert {cell: key for cell, key in cells.items() if cell.attempt == 1} == once
    numbers = {model.name: {cell.attempt for cell in cells if cell.model == model.name} for model in config.pool}
    assert numbers == {"scripted-small": {1}, "scripted-medium": {1, 2}, "scripted-large": {1, 2, 3}}
    assert all(key == once[Cell(cell.instance_id, cell.model)] for cell, key in cells.items())
    order = list(dict.fromkeys(cell.instance_id for cell in cells))
    assert [cell.instance_id for cell in cells] == sorted((cell.instance_id for cell in cells), key=order.index)


def test_fewer_repeats_take_no_verdict_away(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    thrice = plan(with_overrides(config, {"run.repeats": 3}), dataset)
    graded, failed, regraded = (Cell(CELL.instance_id, CELL.model, attempt) for attempt in (2, 3, 4))
    with Store(tmp_path / "outcomes.sqlite") as store:
        store.plan({graded: thrice[graded], failed: thrice[failed], regraded: "other+settings+then"})
        store.graded(graded, Grade(Verdict.RESOLVED))
        store.graded(regraded, Grade(Verdict.RESOLVED))
        store.failed(failed, "engine", "gone")
        rows = store.rows()
    cells = plan(config, dataset, rows)
    assert [cell for cell in cells if cell.attempt > 1] == [graded]
    counted, left = repeat_notes(config, rows, cells)
    assert counted.startswith("the run holds 1 cell beyond")
    assert "2 cells beyond 'repeats' without a verdict" in left
    assert repeat_notes(config, rows[:0], cells) == []


@pytest.mark.parametrize("setting", ["run.repeats", "pool.scripted-small.repeats"])
def test_a_routed_run_refuses_repeats(config: Config, setting: str) -> None:
    routed = {"run.mode": "routed", "router.checkpoint": "router.npz"}
    with pytest.raises(ConfigError, match=r"'routed' makes one attempt.*repeats.*2"):
        with_overrides(config, {**routed, setting: 2})
