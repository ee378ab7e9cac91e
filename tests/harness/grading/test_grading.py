"""Verdicts are the official harness's, cell by cell, and failures that are not the model's are told apart."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.data.instances import Dataset, Instance
from harness.docker.engine import RUN_LABEL, connect
from harness.files import slug
from harness.grading.grader import Grader
from harness.grading.settings import GradingContainer
from harness.grading.verdict import Grade, Verdict

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = f"test-grading-{os.getpid()}"
WRONG = (
    "diff --git a/NOTES.txt b/NOTES.txt\nnew file mode 100644\n--- /dev/null\n+++ b/NOTES.txt\n@@ -0,0 +1 @@\n+no fix\n"
)
UNAPPLIABLE = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-not in any file\n+at all\n context\n"
NO_KILL = f"polyswe-test-no-kill:{os.getpid()}"
OFFICIAL = {
    Verdict.RESOLVED: "resolved_ids",
    Verdict.UNRESOLVED: "unresolved_ids",
    Verdict.EMPTY_PATCH: "empty_patch_ids",
    Verdict.PATCH_FAILED: "error_ids",
    Verdict.TEST_TIMEOUT: "error_ids",
}
"""Where the official report lists instances of each of our verdicts."""


@pytest.fixture
def grader(tmp_path: Path, engine: DockerClient) -> Iterator[Grader]:
    with Grader(LABEL, tmp_path / "scratch", workers=2, timeout=180, attempts=1) as grader:
        yield grader
    assert engine.containers.list(all=True, filters={"label": f"{RUN_LABEL}={LABEL}"}, ignore_removed=True) == []


def changed(instance: Instance, instance_id: str, **columns: Any) -> Instance:
    row = {**instance.row, "instance_id": instance_id, **columns}
    return replace(instance, instance_id=instance_id, image=row["image"], row=row)


def overdue(instance: Instance, instance_id: str) -> Instance:
    """The same instance with tests that never end."""
    script = instance.row["eval_script"].replace("python3 -m pytest", "sleep 3600; python3 -m pytest")
    return changed(instance, instance_id, eval_script=script)


def officially(folder: Path, rows: list[Instance], patches: dict[str, str], timeout: int) -> dict[str, str]:
    """Instance id → list of the official report it stands in, by `swebench eval` itself."""
    folder.mkdir()
    (folder / "data.json").write_text(json.dumps([dict(row.row) for row in rows], default=str))
    predictions = [
        {"instance_id": instance_id, "model_name_or_path": "m", "model_patch": patch}
        for instance_id, patch in patches.items()
    ]
    (folder / "preds.json").write_text(json.dumps(predictions))
    command = [
        str(Path(sys.executable).parent / "swebench"),
        "eval",
        "data.json",
        "-p",
        "preds.json",
        "--run-id",
        f"official-{os.getpid()}",
        "-j",
        "8",
        "-t",
        str(timeout),
    ]
    report = folder / f"m.official-{os.getpid()}.json"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    if not report.is_file():  # its summary fails when any container on the engine goes while it lists them: once more
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert report.is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    lists = json.loads(report.read_text())
    return {instance_id: name for name in set(OFFICIAL.values()) for instance_id in lists[name]}


@pytest.mark.slow
@pytest.mark.docker
def test_verdicts_equal_the_official_command_line_on_the_whole_sample(
    tmp_path: Path, sample: Dataset, grader: Grader
) -> None:
    """Gold, wrong, empty and unappliable predictions, each of every instance, in one official run and in ours."""
    kinds = {"gold": Verdict.RESOLVED, "wrong": Verdict.UNRESOLVED, "empty": Verdict.EMPTY_PATCH}
    kinds["unappliable"] = Verdict.PATCH_FAILED
    rows, patches, expected = [], {}, {}
    for kind, verdict in kinds.items():
        for instance in sample.instances:
            row = changed(instance, f"{instance.instance_id}-{kind}")
            fixed = {"gold": str(row.row["patch"]), "wrong": WRONG, "empty": "", "unappliable": UNAPPLIABLE}
            rows.append(row)
            patches[row.instance_id] = fixed[kind]
            expected[row.instance_id] = verdict
    # not at the same time: the official report fails when any container goes while it lists them
    theirs = officially(tmp_path / "official", rows, patches, timeout=120)
    with ThreadPoolExecutor(2) as pool:
        grades = pool.map(
            lambda i: grader.grade(i, "m", patches[i.instance_id], tmp_path / "cells" / i.instance_id), rows
        )
        ours = {row.instance_id: grade.verdict for row, grade in zip(rows, grades, strict=True)}
    unlike = [cell for cell in expected if ours[cell] != expected[cell]]
    outputs = [tmp_path / "cells" / cell / "test_output.txt" for cell in unlike]
    assert ours == expected, "\n".join(file.read_text()[-4000:] for file in outputs if file.is_file())
    assert {instance_id: OFFICIAL[verdict] for instance_id, verdict in ours.items()} == theirs


@pytest.mark.slow
@pytest.mark.docker
def test_an_overdue_test_run_is_a_timeout_for_both(tmp_path: Path, sample: Dataset, engine: DockerClient) -> None:
    slow = overdue(sample.instances[0], "polyswe__overdue-1")
    patch = str(slow.row["patch"])
    tried_again: list[str] = []  # `give_up` is called before another try
    with Grader(
        LABEL, tmp_path / "scratch", workers=1, timeout=4, attempts=3, give_up=lambda: bool(tried_again.append("once"))
    ) as grader:
        grade = grader.grade(slow, "m", patch, tmp_path / "cell")
        assert grade.verdict is Verdict.TEST_TIMEOUT
        assert not tried_again, "a timeout is the model's"
    assert "Timeout error: 4 seconds exceeded" in (tmp_path / "cell" / "test_output.txt").read_text()
    theirs = officially(tmp_path / "official", [slow], {slow.instance_id: patch}, timeout=4)
    assert theirs == {slow.instance_id: OFFICIAL[grade.verdict]}


@pytest.mark.docker
def test_an_overdue_test_run_is_a_timeout_also_where_the_image_has_no_kill(
    tmp_path: Path, sample: Dataset, engine: DockerClient
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {sample.instances[0].image}\nRUN rm -f /bin/kill /usr/bin/kill\n")
    engine.images.build(path=str(tmp_path), tag=NO_KILL, rm=True)
    slow = overdue(changed(sample.instances[0], "x", image=NO_KILL), "polyswe__overdue-2")
    with Grader(LABEL, tmp_path / "scratch", workers=1, timeout=4, attempts=1) as grader:
        grade = grader.grade(slow, "m", str(slow.row["patch"]), tmp_path / "cell")
    engine.images.remove(NO_KILL, force=True)
    assert grade.verdict is Verdict.TEST_TIMEOUT, grade


@pytest.mark.docker
def test_a_missing_image_is_ours_and_is_tried_again(tmp_path: Path, sample: Dataset, engine: DockerClient) -> None:
    lost = changed(sample.instances[0], "polyswe__lost-1", image="polyswe-test/no-such-image:latest")
    with Grader(LABEL, tmp_path / "scratch", workers=1, timeout=60, attempts=2) as grader:
        grade = grader.grade(lost, "m", WRONG, tmp_path / "cell")
    assert grade.verdict is Verdict.INFRASTRUCTURE
    assert not grade.verdict.final
    assert grade.detail


@pytest.mark.docker
@pytest.mark.parametrize("ending", ["kill", "remove"])
def test_a_container_that_vanishes_under_the_tests_is_ours(
    tmp_path: Path, sample: Dataset, engine: DockerClient, ending: str
) -> None:
    """The official harness reports such a run as unresolved or as an error; it says nothing of the patch."""
    slow = overdue(sample.instances[0], "polyswe__vanishing-1")
    with (
        Grader(LABEL, tmp_path / "scratch", workers=1, timeout=600, attempts=1) as grader,
        ThreadPoolExecutor(1) as pool,
    ):
        grade = pool.submit(grader.grade, slow, "m", str(slow.row["patch"]), tmp_path / "cell")
        container = started(engine)
        container.kill() if ending == "kill" else container.remove(force=True)
        assert grade.result(timeout=60).verdict is Verdict.INFRASTRUCTURE


def started(engine: DockerClient) -> Any:
    """The grading's container, once its test script runs."""
    for _ in range(600):
        for container in engine.containers.list(filters={"label": f"{RUN_LABEL}={LABEL}"}, ignore_removed=True):
            if any("sleep 3600" in " ".join(process) for process in container.top()["Processes"]):
                return container
        time.sleep(0.1)
    raise AssertionError("the tests never started")


