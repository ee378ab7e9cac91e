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
from harness.data.checks import faults_of, readable
from harness.data.classic import completed
from harness.data.instances import dataset_title, load_dataset, repositories_of
from harness.errors import EnvironmentUnavailableError, InputError

ROW = {
    "instance_id": "a__a-1",
    "problem_statement": "it breaks",
    "repo": "a/a",
    "version": "1.0",
    "image": "image:latest",
    "eval_script": "#!/bin/bash\n: '>>>>> Start Test Output'\npytest\n: '>>>>> End Test Output'\n",
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
        rows[1] |= {"FAIL_TO_PASS": json.dumps(rows[1]["FAIL_TO_PASS"])}
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


CLASSIC = {
    "instance_id": "django__django-1", "repo": "django/django", "version": "4.0", "base_commit": "c0ffee",
    "problem_statement": "it breaks", "patch": "", "test_patch": "", "FAIL_TO_PASS": '["a"]', "PASS_TO_PASS": "[]",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "current"),
    [
        ("verified.jsonl", "SWE-bench_Verified"),
        ("my_lite.jsonl", "SWE-bench_Lite"),
        ("rows.jsonl", "SWE-bench/SWE-bench"),
    ],
)
def test_classic_rows_name_the_dataset_that_has_their_scripts(tmp_path: Path, name: str, current: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(CLASSIC) + "\n")
    with pytest.raises(InputError, match=rf"django__django-1 lacks eval_script.*{current}.*dataset\.scripts"):
        load_dataset(DatasetConfig(name=str(path)))


def test_classic_rows_run_with_the_scripts_of_current_ones(tmp_path: Path) -> None:
    current = CLASSIC | {"eval_script": ROW["eval_script"], "image": "mine/image:1"}
    scripts = tmp_path / "current.jsonl"
    scripts.write_text(json.dumps(current) + "\n")
    (instance,) = dataset_of(tmp_path, [CLASSIC], scripts=str(scripts)).instances
    assert instance.image == "mine/image:1"
    assert (instance.row["log_parser"], instance.row["eval_type"]) == ("parse_log_django", "pass_and_fail")
    scripts.write_text(json.dumps(current | {"base_commit": "another"}) + "\n")
    with pytest.raises(InputError, match="another base commit"):
        dataset_of(tmp_path, [CLASSIC], scripts=str(scripts))


@pytest.mark.parametrize(
    ("repo", "kind", "parser"),
    [("django/django", "pass_and_fail", "parse_log_django"), ("eslint/eslint", "fail_only", "parse_log_eslint")],
)
def test_what_swebench_derives_is_derived(repo: str, kind: str, parser: str) -> None:
    row = completed(CLASSIC | {"repo": repo, "instance_id": "Owner__name-7"})
    assert row["image"] == "swebench/sweb.eval.x86_64.owner_1776_name-7:latest"
    assert (row["eval_type"], row["log_parser"]) == (kind, parser)


@pytest.mark.parametrize("name", ["verified", "lite", "multilingual"])
def test_public_classic_rows_are_complete_but_for_their_scripts(shared_data: Path, name: str) -> None:
    rows = [json.loads(line) for line in (shared_data / "tasks" / f"swebench_{name}.jsonl").open(encoding="utf-8")]
    assert len(rows) >= 300
    script = ROW["eval_script"]
    unfit = {row["instance_id"]: faults_of(readable(completed(row)) | {"eval_script": script}) for row in rows}
    # one row of Multilingual has no test that its fix makes pass
    assert {name for name, faults in unfit.items() if faults} <= {"tokio-rs__axum-1730"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"FAIL_TO_PASS": "[]"}, "has no tests: FAIL_TO_PASS is empty"),
        ({"FAIL_TO_PASS": []}, "has no tests: FAIL_TO_PASS is empty"),
        ({"FAIL_TO_PASS": ["", " "]}, "has no tests: FAIL_TO_PASS holds empty names only"),
        ({"FAIL_TO_PASS": "t.py::a"}, "has a FAIL_TO_PASS that is no list"),
        ({"FAIL_TO_PASS": '{"a": 1}'}, "has a FAIL_TO_PASS that is no list"),
        ({"PASS_TO_PASS": [1, 2]}, "has a PASS_TO_PASS that holds something that is not text"),
        ({"PASS_TO_PASS": "__import__('os').system('true')"}, "has a PASS_TO_PASS that is no list"),
        ({"PASS_TO_PASS": "[" * 100_000}, "has a PASS_TO_PASS that is no list"),
        ({"log_parser": "parse_log_fancy"}, "a log_parser that swebench does not know"),
        ({"eval_type": "pass_or_fail"}, "an eval_type that is none of pass_and_fail, fail_only"),
        ({"eval_script": "pytest"}, "an eval_script without"),
        ({"eval_script": ": '>>>>> End Test Output'\n: '>>>>> Start Test Output'"}, "an eval_script without"),
        ({"image": "--privileged"}, "an image that is no name of one"),
        ({"image": "a b"}, "an image that is no name of one"),
        ({"image_assets": "{half"}, "is refused by swebench"),
        ({"image_assets": "9" * 5000}, "is refused by swebench"),
        ({"FAIL_TO_PASS": f"[{'9' * 5000}]"}, "FAIL_TO_PASS"),
        ({"instance_id": "../../victim"}, "an id that cannot name a folder"),
        ({"instance_id": "a/b"}, "an id that cannot name a folder"),
        ({"instance_id": "-rm"}, "an id that cannot name a folder"),
        ({"instance_id": "a" * 129}, "an id that cannot name a folder"),
        ({"instance_id": "a b"}, "an id that cannot name a folder"),
        ({"instance_id": "a__a-1\n"}, "an id that cannot name a folder"),
        ({"version": 4.3}, "a version that is no text"),
        ({"version": float("nan")}, "a version that is no text"),
        ({"problem_statement": ["a"]}, "a problem_statement that is no text"),
        ({"problem_statement": "x \ud800"}, "half a character"),
        ({"eval_script": "\udfff"}, "half a character"),
    ],
)
def test_what_the_official_harness_cannot_digest_is_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError) as error:
        dataset_of(tmp_path, [ROW | change])
    assert fault in str(error.value)
    assert len(str(error.value)) < 600, "one line, whatever the row holds"


