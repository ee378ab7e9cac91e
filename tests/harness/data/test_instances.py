"""Malformed data is refused before anything is spent on it, with the culprit's name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from harness.config import DatasetConfig
from harness.data.instances import load_dataset
from harness.errors import EnvironmentUnavailableError, InputError

ROW = {
    "instance_id": "a__a-1",
    "problem_statement": "it breaks",
    "repo": "a/a",
    "version": "1.0",
    "image": "image:latest",
    "eval_script": "#!/bin/bash\n: '>>>>> Start Test Output'\n",
    "log_parser": "parse_log_pytest",
    "eval_type": "pass_and_fail",
    "FAIL_TO_PASS": '["t.py::a"]',
    "PASS_TO_PASS": "[]",
}


def dataset_of(tmp_path: Path, rows: list[dict[str, Any]], **options: Any) -> Any:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_dataset(DatasetConfig(name=str(path), **options))


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_the_same_instances_come_from_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    rows = [ROW, ROW | {"instance_id": "a__a-2", "FAIL_TO_PASS": ["t.py::b"]}]
    if suffix == "parquet":
        rows = [row | {"FAIL_TO_PASS": json.dumps(row["FAIL_TO_PASS"])} for row in rows]
    path = tmp_path / f"data.{suffix}"
    match suffix:
        case "json":
            path.write_text(json.dumps(rows))
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
        case "parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    dataset = load_dataset(DatasetConfig(name=str(path)))
    assert [instance.instance_id for instance in dataset.instances] == ["a__a-1", "a__a-2"]


def test_list_columns_of_a_parquet_file_reach_the_official_harness_as_lists(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    rows = [ROW | {"FAIL_TO_PASS": ["t.py::a", "t.py::b"], "PASS_TO_PASS": []}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    (instance,) = load_dataset(DatasetConfig(name=str(path))).instances
    from swebench.harness.utils import make_test_spec

    row = json.loads(json.dumps(dict(instance.row)))  # as it travels to the grading process
    assert make_test_spec(row).FAIL_TO_PASS == ["t.py::a", "t.py::b"]


@pytest.mark.parametrize(
    ("row", "culprit"),
    [
        ({**ROW, "image": None}, "a__a-1 lacks image"),
        ({k: v for k, v in ROW.items() if k != "eval_script"}, "a__a-1 lacks eval_script"),
        ({**ROW, "problem_statement": " \n"}, "a__a-1 lacks problem_statement"),
        ({**ROW, "instance_id": ""}, "row 1 has no instance_id"),
    ],
)
def test_incomplete_instances_are_named(tmp_path: Path, row: dict[str, Any], culprit: str) -> None:
    with pytest.raises(InputError) as error:
        dataset_of(tmp_path, [row])
    assert culprit in str(error.value)


def test_rows_of_the_old_format_say_where_the_image_is_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="take the dataset's current version"):
        dataset_of(tmp_path, [{k: v for k, v in ROW.items() if k not in ("image", "eval_script")}])


def test_duplicates_and_other_faults_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b__b-1 lacks image.*a__a-1 occurs 2 times"):
        dataset_of(tmp_path, [ROW, ROW, {**ROW, "instance_id": "b__b-1", "image": ""}])


def test_a_broken_line_is_named_by_number(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(ROW) + "\n\n{half")
    with pytest.raises(InputError, match="line 3"):
        load_dataset(DatasetConfig(name=str(path)))


def test_unknown_instances_are_named_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a__a-11; did you mean a__a-1"):
        dataset_of(tmp_path, [ROW], instances=["a__a-11"])


def test_a_missing_file_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(InputError, match="no such file"):
        load_dataset(DatasetConfig(name="nowhere/data.jsonl"))


def test_without_the_hub_the_error_names_dataset_and_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentUnavailableError, match=r"no-such/dataset: .*give a .json/.jsonl/.parquet path"):
        load_dataset(DatasetConfig(name="no-such/dataset"))


def test_the_fingerprint_changes_with_what_is_graded_and_with_nothing_else(tmp_path: Path) -> None:
    (instance,) = dataset_of(tmp_path, [ROW]).instances
    hint = replace(instance, row={**instance.row, "hints_text": "look at b.py"})
    stricter = replace(instance, row={**instance.row, "PASS_TO_PASS": '["t.py::c"]'})
    assert hint.fingerprint == instance.fingerprint != stricter.fingerprint


def test_the_sample_has_fifteen_instances_of_five_kinds() -> None:
    dataset = load_dataset(DatasetConfig(name="sample"))
    assert dataset.scripted
    assert len(dataset.instances) == 15
    assert len({instance.row["kind"] for instance in dataset.instances}) == 5
    assert len({instance.problem_statement for instance in dataset.instances}) == 15
