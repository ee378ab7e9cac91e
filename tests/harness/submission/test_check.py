"""No verdict of a package is believed without its log, and no list without the others."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.data.rows import load_rows
from harness.errors import EXIT_ENVIRONMENT, EXIT_FINDINGS, EXIT_INPUT, EXIT_OK, InputError
from harness.submission.check import Checked, check_package
from harness.submission.packages import Datasets, find_packages
from harness.submission.trajectories import instance_of

IDS = [str(row["instance_id"]) for row in load_rows("sample")]
Check = Callable[[Path], Checked]


def change_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def forge_results(entry: Path, public: Path) -> None:
    change_json(entry / "results/results.json", lambda lists: lists["resolved"].append(IDS[4]))  # type: ignore[attr-defined]


def forge_report(entry: Path, public: Path) -> None:
    (public / "logs" / IDS[4] / "report.json").write_text(json.dumps({IDS[4]: {"resolved": True}}))


def forge_everything_but_the_log(entry: Path, public: Path) -> None:
    forge_results(entry, public)
    forge_report(entry, public)
    change_json(entry / "per_instance_details.json", lambda d: d[IDS[4]].update(resolved=True))  # type: ignore[attr-defined]


def swap_patch(entry: Path, public: Path) -> None:
    (public / "logs" / IDS[0] / "patch.diff").write_text("diff --git a/y b/y\n")


def drop_log(entry: Path, public: Path) -> None:
    (public / "logs" / IDS[0] / "test_output.txt").unlink()


def drop_trajectory(entry: Path, public: Path) -> None:
    (public / "trajs" / f"{IDS[1]}.traj.json").unlink()


def second_attempt(entry: Path, public: Path) -> None:
    file = public / "all_preds.jsonl"
    file.write_text(file.read_text() + file.read_text().splitlines()[2] + "\n")


def drop_prediction(entry: Path, public: Path) -> None:
    file = public / "all_preds.jsonl"
    file.write_text("".join(line + "\n" for line in file.read_text().splitlines()[1:]))


def tell_hints(entry: Path, public: Path) -> None:
    name = next(row["FAIL_TO_PASS"] for row in load_rows("sample") if row["instance_id"] == IDS[5])
    test = (json.loads(name) if isinstance(name, str) else name)[0]
    prompt = {"messages": [{"role": "user", "content": f"make {test} pass"}, {"role": "assistant", "content": ""}]}
    (public / "trajs" / f"{IDS[5]}.traj.json").write_text(json.dumps(prompt))


def leak_key(entry: Path, public: Path) -> None:
    (public / "trajs" / f"{IDS[6]}.traj.json").write_text('{"messages": [], "key": "sk-ant-' + "a1" * 20 + '"}')


def oversize(entry: Path, public: Path) -> None:
    with (public / "trajs" / f"{IDS[7]}.traj.json").open("r+b") as file:
        file.truncate(51 * 1024 * 1024)


def break_metadata(entry: Path, public: Path) -> None:
    (entry / "metadata.yaml").write_text("info: [")


def wrong_breakdown(entry: Path, public: Path) -> None:
    change_json(entry / "results/resolved_by_repo.json", lambda table: next(iter(table.values())).update(total=9))  # type: ignore[call-overload]


def tags_of_nothing(entry: Path, public: Path) -> None:
    change_metadata(entry, None)


def tags_of_text(entry: Path, public: Path) -> None:
    change_metadata(entry, "2+")


def tags_of_a_list(entry: Path, public: Path) -> None:
    change_metadata(entry, [{"attempts": "1"}])


def change_metadata(entry: Path, system: object) -> None:
    content = yaml.safe_load((entry / "metadata.yaml").read_text())
    content["tags"]["system"] = system
    (entry / "metadata.yaml").write_text(yaml.safe_dump(content))


def impossible_date(entry: Path, public: Path) -> None:
    (entry / "metadata.yaml").write_text("info: {name: x, site: 2026-13-45}")


def add_prediction(public: Path, row: object) -> None:
    file = public / "all_preds.jsonl"
    file.write_text(file.read_text() + json.dumps(row) + "\n")


def id_of_a_list(entry: Path, public: Path) -> None:
    add_prediction(public, {"instance_id": [1], "model_name_or_path": "x", "model_patch": ""})


def name_of_a_number(entry: Path, public: Path) -> None:
    add_prediction(public, {"instance_id": "a", "model_name_or_path": 7, "model_patch": {}})


def half_a_character(entry: Path, public: Path) -> None:
    add_prediction(public, {"instance_id": "a", "model_name_or_path": "x", "model_patch": "\ud800"})


def predictions_of_bytes(entry: Path, public: Path) -> None:
    (public / "all_preds.jsonl").write_bytes(b"\xff\xfe")


def half_a_log(entry: Path, public: Path) -> None:
    log = public / "logs" / IDS[0] / "test_output.txt"
    log.with_name("test_output.txt.gz").write_bytes(gzip.compress(log.read_bytes())[:-12])
    log.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (forge_results, f"results.json says resolved, its log does not: {IDS[4]}"),
        (forge_report, f"report.json says resolved, the test output says otherwise: {IDS[4]}"),
        (forge_everything_but_the_log, f"results.json says resolved, its log does not: {IDS[4]}"),
        (swap_patch, f"patch.diff is not the prediction's patch: {IDS[0]}"),
        (drop_log, f"report.json without a test output: {IDS[0]}"),
        (drop_trajectory, f"no trajectory in trajs/ of: {IDS[1]}"),
        (second_attempt, f"{IDS[2]} a second time"),
        (drop_prediction, f"no prediction of: {IDS[0]}"),
        (tell_hints, f"names of the hidden tests of: {IDS[5]}"),
        (leak_key, "Anthropic key"),
        (oversize, "51 MB, the limit is 50 MB"),
        (break_metadata, "metadata.yaml: not valid YAML"),
        (wrong_breakdown, "resolved_by_repo.json contradicts"),
        (tags_of_nothing, "tags.system.attempts is None"),
        (tags_of_text, "tags.system is not a table"),
        (tags_of_a_list, "tags.system is not a table"),
        (impossible_date, "metadata.yaml: not valid YAML"),
        (id_of_a_list, "line 16: instance_id not text"),
        (name_of_a_number, "line 16: model_name_or_path, model_patch not text"),
        (half_a_character, "line 16: model_patch not text"),
        (predictions_of_bytes, "all_preds.jsonl: not readable as text"),
        (half_a_log, "test_output.txt.gz cannot be graded (a damaged file"),
    ],
)
def test_a_damaged_package_is_refused_by_name(
    package: Path,
    entry: Path,
    public: Path,
    check: Check,
    damage: Callable[[Path, Path], None],
    message: str,
) -> None:
    damage(entry, public)
    faults = check(package).findings.faults
    assert any(message in fault for fault in faults), faults


def test_ids_with_dots_find_their_trajectories() -> None:
    names = ["mrdoob__three.js-25687.traj.json", "mrdoob__three.js-26589", "django__django-1.traj.json"]
    known = dict.fromkeys(["mrdoob__three.js-25687", "mrdoob__three.js-26589", "django__django-1"])
    assert [instance_of(name, known) for name in names] == list(known)
    assert instance_of("x__y.z-1.traj.json", known) not in known


@pytest.mark.parametrize("forget", ["the row", "how its log is read"])
def test_a_forged_verdict_is_no_sound_one_where_nothing_can_be_graded(
    package: Path, entry: Path, public: Path, forget: str
) -> None:
    class Partly(Datasets):
        def rows(self, split: str) -> dict[str, object] | None:  # type: ignore[override]
            if forget == "the row":
                self.reasons[split] = "not at hand"
                return None
            return {
                str(r["instance_id"]): {k: v for k, v in r.items() if k != "log_parser"} for r in load_rows("sample")
            }

    (packaged,) = find_packages(package)
    honest = check_package(packaged, Partly())
    assert (honest.findings.faults, honest.regraded) == ([], 0)
    assert any("14 logs could not be graded again" in line for line in honest.findings.lines())
    forge_results(entry, public)
    faults = check_package(packaged, Partly()).findings.faults
    assert f"results.json says resolved, its report.json does not: {IDS[4]}" in faults


def test_the_command_ends_with_1_for_a_forged_verdict_and_0_for_an_honest_one(
    package: Path, entry: Path, public: Path
) -> None:
    command = [sys.executable, "-m", "harness", "submit", "--check", str(package)]
    assert subprocess.run(command, capture_output=True).returncode == EXIT_OK
    forge_everything_but_the_log(entry, public)
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == EXIT_FINDINGS
    assert IDS[4] in ended.stdout


def test_entries_of_others_are_read_and_their_contradictions_named(tmp_path: Path, check: Check) -> None:
    entry = tmp_path / "evaluation" / "sample" / "20250101_someone"
    (entry / "results").mkdir(parents=True)
    lists = {"no_generation": [IDS[0]], "no_logs": [], "resolved": [IDS[0], IDS[1], IDS[1], "django__django-1"]}
    (entry / "results" / "results.json").write_text(json.dumps(lists))
    faults = check(tmp_path).findings.faults
    assert any(f"twice in 'resolved': {IDS[1]}" in fault for fault in faults)
    assert any(f"in 'resolved' and in 'no_generation': {IDS[0]}" in fault for fault in faults)
    assert any("not among the 15 instances of the dataset: django__django-1" in fault for fault in faults)
    assert any("metadata.yaml: missing" in fault for fault in faults)
    with pytest.raises(InputError, match="this is no package"):
        find_packages(entry / "results")


def test_every_recorded_submission_is_checked_without_a_crash(shared_data: Path) -> None:
    packages = find_packages(shared_data / "outcomes" / "experiments")
    datasets = Datasets(str(shared_data / "tasks" / "swebench_verified.jsonl"))
    results = [check_package(package, datasets) for package in packages]
    assert len(results) == 134
    assert {result.name for result in results if result.findings.faults} == set()
    assert all(any("could not be derived" in line for line in result.findings.lines()) for result in results)


@pytest.mark.parametrize(
    ("patch", "output", "sign"),
    [
        ("diff --git a/conftest.py b/conftest.py\n--- a/conftest.py\n+++ b/conftest.py\n", "", "tests are configured"),
        ("diff --git a/x b/x\n", ">>>>> End Test Output\n", "a second mark of the evaluation script"),
    ],
)
@pytest.mark.parametrize("gradable", [True, False])
def test_passes_that_may_be_faked_are_noted(
    package: Path, public: Path, patch: str, output: str, sign: str, gradable: bool
) -> None:
    class Sample(Datasets):
        def rows(self, split: str) -> dict[str, object] | None:  # type: ignore[override]
            without = () if gradable else ("log_parser",)
            rows = load_rows("sample")
            return {str(row["instance_id"]): {k: v for k, v in row.items() if k not in without} for row in rows}

    lines = [json.loads(line) for line in (public / "all_preds.jsonl").read_text().splitlines()]
    for number in (0, 4):  # one that is resolved and one that is not
        lines[number]["model_patch"] = patch
        logs = public / "logs" / IDS[number]
        (logs / "patch.diff").write_text(patch)
        (logs / "test_output.txt").write_text((logs / "test_output.txt").read_text() + output)
    (public / "all_preds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (packaged,) = find_packages(package)
    findings = check_package(packaged, Sample()).findings
    assert findings.faults == []
    noted = [line for line in findings.lines() if sign in line]
    # what only the log shows is seen where the log is read
    assert [line.rpartition(": ")[2] for line in noted] == ([IDS[0]] if gradable or not output else [])


@pytest.mark.parametrize("forged", [False, True])
def test_logs_of_instances_without_a_script_are_graded_again(
    shared_data: Path, tmp_path: Path, check: Check, forged: bool
) -> None:
    """The rows made before swebench 5 say how a log is read, by repository, but not how the tests are run."""
    dataset = shared_data / "tasks" / "swebench_verified.jsonl"
    rows = {str(row["instance_id"]): row for row in load_rows(str(dataset))}
    lines = {  # what each runner prints of a test that passed and of one that failed
        "django__django-11099": ("{} ... ok", "{} ... FAIL"),
        "sympy__sympy-12481": ("{} ok", "{} F"),
        "pytest-dev__pytest-10051": ("PASSED {}", "FAILED {}"),
        "psf__requests-1724": ("PASSED {}", "FAILED {}"),
        "mwaskom__seaborn-3069": ("PASSED {}", "FAILED {}"),
    }
    entry, public = tmp_path / "evaluation" / "verified" / "20250101_x", tmp_path / "submission-repo"
    (entry / "results").mkdir(parents=True)
    (public / "logs").mkdir(parents=True)
    failing = "sympy__sympy-12481"
    for instance, (passed, failed) in lines.items():
        folder = public / "logs" / instance
        folder.mkdir()
        tests = {name: json.loads(rows[instance][name]) for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}
        output = [(failed if instance == failing else passed).format(test) for test in tests["FAIL_TO_PASS"]]
        output += [passed.format(test) for test in tests["PASS_TO_PASS"]]
        (folder / "test_output.txt").write_text(
            "\n".join([">>>>> Start Test Output", *output, ">>>>> End Test Output", ""])
        )
        (folder / "patch.diff").write_text("diff --git a/x b/x\n")
        (folder / "report.json").write_text(json.dumps({instance: {"resolved": forged or instance != failing}}))
    predictions = [
        {"instance_id": name, "model_name_or_path": "x", "model_patch": "diff --git a/x b/x\n"} for name in lines
    ]
    (public / "all_preds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in predictions))
    (public / "polyswe.json").write_text(json.dumps({"partial": True, "models": dict.fromkeys(lines, "x")}))
    resolved = [name for name in lines if forged or name != failing]
    lists = {"no_generation": [], "no_logs": [], "resolved": resolved}
    (entry / "results" / "results.json").write_text(json.dumps(lists))
    (packaged,) = find_packages(tmp_path)
    result = check_package(packaged, Datasets(str(dataset)))
    assert result.regraded == len(lines)
    contradictions = [
        f"results.json says resolved, its log does not: {failing}",
        f"report.json says resolved, the test output says otherwise: {failing}",
    ]
    assert {fault for fault in result.findings.faults if "says" in fault} == set(contradictions if forged else [])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], EXIT_INPUT, "nowhere: no such folder"),
        (["{package}", "--dataset", "nothing.jsonl"], EXIT_INPUT, "dataset nothing.jsonl: no such file"),
        (
            ["{package}", "--dataset", "nobody/nothing"],
            EXIT_ENVIRONMENT,
            "dataset nobody/nothing, split test: not a file",
        ),
    ],
)
def test_unreadable_input_and_a_missing_environment_are_no_findings(
    package: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    command = [sys.executable, "-m", "harness", "submit", "--check"]
    ended = subprocess.run(
        [*command, *(argument.format(package=package) for argument in arguments)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == code, ended.stderr
    assert f"polyswe: {message}" in ended.stderr


def test_a_terminal_of_another_encoding_changes_nothing(package: Path, entry: Path) -> None:
    entry.rename(entry.with_name("20250101_naïve–系统"))
    command = [sys.executable, "-m", "harness", "submit", "--check", str(package)]
    ended = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ended.returncode == EXIT_FINDINGS, ended.stderr
    assert b"has no plain name behind its date" in ended.stdout