@pytest.mark.docker
def test_a_verdict_belongs_to_its_patch(tmp_path: Path, sample: Dataset, grader: Grader) -> None:
    """The official harness takes any report it finds for a run id; a new patch of the same cell must not inherit it."""
    instance = sample.instances[0]
    cell = tmp_path / "cell"
    assert grader.grade(instance, "m", WRONG, cell).verdict is Verdict.UNRESOLVED
    assert grader.grade(instance, "m", str(instance.row["patch"]), cell).verdict is Verdict.RESOLVED
    assert grader.grade(instance, "m", UNAPPLIABLE, cell).verdict is Verdict.PATCH_FAILED
    assert not (cell / "report.json").exists(), "the report of an earlier patch would be taken for this one's"


@pytest.mark.docker
def test_models_of_one_instance_may_be_graded_at_the_same_time(tmp_path: Path, sample: Dataset, grader: Grader) -> None:
    instance = sample.instances[1]
    patches = {"a": str(instance.row["patch"]), "b": WRONG, "c": UNAPPLIABLE, "d": str(instance.row["patch"])}
    with ThreadPoolExecutor(4) as pool:
        grades = dict(
            zip(patches, pool.map(lambda m: grader.grade(instance, m, patches[m], tmp_path / m), patches), strict=True)
        )
    assert [grades[m].verdict for m in "abcd"] == [
        Verdict.RESOLVED,
        Verdict.UNRESOLVED,
        Verdict.PATCH_FAILED,
        Verdict.RESOLVED,
    ]
    for model in "abcd":
        log = (tmp_path / model / "run_instance.log").read_text()
        assert log.count("Creating container for") == 1, "another model's grading wrote into this log"