def test_ids_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a__a-1 and A__a-1 differ only in case"):
        dataset_of(tmp_path, [ROW, ROW | {"instance_id": "A__a-1"}])


def test_unsound_instances_can_be_left_out(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"instance_id": "a__a-2", "FAIL_TO_PASS": "[]"}]
    with pytest.raises(InputError, match=r"a__a-2 has no tests.*dataset\.exclude"):
        dataset_of(tmp_path, rows)
    for selection in ({"exclude": ["a__a-2"]}, {"select": ["id=a__a-1"]}, {"select": ["slice=0:1"]}):
        assert [i.instance_id for i in dataset_of(tmp_path, rows, **selection).instances] == ["a__a-1"]
    with pytest.raises(InputError, match="leaves no instance"):
        dataset_of(tmp_path, [ROW], exclude=["a__a-1"])


def test_python_style_lists_are_read(tmp_path: Path) -> None:
    (instance,) = dataset_of(tmp_path, [ROW | {"FAIL_TO_PASS": "['t.py::a', \"t.py::b['x']\"]"}]).instances
    assert instance.row["FAIL_TO_PASS"] == ["t.py::a", "t.py::b['x']"]


@pytest.mark.parametrize("form", ["split", "dict", "clone"])
def test_a_copy_of_a_hub_dataset_loads_without_the_hub(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "copy"
    table = datasets.Dataset.from_list([ROW])
    if form == "split":
        table.save_to_disk(str(folder))
    elif form == "dict":
        datasets.DatasetDict({"test": table}).save_to_disk(str(folder))
    else:
        (folder / "data").mkdir(parents=True)
        table.to_parquet(str(folder / "data" / "test-00000-of-00001.parquet"))
    assert [instance.instance_id for instance in load_dataset(DatasetConfig(name=str(folder))).instances] == ["a__a-1"]
    if form != "split":
        with pytest.raises(InputError, match="split 'dev'"):
            load_dataset(DatasetConfig(name=str(folder), split="dev"))


def test_an_earlier_name_of_a_hub_dataset_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentUnavailableError, match="dataset SWE-bench/SWE-bench_Verified"):
        load_dataset(DatasetConfig(name="princeton-nlp/SWE-bench_Verified"))


def test_duplicates_and_other_faults_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b__b-1 lacks image.*a__a-1 occurs 2 times"):
        dataset_of(tmp_path, [ROW, ROW, {**ROW, "instance_id": "b__b-1", "image": ""}])


def test_rows_are_read_by_what_the_file_holds_whatever_its_name_says(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"instance_id": "a__a-2"}]
    texts = {
        "lines.json": "".join(json.dumps(row) + "\n" for row in rows),
        "list.jsonl": json.dumps(rows),
        "indented.jsonl": json.dumps(rows, indent=2),
        "one.json": json.dumps(ROW) + "\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        found = load_dataset(DatasetConfig(name=str(tmp_path / name)))
        assert [one.instance_id for one in found.instances] == ["a__a-1", "a__a-2"][: 1 if name == "one.json" else 2]


def test_a_broken_line_is_named_by_number(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    for broken in ("{half", f'{{"a": {"9" * 5000}}}'):
        path.write_text(json.dumps(ROW) + "\n\n" + broken)
        with pytest.raises(InputError, match="line 3: not valid JSON"):
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
    with pytest.raises(EnvironmentUnavailableError, match=r"no-such/dataset, split test: .*give a .json"):
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


@pytest.mark.parametrize(
    ("row", "repository"),
    [
        ({"instance_id": "django__django-11099"}, "django/django"),
        ({"instance_id": "pytest-dev__pytest-7432", "repo": "pytest-dev/pytest"}, "pytest-dev/pytest"),
        ({"instance_id": f"instance_NodeBB__NodeBB-{'0a' * 20}-vnan"}, "NodeBB/NodeBB"),
        ({"instance_id": f"instance_a__b-{'0a' * 20}-v{'1b' * 20}", "repo": "a/b"}, "a/b"),
        ({"instance_id": f"instance_flipt-io__flipt-{'0a' * 20}"}, "flipt-io/flipt"),
        ({"instance_id": "psf__requests.1b2c3d4e.change__x1"}, "psf/requests"),
        ({"instance_id": "task-7", "repo": "owner/name"}, "owner/name"),
        ({"instance_id": "task-7", "repo": " "}, ""),
    ],
)
def test_the_repository_is_the_rows_else_the_ids(row: dict[str, str], repository: str) -> None:
    assert repositories_of([row]) == {row["instance_id"]: repository}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("sample", "sample"),
        ("SWE-bench/SWE-bench_Verified", "SWE-bench Verified"),
        ("lite", "SWE-bench Lite"),
        ("somebody/their-tasks", "somebody/their-tasks"),
        ("/data/tasks/swebench_verified.jsonl", "swebench_verified"),
        ("tasks/mine.parquet", "mine"),
        ("~/repos/my-tasks", "my-tasks"),
    ],
)
def test_a_title_is_a_name_and_no_path(name: str, title: str) -> None:
    assert dataset_title(name) == title
