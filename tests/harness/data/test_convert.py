"""Rows in the shape of other benchmarks become rows that the official harness grades, or a line that says why not."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.config import DatasetConfig
from harness.data.convert import convert_rows
from harness.data.convert.script import eval_script, files_with_tests
from harness.data.instances import Dataset, load_dataset
from harness.errors import InputError
from harness.grading.grader import Grader
from harness.grading.verdict import Verdict
from harness.importers.predictions import read_predictions

if TYPE_CHECKING:
    from docker import DockerClient

Row = dict[str, Any]
TEST_PATCH = """diff --git a/tests/test_old.py b/tests/test_old.py
index 1..2 100644
--- a/tests/test_old.py
+++ b/tests/test_old.py
@@ -1 +1 @@
-a
+b
diff --git a/tests/test new's.py b/tests/test new's.py
new file mode 100644
index 0..1
--- /dev/null
+++ b/tests/test new's.py
@@ -0,0 +1 @@
+new file mode 100644
diff --git a/tests/data.json b/tests/data.json
index 1..2 100644
--- a/tests/data.json
+++ b/tests/data.json
@@ -1 +1 @@
-1
+2
"""


def rebench(base: Mapping[str, Any]) -> Row:
    config = {
        "test_cmd": "python3 -m pytest -rA --tb=line",
        "log_parser": "parse_log_pytest",
        "install": "pip install .",
    }
    config |= {"packages": "requirements.txt", "python": "3.9", "pre_install": None}
    return {**base, "install_config": config, "image_name": "swerebench/sweb.eval.x86_64.a_1776_b-1", "meta": {}}


def live(base: Mapping[str, Any]) -> Row:
    commands = ["python3 -m pytest -rA " + " ".join(f"'{name}'" for name in files_with_tests(str(base["test_patch"])))]
    more = {"pull_number": "1", "issue_numbers": ["2"], "test_cmds": commands, "log_parser": "pytest"}
    return {name: value for name, value in base.items() if name != "version"} | more


def gym(base: Mapping[str, Any]) -> Row:
    return {**base, "repo": "getmoto/moto"}


SHAPES: dict[str, tuple[Callable[[Mapping[str, Any]], Row], str]] = {
    "SWE-rebench": (rebench, "swerebench/sweb.eval.x86_64.a_1776_b-1"),
    "SWE-bench-Live": (live, "starryzhang/sweb.eval.x86_64.owner_1776_name-7:latest"),
    "SWE-Gym": (gym, "xingyaoww/sweb.eval.x86_64.owner_s_name-7:latest"),
}
"""Source → a row in its shape, as its authors document it, and the image of `Owner__name-7`."""


def plain_row(**columns: Any) -> Row:
    """What all of them have."""
    return {
        "instance_id": "Owner__name-7", "repo": "Owner/name", "base_commit": "c0ffee", "problem_statement": "It fails.",
        "patch": "", "test_patch": TEST_PATCH, "version": "1.0", "hints_text": "", "created_at": "2024-01-01",
        "FAIL_TO_PASS": ["tests/test_old.py::test_a"], "PASS_TO_PASS": [], **columns,
    }  # fmt: skip


@pytest.mark.parametrize("source", SHAPES)
def test_a_converted_row_passes_the_checks_of_a_dataset(source: str, tmp_path: Path) -> None:
    make, image = SHAPES[source]
    (tmp_path / "rows.jsonl").write_text(json.dumps(make(plain_row())) + "\n")
    with pytest.raises(InputError, match=f"these are {source} rows: polyswe dataset convert"):
        load_dataset(DatasetConfig(name=str(tmp_path / "rows.jsonl")))
    out = tmp_path / "converted.jsonl"
    done = CliRunner().invoke(app, ["dataset", "convert", str(tmp_path / "rows.jsonl"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"1 {source} rows" in done.output
    (instance,) = load_dataset(DatasetConfig(name=str(out))).instances
    assert (instance.image, instance.row["log_parser"]) == (image, "parse_log_pytest")
    again = CliRunner().invoke(app, ["dataset", "convert", str(out), "--out", str(tmp_path / "twice.jsonl")])
    assert "use it as it is" in str(again.exception)


def test_the_script_brings_the_test_files_back_whatever_their_names(tmp_path: Path) -> None:
    script = eval_script(test_patch=TEST_PATCH, base_commit="HEAD", commands=["cat tests/*"], activation=())
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(tmp_path)]
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_old.py").write_text("a\n")
    (tmp_path / "tests" / "data.json").write_text("1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "tests" / "test_old.py").write_text("changed by the model\n")
    (tmp_path / "tests" / "test new's.py").write_text("written by the model\n")
    home = {**os.environ, "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    local = script.replace("cd /testbed", f"cd {tmp_path}")
    done = subprocess.run(["bash", "-c", local], capture_output=True, text=True, check=True, env=home)
    assert done.stdout.endswith("2\nnew file mode 100644\nb\n")
    assert (tmp_path / "tests" / "test_old.py").read_text() == "a\n"
    assert not (tmp_path / "tests" / "test new's.py").exists()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (rebench(plain_row()) | {"image_name": None}, "has no image; those with one are in the split 'filtered'"),
        (rebench(plain_row(test_patch="")), "has no test_patch"),
        (rebench(plain_row()) | {"install_config": {"test_cmd": None}}, "has no test command"),
        (rebench(plain_row()) | {"install_config": {"test_cmd": "x", "log_parser": "parse_log_odd"}}, "parse_log_odd"),
        (live(plain_row()) | {"log_parser": "def parse(log): ..."}, "a program that swebench 5 does not run"),
        (live(plain_row()) | {"docker_image": "starryzhang/sweb.eval.win.x"}, "Windows"),
        (gym(plain_row(FAIL_TO_PASS=[])), "FAIL_TO_PASS is empty"),
        ({"dockerhub_tag": "x", "fail_to_pass": "[]"}, "SWE-bench Pro rows cannot be converted, because"),
        (rebench(plain_row()) | {"image_name": "docker.io/swerebenchv2/owner-name:7-c0ffee"}, "SWE-rebench-V2 rows"),
        (plain_row(image_name="jyangballin/swesmith.x86_64.owner_1776_name.c0ffee"), "SWE-smith rows"),
        (plain_row(image_assets="{}"), "take SWE-bench/SWE-bench_Multimodal"),
        (plain_row(), "of no source that can be converted"),
    ],
)
def test_what_cannot_be_graded_is_said_in_one_line(row: Row, reason: str) -> None:
    with pytest.raises(InputError) as error:
        convert_rows([row], "rows.jsonl")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_rows_that_lack_something_are_left_out_and_counted() -> None:
    rows = [rebench(plain_row(instance_id=f"a__b-{k}")) for k in range(4)]
    rows[1]["image_name"] = rows[2]["image_name"] = ""
    converted = convert_rows(rows, "rows.jsonl")
    assert [row["instance_id"] for row in converted.rows] == ["a__b-0", "a__b-3"]
    assert list(converted.left_out.values()) == [2]


def test_mypys_tests_are_chosen_by_case() -> None:
    patch = "diff --git a/test-data/unit/check.test b/test-data/unit/check.test\n--- a/x\n+++ b/x\n+[case testOne]\n"
    (row,) = convert_rows([gym(plain_row(test_patch=patch)) | {"repo": "python/mypy"}], "rows").rows
    assert "pytest -n0 -rA -k testOne\n" in row["eval_script"]


def test_reference_patches_are_predictions_of_the_instances_chosen(tmp_path: Path) -> None:
    out = tmp_path / "gold.jsonl"
    done = CliRunner().invoke(app, ["dataset", "gold", "sample", "--select", "id=*csvquill*", "--out", str(out)])
    assert done.exit_code == 0, done.output
    (prediction,) = read_predictions(out).predictions
    assert (prediction.instance_id, prediction.model) == ("polyswe__csvquill-403", "gold")
    (instance,) = load_dataset(DatasetConfig(name="sample", select=["id=*csvquill*"])).instances
    assert prediction.patch == instance.row["patch"]


@pytest.mark.docker
@pytest.mark.parametrize("source", SHAPES)
def test_converted_rows_are_graded_like_their_originals(
    source: str, tmp_path: Path, sample: Dataset, engine: DockerClient
) -> None:
    """An instance of the sample in each source's shape, converted back: the fix resolves it, nothing else does."""
    original = next(instance for instance in sample.instances if "csvquill" in instance.instance_id)
    columns = ("instance_id", "repo", "problem_statement", "patch", "test_patch", "FAIL_TO_PASS", "version")
    base = {name: original.row[name] for name in columns} | {"base_commit": "HEAD"}
    # these sources run the files of the test patch alone, and list no tests of other files
    files = files_with_tests(str(base["test_patch"]))
    base["PASS_TO_PASS"] = [test for test in original.row["PASS_TO_PASS"] if test.partition("::")[0] in files]
    assert base["PASS_TO_PASS"]
    (row,) = convert_rows([SHAPES[source][0](base)], "rows").rows
    if source == "SWE-Gym":  # the option belongs to a plug-in that the sample's image lacks
        row = {**row, "eval_script": row["eval_script"].replace("pytest -n0 -rA", "python3 -m pytest -rA")}
    instance = replace(original, row={**row, "image": original.image})
    wrong = "diff --git a/N b/N\nnew file mode 100644\n--- /dev/null\n+++ b/N\n@@ -0,0 +1 @@\n+no fix\n"
    with Grader(f"test-convert-{os.getpid()}", tmp_path / "scratch", workers=1, timeout=60, attempts=1) as grader:
        verdicts = [
            grader.grade(instance, "m", patch, tmp_path / str(k)).verdict
            for k, patch in enumerate((str(base["patch"]), wrong, ""))
        ]
    assert verdicts == [Verdict.RESOLVED, Verdict.UNRESOLVED, Verdict.EMPTY_PATCH]