@pytest.mark.docker
def test_containers_are_stopped_without_asking_them_first(
    tmp_path: Path, sample: Dataset, grader: Grader, engine: DockerClient
) -> None:
    """The official clean-up sends SIGTERM, which the container's first process ignores, and then waits 15 s."""
    since = time.time()
    assert grader.grade(sample.instances[0], "m", WRONG, tmp_path).verdict is Verdict.UNRESOLVED
    wanted = {"event": "kill", "label": f"{RUN_LABEL}={LABEL}"}
    kills = list(engine.events(since=since, until=time.time() + 1, filters=wanted, decode=True))
    assert [event["Actor"]["Attributes"]["signal"] for event in kills] == ["9"]


@pytest.mark.docker
def test_a_killed_grading_process_is_replaced(tmp_path: Path, sample: Dataset, engine: DockerClient) -> None:
    """The one that grades, and the one that it was forked from."""
    slow = overdue(sample.instances[0], "polyswe__killed-1")
    with (
        Grader(LABEL, tmp_path / "scratch", workers=1, timeout=5, attempts=3) as grader,
        ThreadPoolExecutor(1) as pool,
    ):
        grade = pool.submit(grader.grade, slow, "m", str(slow.row["patch"]), tmp_path / "cell")
        started(engine)
        first = grader.warm_up()
        (child,) = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        time.sleep(1)
        os.kill(first.pid, signal.SIGKILL)
        assert grade.result(timeout=120).verdict is Verdict.TEST_TIMEOUT
        assert grader.warm_up().pid != first.pid


