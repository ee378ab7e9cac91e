"""A cell's key: what makes an outcome another one, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.config import Config, find_config, load_config, with_overrides
from harness.data.instances import Dataset, load_dataset
from harness.run.plan import plan
from harness.store.keys import Change, change
from harness.store.store import Cell

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
