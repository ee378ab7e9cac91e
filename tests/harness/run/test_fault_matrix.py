"""Faults of the machine, injected into the real path: each is told apart, tried again where that helps, never scored.

The engine that is killed, restarted and filled up is the tests' own; the provider is a stand-ins' server that outlives
every fault and keeps its own books.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agents.scripted.server import ScriptedServer
from harness.config import find_config, load_config
from harness.data.instances import Dataset, Instance
from harness.errors import EXIT_ENVIRONMENT, EXIT_INCOMPLETE, EXIT_OK, InputError
from harness.grading.verdict import Verdict
from harness.run.failures import KINDS, FaultOwner, attempt_kind
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.sample import PLAYBOOK
from harness.store.rows import Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1800)]

FULL = pytest.mark.skipif(not os.environ.get("POLYSWE_FULL"), reason="slow: 'make test-full' sets POLYSWE_FULL")
INSTANCE = "polyswe__spanset-303"
PATIENCE = 180


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedServer]:
    with ScriptedServer(PLAYBOOK, delay=0.3) as server:
        yield server


Configured = Callable[..., Path]


@pytest.fixture
def configured(provider: ScriptedServer, sample: Dataset, tmp_path: Path) -> Configured:
    """A run over some instances (changed where asked), as a file for the command line."""

    def write(rows: list[Instance] | None = None, *, models: int = 3, **run: Any) -> Path:
        config = load_config(find_config("sample")).model_dump(mode="json", exclude_none=True)
        chosen = rows or [i for i in sample.instances if i.instance_id == INSTANCE]
        data = tmp_path / "data.json"
        data.write_text(json.dumps([dict(i.row) for i in chosen], default=str))
        config["dataset"] = {"name": str(data)}
        config["pool"] = config["pool"][-models:]
        for model in config["pool"]:
            model["api_base"] = provider.url
        config["router"] = {"policy": "cluster", "folds": 2, "repeats": 1, "params": {"n_clusters": 1}}
        config["run"] |= {"agent_workers": 3, "least_disk_gb": 0, "pull_wait": 0.01, "pull_attempts": 2} | run
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return write


def rows_of(folder: RunFolder) -> list[CellRow]:
    with Store(folder.store_path, read_only=True) as store:
        return store.rows()


def any_graded(folder: RunFolder) -> bool:
    if not folder.store_path.exists():
        return False
    try:
        return any(row.state is State.GRADED for row in rows_of(folder))
    except (sqlite3.OperationalError, InputError):  # the tables are not there yet
        return False


def table(folder: RunFolder) -> dict[str, dict[str, Any]]:
    found = json.loads((folder.path / "results.json").read_text())["failures"]
    return {row["kind"]: row for row in found}


def command(config: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "harness", "evaluate", str(config), "--out", str(out)]


def finished(run: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = run.communicate(timeout=900)
    assert "Traceback" not in said, said
    return run.returncode, said


def changed(sample: Dataset, **columns: Any) -> Instance:
    instance = next(i for i in sample.instances if i.instance_id == INSTANCE)
    row = {**instance.row, **columns}
    return replace(instance, image=row["image"], row=row)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "the moment never came"
        time.sleep(0.02)


# ---- faults of the machine


def test_an_engine_restarted_under_a_run_costs_no_verdict(
    own_engine: Any, configured: Configured, provider: ScriptedServer, sample: Dataset, tmp_path: Path
) -> None:
    own_engine.load(next(i.image for i in sample.instances if i.instance_id == INSTANCE))
    asked = len(provider.log())
    run = subprocess.Popen(
        command(configured(), tmp_path / "out"), stderr=subprocess.PIPE, text=True, env=own_engine.environment
    )
    wait_for(lambda: len(provider.log()) >= asked + 4 or run.poll() is not None)
    own_engine.stop()
    time.sleep(1)  # the run meets the missing engine
    own_engine.start()
    code, said = finished(run)
    assert code == EXIT_OK, said
    folder = RunFolder(tmp_path / "out" / "run")
    assert {row.state for row in rows_of(folder)} == {State.GRADED}
    failure_events = {kind: row["earlier"] for kind, row in table(folder).items() if not row["scored"]}
    assert failure_events, "the restart met nobody"
    assert failure_events.keys() <= {"engine", "container", "grading: container"}
    assert own_engine.docker("ps", "-aq").stdout == b""


@FULL
def test_an_engine_that_stays_away_ends_the_run_and_the_same_command_goes_on(
    own_engine: Any, configured: Configured, sample: Dataset, tmp_path: Path
) -> None:
    own_engine.load(next(i.image for i in sample.instances if i.instance_id == INSTANCE))
    config, folder = configured(engine_patience=1, agent_workers=1), RunFolder(tmp_path / "out" / "run")
    run = subprocess.Popen(
        command(config, tmp_path / "out"), stderr=subprocess.PIPE, text=True, env=own_engine.environment
    )
    wait_for(lambda: any_graded(folder) or run.poll() is not None)
    own_engine.stop()
    code, said = finished(run)
    own_engine.start()
    assert code == EXIT_INCOMPLETE, said
    assert "the next start removes them" in said
    assert (folder.path / "results.json").is_file(), "what has a verdict is in the table all the same"
    rows = rows_of(folder)
    assert all(row.verdict is None or row.verdict is not Verdict.INFRASTRUCTURE for row in rows)
    assert {row.failure for row in rows if row.state is State.FAILED} <= {"engine", "container"}
    again = subprocess.run(
        command(config, tmp_path / "out"), capture_output=True, text=True, env=own_engine.environment, check=False
    )
    assert again.returncode == EXIT_OK, again.stderr
    assert {row.state for row in rows_of(folder)} == {State.GRADED}


@FULL
def test_an_engine_whose_disk_is_full_is_told_from_a_missing_container(
    own_engine: Any, configured: Configured, sample: Dataset, tmp_path: Path
) -> None:
    own_engine.load(next(i.image for i in sample.instances if i.instance_id == INSTANCE))
    filler = own_engine.root / "filler"
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={filler}", "bs=1M"], capture_output=True, check=False
    )  # until it is full
    try:
        run = subprocess.Popen(
            command(configured(), tmp_path / "out"), stderr=subprocess.PIPE, text=True, env=own_engine.environment
        )
        code, said = finished(run)
    finally:
        filler.unlink()
    assert code == EXIT_INCOMPLETE, said
    rows = rows_of(RunFolder(tmp_path / "out" / "run"))
    assert {row.failure for row in rows if row.state is not State.GRADED} <= {"disk", None}
    # an edit that meets the full disk leaves half a file, whose patch would be graded as the model's
    assert not any(row.verdict is Verdict.UNRESOLVED for row in rows), rows
    assert "the disk is full" in said
    again = subprocess.run(
        command(configured(), tmp_path / "out"), capture_output=True, text=True, env=own_engine.environment, check=False
    )
    assert again.returncode == EXIT_OK, again.stderr
    assert Verdict.RESOLVED in {row.verdict for row in rows_of(RunFolder(tmp_path / "out" / "run"))}


def test_a_full_disk_under_the_run_folder_keeps_what_is_recorded(
    configured: Configured, provider: ScriptedServer, tmp_path: Path
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        folder = RunFolder(place / "run")
        config = configured()
        filler = place / "filler"
        filler.write_bytes(b"x" * 700_000)
        run = subprocess.Popen(command(config, place), stderr=subprocess.PIPE, text=True)
        code, said = finished(run)
        assert code in (EXIT_INCOMPLETE, EXIT_ENVIRONMENT), said
        before = {row.cell: row for row in rows_of(folder)} if folder.store_path.exists() else {}
        assert all(row.failure in (None, "disk") for row in before.values()), before
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        asked = Counter(Cell(c.instance_id, c.model) for c in provider.log())
        again = subprocess.run(command(config, place), capture_output=True, text=True, check=False)
        assert again.returncode == EXIT_OK, again.stderr
        for row in rows_of(folder):
            assert row.state is State.GRADED
            if row.cell in before and before[row.cell].state in (State.AGENT_DONE, State.GRADED):
                calls = sum(Cell(c.instance_id, c.model) == row.cell for c in provider.log()) - asked[row.cell]
                assert calls == 0, "a kept attempt was paid for again"
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def test_images_that_cannot_be_had_are_told_apart(
    configured: Configured, sample: Dataset, registry: Any, tmp_path: Path, engine: DockerClient
) -> None:
    """One image does not exist, one is behind a rate limit; the third cell's verdict is unharmed."""
    registry.refuse = lambda name: (429, "TOOMANYREQUESTS") if name == "limited" else None
    wanted = {
        "polyswe__missing-1": registry.full_name("absent"),
        "polyswe__limited-1": registry.full_name("limited"),
    }
    rows = [changed(sample, instance_id=name, image=image) for name, image in wanted.items()] + [changed(sample)]
    run = subprocess.Popen(command(configured(rows), tmp_path / "out"), stderr=subprocess.PIPE, text=True)
    code, said = finished(run)
    assert code == EXIT_INCOMPLETE, said
    folder = RunFolder(tmp_path / "out" / "run")
    found = {(row.instance_id, row.failure) for row in rows_of(folder)}
    assert found == {
        ("polyswe__missing-1", "image: missing"), ("polyswe__limited-1", "image: rate-limit"), (INSTANCE, None),
    }  # fmt: skip
    failures = table(folder)
    for kind in ("image: missing", "image: rate-limit"):
        assert failures[kind]["cells"] == {f"scripted-{size}": 1 for size in ("small", "medium", "large")}
        assert not failures[kind]["scored"]
    results = json.loads((folder.path / "results.json").read_text())
    for row in results["rows"]:
        if row["kind"] == "single":
            assert (row["n"], row["missing"]) == (1, 2)
            assert row["bounds"] == [row["resolved"], row["resolved"] + 2]
    text = (folder.path / "results.md").read_text()
    assert "2 missing: worst – best case" in text
    assert "| image: rate-limit | machine | never | 1 | 1 | 1 |" in text
    # two tries of the pull ahead, two of each cell's own; what does not exist is asked for once
    assert registry.requests_for("absent") == 1
    assert 2 <= registry.requests_for("limited") <= 8