@pytest.mark.docker
def test_no_more_tests_run_at_the_same_time_than_there_are_workers(
    tmp_path: Path, sample: Dataset, engine: DockerClient
) -> None:
    """More gradings than that are set up and cleaned up meanwhile, and their wait is not counted as theirs."""
    script = sample.instances[0].row["eval_script"].replace("python3 -m pytest", "date +%s.%N; sleep 2; date +%s.%N; :")
    rows = [changed(sample.instances[0], f"polyswe__timed-{n}", eval_script=script) for n in range(4)]
    with (
        Grader(LABEL, tmp_path / "scratch", workers=1, timeout=60, attempts=1) as grader,
        ThreadPoolExecutor(4) as pool,
    ):
        grades = list(pool.map(lambda row: grader.grade(row, "m", WRONG, tmp_path / row.instance_id), rows))
    spans = []
    for row in rows:
        output = (tmp_path / row.instance_id / "test_output.txt").read_text()
        begin, end = re.findall(r"^\d{10}\.\d+$", output, re.M)
        spans.append((float(begin), float(end)))
    spans.sort()
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(spans))
    whole = spans[-1][1] - spans[0][0]
    assert sum(grade.seconds for grade in grades) < 3 * whole, "gradings that wait for others are not counted twice"
    assert all(2 <= (grade.test_seconds or 0) <= grade.seconds for grade in grades)


def test_an_empty_patch_needs_no_engine(tmp_path: Path) -> None:
    with Grader(LABEL, tmp_path, workers=1) as grader:
        assert grader.grade(None, "m", "", tmp_path) == Grade(Verdict.EMPTY_PATCH)  # type: ignore[arg-type]


def test_distinct_names_stay_distinct_as_folder_names() -> None:
    names = ["gpt-5", "gpt/5", "gpt 5", "gpt:5", "ü", "/", "../x"]
    assert len({slug(name) for name in names}) == len(names)
    assert all("/" not in slug(name) and not slug(name).startswith(".") for name in names)


@pytest.mark.slow
@pytest.mark.docker
def test_without_a_network_the_samples_verdicts_are_the_same(
    tmp_path: Path, sample: Dataset, engine: DockerClient
) -> None:
    container = GradingContainer(network="none")
    with (
        Grader(LABEL, tmp_path / "scratch", workers=2, timeout=120, attempts=1, container=container) as grader,
        ThreadPoolExecutor(grader.gradings_in_flight) as pool,
    ):
        gold = pool.map(
            lambda i: grader.grade(i, "gold", str(i.row["patch"]), tmp_path / i.instance_id), sample.instances
        )
        wrong = pool.map(lambda i: grader.grade(i, "wrong", WRONG, tmp_path / i.instance_id / "w"), sample.instances)
        assert {grade.verdict for grade in gold} == {Verdict.RESOLVED}
        assert {grade.verdict for grade in wrong} == {Verdict.UNRESOLVED}
    assert not (tmp_path / "scratch").exists()


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.parametrize("comes_back", [True, False])
def test_an_engine_that_goes_down_under_the_tests_is_the_machines_failure(
    tmp_path: Path, sample: Dataset, own_engine: Any, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """Its containers have ended then, and nobody outside has asked for that."""
    slow = overdue(sample.instances[0], f"polyswe__engine-{comes_back}")
    own_engine.load(slow.image)
    monkeypatch.setenv("DOCKER_HOST", own_engine.url)
    with (
        Grader(LABEL, tmp_path / "scratch", workers=1, timeout=600, attempts=1) as grader,
        ThreadPoolExecutor(1) as pool,
    ):
        grade = pool.submit(grader.grade, slow, "m", str(slow.row["patch"]), tmp_path / "cell")
        started(connect())
        own_engine.stop()
        if comes_back:
            own_engine.start()
        result = grade.result(timeout=300)
    if not comes_back:
        own_engine.start()
    assert result.verdict is Verdict.INFRASTRUCTURE, result
    assert result.failure in ("engine", "grading: container")
