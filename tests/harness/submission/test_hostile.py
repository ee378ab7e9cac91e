"""A package may hold anything: its check reads within limits, follows no link, opens no pipe, and always ends."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.commands.submit import _check
from harness.data.rows import load_rows
from harness.errors import EXIT_FINDINGS, EXIT_INTERNAL, EXIT_OK, InputError
from harness.submission.check import Checked, check_package, check_packages
from harness.submission.evidence import LogGrader
from harness.submission.findings import MAX_FINDINGS, MAX_LENGTH
from harness.submission.packages import Datasets, Package, find_packages
from harness.submission.tree import MAX_UNPACKED_BYTES, Tree

IDS = [str(row["instance_id"]) for row in load_rows("sample")]
Check = Callable[[Path], Checked]
Change = Callable[[Path, Path], object]
DEEP = "[" * 200_000 + "]" * 200_000


def bomb(levels: int = 12) -> str:
    """YAML of a few hundred bytes that stands for 10**12 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join([*lines, "info: {name: x}", ""])


def zeros(path: Path, size: int) -> None:
    """A gzip file of a few hundred kilobytes that unpacks to `size` bytes."""
    member = gzip.compress(bytes(2**20))
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(member)


def sparse(path: Path, size: int = 2**40) -> None:
    """A file of a terabyte that takes no place on the disk."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def replaced_by_link(path: Path, target: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(target)


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replaced_by_socket(path: Path, _: Path) -> None:
    path = path / "README.md"
    path.unlink()
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # a socket's whole path might be longer than the 107 bytes it may have


def log(public: Path, name: str = "test_output.txt", instance: str = IDS[0]) -> Path:
    return public / "logs" / instance / name


def packed_bomb(entry: Path, public: Path) -> None:
    log(public).unlink()
    zeros(log(public, "test_output.txt.gz"), MAX_UNPACKED_BYTES + 2**20)


def deep_folders(entry: Path, public: Path) -> None:
    (public / "logs" / Path(*"d" * 100)).mkdir(parents=True)


def elsewhere(entry: Path, _: Path) -> Path:
    """A folder outside of the package with a key that must not be read."""
    folder = entry.parents[3] / "elsewhere"
    folder.mkdir()
    (folder / "secret.json").write_text('{"key": "sk-ant-' + "a1" * 20 + '"}')
    return folder


def linked_predictions(entry: Path, public: Path) -> None:
    replaced_by_link(public / "all_preds.jsonl", elsewhere(entry, public) / "secret.json")


def linked_logs(entry: Path, public: Path) -> None:
    replaced_by_link(public / "logs", elsewhere(entry, public))


def linked_public_tree(entry: Path, public: Path) -> None:
    target = elsewhere(entry, public) / "public"
    public.rename(target)
    public.symlink_to(target)


def linked_lists(entry: Path, public: Path) -> None:
    replaced_by_link(entry / "results", elsewhere(entry, public))


def deep_prediction(entry: Path, public: Path) -> None:
    with (public / "all_preds.jsonl").open("a") as file:
        file.write(DEEP + "\n")


def long_number(entry: Path, public: Path) -> None:
    (entry / "per_instance_details.json").write_text("1" * 5000)


def long_prediction(entry: Path, public: Path) -> None:
    with (public / "all_preds.jsonl").open("a") as file:
        file.write(" " * 17_000_000 + "{}\n")


def large_log(entry: Path, public: Path) -> None:
    sparse(log(public), MAX_UNPACKED_BYTES + 1)


HOSTILE: dict[str, tuple[Change, str]] = {
    "YAML aliases that multiply": (
        lambda entry, _: (entry / "metadata.yaml").write_text(bomb()),
        "metadata.yaml: not valid YAML (its aliases multiply",
    ),
    "deep YAML": (
        lambda entry, _: (entry / "metadata.yaml").write_text("[" * 5000),
        "metadata.yaml: not valid YAML (nested too deeply",
    ),
    "a terabyte of metadata": (
        lambda entry, _: sparse(entry / "metadata.yaml"),
        "metadata.yaml: larger than 1 MB",
    ),
    "a terabyte of README": (lambda entry, _: sparse(entry / "README.md"), "README.md: larger than 1 MB"),
    "a terabyte of results": (
        lambda entry, _: sparse(entry / "results" / "results.json"),
        "results/results.json: larger than 16 MB",
    ),
    "a terabyte of predictions": (
        lambda _, public: sparse(public / "all_preds.jsonl"),
        "all_preds.jsonl: larger than 50 MB",
    ),
    "a terabyte of trajectory": (
        lambda _, public: sparse(public / "trajs" / f"{IDS[0]}.traj.json"),
        "1048576 MB, the limit is 50 MB",
    ),
    "a terabyte of patch": (
        lambda _, public: sparse(log(public, "patch.diff")),
        f"patch.diff is not the prediction's patch: {IDS[0]}",
    ),
    "a terabyte of report": (
        lambda _, public: sparse(log(public, "report.json")),
        f"a passing test output without report.json: {IDS[0]}",
    ),
    "a large log": (large_log, "test_output.txt cannot be graded (larger than 256 MB)"),
    "a log that unpacks without end": (packed_bomb, "test_output.txt.gz cannot be graded (unpacks to more than 256 MB"),
    "an archive that is none": (
        lambda _, public: log(public, "test_output.txt.gz").write_bytes(log(public).read_bytes()),
        "test_output.txt.gz: not searched for keys (a damaged file",
    ),
    "deep results": (
        lambda entry, _: (entry / "results" / "results.json").write_text(DEEP),
        "results/results.json: not readable as JSON (nested too deeply)",
    ),
    "deep report": (
        lambda _, public: log(public, "report.json").write_text(DEEP),
        f"a passing test output without report.json: {IDS[0]}",
    ),
    "a deep prediction": (deep_prediction, "all_preds.jsonl line 16: not readable as JSON (nested too deeply)"),
    "a long prediction": (long_prediction, "all_preds.jsonl line 16: longer than 16 MB"),
    "a number of thousands of digits": (long_number, "per_instance_details.json: not valid JSON (a number"),
    "results that are null": (
        lambda entry, _: (entry / "results" / "results.json").write_text("null"),
        "results/results.json: not a table",
    ),
    "a link to predictions elsewhere": (linked_predictions, "all_preds.jsonl: a symbolic link, which is not followed"),
    "a link to logs elsewhere": (linked_logs, "logs: a symbolic link, which is not followed"),
    "a link to the public tree": (linked_public_tree, "submission-repo: a symbolic link, which is not followed"),
    "a link to lists elsewhere": (linked_lists, "results: a symbolic link, which is not followed"),
    "a link to a device": (
        lambda _, public: replaced_by_link(log(public), Path("/dev/zero")),
        f"logs/{IDS[0]}/test_output.txt: a symbolic link, which is not followed",
    ),
    "a pipe for results": (
        lambda entry, _: replaced_by_pipe(entry / "results" / "results.json"),
        "results/results.json: a pipe, socket or device, which is not opened",
    ),
    "a pipe for predictions": (
        lambda _, public: replaced_by_pipe(public / "all_preds.jsonl"),
        "all_preds.jsonl: a pipe, socket or device, which is not opened",
    ),
    "a pipe for a log": (
        lambda _, public: replaced_by_pipe(log(public)),
        f"logs/{IDS[0]}/test_output.txt: a pipe, socket or device, which is not opened",
    ),
    "a socket": (replaced_by_socket, "README.md: a pipe, socket or device, which is not opened"),
    "a hundred folders deep": (deep_folders, "more than 16 folders deep, which is not checked"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_faults_and_are_not_read(
    package: Path, entry: Path, public: Path, check: Check, case: str
) -> None:
    change, message = HOSTILE[case]
    change(entry, public)
    findings = check(package).findings
    assert any(message in fault for fault in findings.faults), findings.lines()
    assert not any("Anthropic key" in fault for fault in findings.faults)  # what lies elsewhere was not read


def test_a_deep_trajectory_is_counted_as_not_searched(package: Path, public: Path, check: Check) -> None:
    (public / "trajs" / f"{IDS[0]}.traj.json").write_text(DEEP)
    findings = check(package).findings
    assert findings.faults == []
    assert any(line.startswith("note: 1 trajectories are too large or not") for line in findings.lines())


def test_names_and_texts_of_a_package_cannot_steer_a_terminal(
    package: Path, entry: Path, public: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (public / "logs" / "\x1b[2J\x1b]0;owned\x07evil\nsound  20250101_other: 500 resolved").mkdir()
    (public / "logs" / os.fsdecode(b"\xff\xfe")).mkdir()
    with (public / "all_preds.jsonl").open("a") as file:
        file.write(json.dumps({"instance_id": "\x1b[31m\u202e" * 1000, "model_name_or_path": "", "model_patch": ""}))
    entry.rename(entry.with_name("20250101_\x1b[2Jx"))
    assert _check(package, None, []) == EXIT_FINDINGS
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "\x07" not in printed
    assert [line for line in printed.splitlines() if line.startswith(("sound", "FAULTY"))] == printed.splitlines()[:1]
    assert max(map(len, printed.splitlines())) < MAX_LENGTH + 100


def test_a_flood_of_findings_is_counted(package: Path, public: Path, check: Check) -> None:
    (public / "all_preds.jsonl").write_text("{}\n" * 50_000)
    faults = check(package).findings.faults
    assert len(faults) == MAX_FINDINGS + 1
    assert faults[-1].startswith("and 49")


def test_what_systems_and_older_harnesses_leave_is_no_fault(
    package: Path, entry: Path, public: Path, check: Check
) -> None:
    before = check(package).findings
    for folder in (entry, public, public / "logs", public / "trajs", public / "logs" / IDS[0]):
        for name in (".DS_Store", "._all_preds.jsonl", "Thumbs.db", "desktop.ini", ".gitkeep"):
            (folder / name).write_bytes(b"\0\1Bud1")
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._x").write_bytes(b"\0")
    (public / ".git" / "objects").mkdir(parents=True)
    (public / ".git" / "config").write_text("[core]\n")
    for name in ("eval.sh", "run_instance.log"):
        log(public, name).write_text("echo\n")
    log(public, "image_build_dir").symlink_to("/testbed/logs/build_images/env")
    for ending in (".pred", ".patch", ".config.yaml", ".debug.log", ".trace.log"):
        (public / "trajs" / f"{IDS[0]}{ending}").write_text("x")
    findings = check(package).findings
    assert findings.faults == before.faults == []
    assert any("left by a system or an editor: .DS_Store, ._all_preds.jsonl, ._x" in line for line in findings.lines())
    assert any("1 links of older harnesses" in line for line in findings.lines())


def test_logs_of_the_layout_before_2024_are_named_as_unproven(package: Path, public: Path, check: Check) -> None:
    for folder in list((public / "logs").iterdir()):
        (public / "logs" / f"{folder.name}.some-model.eval.log").write_text(">>>>> Applied Patch\n")
        shutil.rmtree(folder)
    result = check(package)
    assert result.findings.faults == []
    assert result.regraded == 0
    assert any("14 logs are of the layout before June 2024" in line for line in result.findings.lines())


def test_a_tree_lists_no_more_than_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.submission.tree.MAX_FILES", 50)
    for number in range(60):
        (tmp_path / f"{number:03}").touch()
    tree = Tree(tmp_path)
    assert len(tree.sizes) == 50
    assert tree.faults == ["more than 50 files: the others are not checked"]


@pytest.fixture(scope="module")
def impatient() -> Iterator[LogGrader]:
    grader = LogGrader(seconds=3)
    yield grader
    grader.close()


def test_a_log_that_its_parser_takes_hours_for_is_given_up(package: Path, public: Path, impatient: LogGrader) -> None:
    class Sympy(Datasets):
        def rows(self, split: str) -> dict[str, object] | None:  # type: ignore[override]
            return {str(r["instance_id"]): {**r, "log_parser": "parse_log_sympy"} for r in load_rows("sample")}

    endless = "_" * 1_000_000  # the parser tries every pair of a beginning and an end
    log(public).write_text(f">>>>> Start Test Output\n{endless}\n>>>>> End Test Output\n")
    (packaged,) = find_packages(package)
    result = check_package(packaged, Sympy(), grader=impatient)
    message = f"test_output.txt cannot be graded (not graded within 3 s of processor time and 6 GB of memory): {IDS[0]}"
    assert any(message in fault for fault in result.findings.faults), result.findings.faults
    assert result.regraded == 13  # the others are graded by a new process


def test_one_bad_package_does_not_end_the_check_of_the_others(package: Path, entry: Path, tmp_path: Path) -> None:
    split = tmp_path / "many" / "verified"
    for number in range(3):
        shutil.copytree(entry, split / f"2025010{number}_entry")
    replaced_by_pipe(split / "20250100_entry" / "results" / "results.json")
    shutil.rmtree(split / "20250101_entry" / "results")
    (split / "20250104_link").symlink_to("/etc")
    (split / ".DS_Store").touch()

    class Sample(Datasets):
        def rows(self, split: str) -> dict[str, object] | None:  # type: ignore[override]
            return {str(row["instance_id"]): row for row in load_rows("sample")}

    results = {result.name: result.findings.faults for result in check_packages(find_packages(split), Sample())}
    assert list(results) == ["20250100_entry", "20250101_entry", "20250102_entry", "20250104_link"]
    assert results["20250101_entry"] == ["results/results.json: missing"]
    assert results["20250102_entry"] == []
    assert "20250104_link: a symbolic link, which is not followed" in results["20250104_link"]


@pytest.mark.parametrize("faulty", [False, True])
def test_what_polyswe_itself_fails_at_is_no_finding_about_the_package(
    package: Path, entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    faulty: bool,
) -> None:  # fmt: skip
    split = tmp_path / "many" / "sample"
    for number in range(2):
        shutil.copytree(entry, split / f"2025010{number}_entry")
    if faulty:
        (split / "20250101_entry" / "metadata.yaml").unlink()
    monkeypatch.setattr("harness.submission.check._manifest", fails_at_the_first(split))
    assert _check(split, None, []) == (EXIT_FINDINGS if faulty else EXIT_INTERNAL)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("ERROR   20250100_entry")
    assert "ZeroDivisionError" in printed[1]
    assert printed[2].startswith("FAULTY  20250101_entry" if faulty else "sound   20250101_entry")


def fails_at_the_first(split: Path) -> Callable[[object], dict[str, object]]:
    calls: list[object] = []

    def fail(public: object) -> dict[str, object]:
        calls.append(public)
        return {"calls": 1 // (len(calls) - 1)}

    return fail


def test_a_package_reached_by_a_link_that_was_named_is_checked(package: Path, tmp_path: Path, check: Check) -> None:
    (tmp_path / "named").symlink_to(package)
    assert check(tmp_path / "named").findings.faults == []
    assert _check(tmp_path / "named", None, []) == EXIT_OK


@pytest.mark.parametrize("kind", ["missing", "a file", "a pipe", "empty"])
def test_what_is_no_folder_of_packages_is_bad_input(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    {"missing": lambda: None, "a file": place.touch, "a pipe": lambda: os.mkfifo(place), "empty": place.mkdir}[kind]()
    with pytest.raises(InputError, match=r"no such folder|not a folder|this is no package"):
        find_packages(place)


def test_a_package_of_one_folder_is_its_own_public_tree(package: Path, entry: Path, public: Path, check: Check) -> None:
    for path in public.iterdir():
        path.rename(entry / path.name)
    public.rmdir()
    assert find_packages(package) == [Package(entry, entry)]
    assert check(package).findings.faults == []