def test_tests_that_never_end_are_the_models_and_scored(
    configured: Configured, sample: Dataset, tmp_path: Path
) -> None:
    script = str(changed(sample).row["eval_script"]).replace("python3 -m pytest", "sleep 3600; python3 -m pytest")
    config = load_config(configured([changed(sample, eval_script=script)], grading_timeout=3))
    folder = RunFolder(tmp_path / "run")
    end = evaluate(config, folder, stop=Stop())
    assert end.missing == []
    overdue = [row for row in end.rows if row.verdict is Verdict.TEST_TIMEOUT]
    assert overdue
    assert table(folder)["test timeout"]["scored"]
    assert sum(table(folder)["test timeout"]["cells"].values()) == len(overdue)


def test_a_grading_process_that_dies_is_ours_and_the_patch_waits(
    configured: Configured, provider: ScriptedServer, sample: Dataset, tmp_path: Path
) -> None:
    """Killed at every try: no verdict and no new attempt; the next start only grades."""
    script = str(changed(sample).row["eval_script"]).replace("python3 -m pytest", "sleep 2; python3 -m pytest")
    config = configured([changed(sample, eval_script=script)], models=1, grading_attempts=2)
    folder = RunFolder(tmp_path / "out" / "run")
    run = subprocess.Popen(command(config, tmp_path / "out"), stderr=subprocess.PIPE, text=True)
    while run.poll() is None:
        for pid in _grading_processes(run.pid):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    code, said = finished(run)
    assert code == EXIT_INCOMPLETE, said
    (row,) = rows_of(folder)
    assert (row.state, row.failure, row.verdict) == (State.AGENT_DONE, "grading: process", None)
    calls = len(provider.log())
    again = subprocess.run(command(config, tmp_path / "out"), capture_output=True, text=True, check=False)
    assert again.returncode == EXIT_OK, again.stderr
    assert len(provider.log()) == calls, "a paid-for attempt was repeated"
    assert table(folder)["grading: process"]["earlier"] == {"scripted-large": 1}


def _grading_processes(parent: int) -> list[int]:
    found = []
    for listing in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            children = listing.read_text().split()
        except OSError:
            continue
        for child in children:
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes()
            except OSError:
                continue
            if b"grading.worker" in words:
                found.append(int(child))
    return found


# ---- what the kinds are


def test_every_kind_says_whose_it_is_and_where_it_is_tried_again() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.retried
        assert kind.scored == (kind.owner is FaultOwner.MODEL)
    assert attempt_kind(OSError(28, "No space left on device")) == "disk"
    assert attempt_kind(ZeroDivisionError()) == "internal"


def test_the_documentation_lists_every_kind() -> None:
    text = (Path(__file__).parents[3] / "harness" / "docs" / "failures.md").read_text()
    for kind in KINDS.values():
        scored = "as not resolved" if kind.scored else "never"
        assert f"| {kind.name} | {kind.owner} | {scored} | {kind.retried} |" in text, kind.name
