"""Tests written by stand-ins and run on real attempts: what they bring, what they cost, kills, and hostile ones."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from agents.scripted.server import ScriptedServer
from harness.config import find_config, load_config
from harness.data.embeddings import embed_texts
from harness.docker.engine import CELL_LABEL, RUN_LABEL
from harness.errors import EXIT_INCOMPLETE, EXIT_OK
from harness.importers import load_outcomes, outcome_matrix
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.run.spending import spent_by
from harness.run.status import run_status
from harness.sample import PLAYBOOK
from harness.store.rows import KILLED, Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

sys.path.insert(0, str(Path(__file__).parents[1]))
from killed_runs import STARTED, Books, Victim, leaked, rows_of

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

pytestmark = [pytest.mark.docker, pytest.mark.slow]

BUCKETEER, CSVQUILL, LOGSIFT = "polyswe__bucketeer-501", "polyswe__csvquill-403", "polyswe__logsift-103"
SMALL, MEDIUM, LARGE = "scripted-small", "scripted-medium", "scripted-large"
COMPARED = ("tests_fixed", "tests_valid", "own_tests_fixed", "patch_applies")
PATIENCE = 240


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedServer]:
    with ScriptedServer(PLAYBOOK, delay=0.1) as server:
        yield server


@pytest.fixture(autouse=True)
def no_victim_is_left() -> Iterator[None]:
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def write_config(path: Path, url: str, **changes: Any) -> Path:
    """`sample-select` on three instances, its stand-ins behind `url`; `changes` are merged into its sections."""
    config = load_config(find_config("sample-select")).model_dump(mode="json", exclude_none=True)
    config["pool"] = [model | {"api_base": url} for model in config["pool"]]
    config["dataset"]["select"] = [f"id={BUCKETEER}|{CSVQUILL}|{LOGSIFT}"]
    config["run"] |= {"least_disk_gb": 0}
    config["router"] |= {"folds": 2, "repeats": 1}
    for section, values in changes.items():
        config[section] = config.get(section, {}) | values if isinstance(values, dict) else values
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def config_file(provider: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config") / "run.yaml", provider.url)


@pytest.fixture(scope="module")
def undisturbed(config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("undisturbed") / "run")
    assert evaluate(load_config(config_file), folder, stop=Stop()).missing == []
    return folder


def shown(row: CellRow) -> dict[str, float | None]:
    return {name: row.signals.get(name) for name in COMPARED}


def with_evidence(folder: RunFolder) -> int:
    """Instances with evidence, read without disturbing a run."""
    with closing(sqlite3.connect(f"file:{folder.store_path}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT COUNT(*) FROM evidence WHERE digest != ''").fetchone()[0])


def writers(folder: RunFolder) -> dict[Cell, CellRow]:
    return rows_of(folder.tests) if folder.tests.store_path.exists() else {}


def test_select_picks_by_the_tests_and_pays_for_them(
    undisturbed: RunFolder, config_file: Path, provider: ScriptedServer, engine: DockerClient
) -> None:
    results = json.loads((undisturbed.path / "results.json").read_text())
    rows = {row["name"]: row for row in results["rows"] if row["evaluation"] != "in-sample"}
    cells = rows_of(undisturbed)
    assert {SMALL, MEDIUM, LARGE, "select", "cascade", "oracle"} <= rows.keys()
    # whoever is the default: the wrong patches fix fewer tests, and the empty one is no choice
    assert rows["select"]["resolved"] == 3
    assert shown(cells[Cell(BUCKETEER, SMALL)])["tests_fixed"] == 1
    assert shown(cells[Cell(BUCKETEER, MEDIUM)])["tests_fixed"] == 2
    assert shown(cells[Cell(LOGSIFT, MEDIUM)])["tests_fixed"] == 2
    assert shown(cells[Cell(LOGSIFT, LARGE)])["tests_fixed"] == 1
    assert shown(cells[Cell(CSVQUILL, LARGE)])["patch_applies"] == 0
    # the tests are paid by the policy that reads them, and by the run, not by single models
    attempts = sum(row.cost_usd or 0.0 for row in cells.values())
    tests = sum(row.cost_usd or 0.0 for row in writers(undisturbed).values())
    assert tests > 0.05
    assert rows["select"]["cost_per_instance"] == pytest.approx((attempts + tests) / 3)
    assert sum(rows[name]["cost_per_instance"] for name in (SMALL, MEDIUM, LARGE)) == pytest.approx(attempts / 3)
    assert spent_by(undisturbed) == pytest.approx(attempts + tests)
    assert run_status(undisturbed).cost_usd == pytest.approx(attempts + tests)
    last = json.loads((undisturbed.path / "events.jsonl").read_text().splitlines()[-1])
    assert last["cost_usd"] == pytest.approx(attempts + tests)
    # what a policy is fitted on has the tests as well
    matrix, _ = outcome_matrix(load_outcomes([str(undisturbed.path)]).runs, None, [BUCKETEER, CSVQUILL, LOGSIFT])
    small = matrix.models.index(SMALL)
    assert matrix.signals["tests_fixed"][matrix.instances.index(BUCKETEER), small] == 1
    assert matrix.signals["tests_cost_usd"].sum() == pytest.approx(3 * tests)
    # the same command again has nothing to do
    asked = len(provider.log())
    assert evaluate(load_config(config_file), undisturbed, stop=Stop()).missing == []
    assert len(provider.log()) == asked
    assert leaked(engine, undisturbed) == []


def containers_of_tests(engine: DockerClient, folder: RunFolder) -> list[Container]:
    """Containers in which tests run."""
    labels = {"label": [f"{RUN_LABEL}={folder.label}", CELL_LABEL]}
    found = engine.containers.list(filters=labels, ignore_removed=True)
    return [container for container in found if container.labels[CELL_LABEL].endswith("/tests")]


def await_and_kill(victim: Victim, moment: Callable[[], bool]) -> bool:
    """Kill the run at the moment; False where it had ended before."""
    process = victim.start()
    until = time.monotonic() + PATIENCE
    while not moment():
        assert time.monotonic() < until, victim.said()
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    process.kill()
    process.wait()
    return True


def check_paid_once(victim: Victim, books: Books, killed_at_work: Counter[Cell]) -> None:
    """Every attempt was asked for once; a test writer again only where a kill met it at work."""
    for cell, row in victim.rows().items():
        assert books.calls()[cell] == row.api_calls, f"{cell} was paid for twice"
    with Store(victim.folder.tests.store_path, read_only=True) as store:
        killed = Counter(event.cell for event in store.failures() if event.kind == KILLED)
    for cell, row in writers(victim.folder).items():
        assert row.state is State.AGENT_DONE
        assert row.api_calls is not None
        again = killed[cell]
        assert again <= killed_at_work[cell] + 1
        assert row.api_calls <= books.calls(tests=True)[cell] <= row.api_calls * (1 + again), f"{cell}: paid twice"


def test_kills_at_every_stage_change_nothing_and_pay_nothing_twice(
    undisturbed: RunFolder, provider: ScriptedServer, config_file: Path, engine: DockerClient, tmp_path: Path
) -> None:
    victim, books = Victim(config_file, tmp_path / "out", tmp_path / "log"), Books(provider)

    def is_written() -> bool:
        cells = writers(victim.folder).values()
        return len(cells) == 6 and all(row.state is State.AGENT_DONE for row in cells)

    moments: dict[str, Callable[[], bool]] = {
        "tests are written": lambda: any(row.state is State.RUNNING for row in writers(victim.folder).values()),
        "some are": lambda: any(row.state is State.AGENT_DONE for row in writers(victim.folder).values()),
        "written, not run": is_written,
        "tests run": lambda: is_written() and bool(containers_of_tests(engine, victim.folder)),
    }
    at_work: Counter[Cell] = Counter()
    met = {}
    for name, moment in moments.items():
        met[name] = await_and_kill(victim, moment)
        at_work += Counter(cell for cell, row in writers(victim.folder).items() if row.state is State.RUNNING)
    assert all(met.values()), met
    process = victim.start()
    assert process.wait(600) == EXIT_OK, victim.said()
    assert with_evidence(victim.folder) == 3
    expected = rows_of(undisturbed)
    for cell, row in victim.rows().items():
        assert (row.verdict, shown(row)) == (expected[cell].verdict, shown(expected[cell])), cell
        paid = expected[cell].signals["tests_cost_usd"]
        assert row.signals["tests_cost_usd"] == pytest.approx(paid, rel=0.02)  # printed timings differ in length
    check_paid_once(victim, books, at_work)
    assert leaked(engine, victim.folder) == []
    assert not list(victim.folder.path.rglob("*.tmp"))


def test_a_sequential_select_survives_kills_between_its_rounds(
    provider: ScriptedServer, engine: DockerClient, tmp_path: Path
) -> None:
    """The large model, which comes first, hands in nothing: the medium one has to come after it."""
    rng = np.random.default_rng(0)
    right = (rng.random((60, 2)) < [0.4, 0.8]).astype(float)
    outcomes = OutcomeMatrix.build(
        [f"r__{i}" for i in range(60)], (MEDIUM, LARGE), right, np.ones((60, 2)), signals={"tests_fixed": 2 * right}
    )
    X = np.repeat(embed_texts(["issue"]), 60, axis=0)
    select = make_policy("select", members=2, sequential=True).fit(X, outcomes)
    checkpoint = tmp_path / "select.safetensors"
    Router(select, (MEDIUM, LARGE), Embedder()).save(checkpoint)
    config = write_config(
        tmp_path / "run.yaml",
        provider.url,
        run={"mode": "routed"},
        router={"checkpoint": str(checkpoint)},
        dataset={"select": [f"id={CSVQUILL}"]},
        out={"run_id": "run"},
    )
    victim, books = Victim(config, tmp_path / "out", tmp_path / "log"), Books(provider)

    def graded(*models: str) -> bool:
        rows = victim.rows()
        return {cell.model for cell in rows} == set(models) and all(row.state is State.GRADED for row in rows.values())

    moments: list[Callable[[], bool]] = [
        lambda: graded(LARGE),  # no evidence on it yet
        lambda: graded(LARGE) and with_evidence(victim.folder) == 1,
        lambda: graded(LARGE, MEDIUM) and with_evidence(victim.folder) == 1,  # the evidence on the first one alone
    ]
    for moment in moments:
        assert await_and_kill(victim, moment), victim.said()
    process = victim.start()
    assert process.wait(600) == EXIT_OK, victim.said()
    assert graded(LARGE, MEDIUM)
    check_paid_once(victim, books, Counter())
    row, *members = json.loads((victim.folder.path / "results.json").read_text())["rows"]
    assert {member["name"] for member in members} == {MEDIUM, LARGE}
    assert (row["resolved"], row["n"], row["routing_share"][MEDIUM]) == (1, 1, 1)
    assert row["cost_per_instance"] == pytest.approx(spent_by(victim.folder))
    assert leaked(engine, victim.folder) == []


def test_evidence_comes_to_a_finished_run_within_its_limit_and_after_a_lost_container(
    provider: ScriptedServer, engine: DockerClient, tmp_path: Path
) -> None:
    def write(name: str, **run: float) -> Path:
        path = write_config(
            tmp_path / f"{name}.yaml",
            provider.url,
            dataset={"select": [f"id={BUCKETEER}"]},
            evidence={"writers": [MEDIUM]},
            out={"run_id": "run"},
            run=run,
        )
        config = yaml.safe_load(path.read_text())
        config["pool"] = [model for model in config["pool"] if model["name"] in (SMALL, MEDIUM)]
        if name == "attempts":
            del config["evidence"]
        path.write_text(yaml.safe_dump(config))
        return path

    folder = RunFolder(tmp_path / "out" / "run")
    evaluate(load_config(write("attempts")), folder, stop=Stop())
    attempts, paid = rows_of(folder), spent_by(folder)
    # the hard limit counts what the tests cost
    limit = paid + 0.003
    end = evaluate(load_config(write("limited", max_cost_hard=limit)), folder, stop=Stop())
    assert end.missing == []
    assert "hard cost limit" in end.stopped
    assert end.missing_evidence[-1].startswith(f"no evidence on 1 of 1 instance, e.g. {BUCKETEER}: the hard cost limit")
    assert limit <= spent_by(folder) < limit + 0.02  # one call more at most
    # a container that is taken away is no test that failed
    victim = Victim(write("evidence"), tmp_path / "out", tmp_path / "log")
    process = victim.start()
    while not (found := containers_of_tests(engine, folder)):
        assert process.poll() is None, victim.said()
        time.sleep(0.005)
    found[0].remove(force=True)
    assert process.wait(600) == EXIT_INCOMPLETE, victim.said()
    assert f"no evidence on 1 of 1 instance, e.g. {BUCKETEER}: container" in victim.said()
    assert f"{BUCKETEER}: no evidence yet" in (folder.path / "run.log").read_text()
    assert with_evidence(folder) == 0
    assert all("tests_fixed" not in row.signals for row in rows_of(folder).values())
    evaluate(load_config(write("evidence")), folder, stop=Stop())
    assert with_evidence(folder) == 1
    after = rows_of(folder)
    assert {cell: row.agent_seconds for cell, row in after.items()} == {
        cell: row.agent_seconds for cell, row in attempts.items()
    }
    assert (after[Cell(BUCKETEER, SMALL)].signals["tests_fixed"], leaked(engine, folder)) == (1, [])


FAKE = "\n".join(
    (
        "printf 'import os\\nos._exit(0)\\n' | tee conftest.py sitecustomize.py > exit.py",
        "cat exit.py logsift/__init__.py > changed.py && mv changed.py logsift/__init__.py",
        "git add -A . && git diff --cached > patch.txt",
    )
)
GUARD = "[ -e polyswe_tests.txt ] || "
"""The writer has to come to its end: where it works, its list of tests lies beside them."""
HOSTILE_TESTS = (
    "sleep 1000",
    "echo evil > /tmp/polyswe-evil; mkdir -p ../outside; false",
    "kill -9 -1",
    "rm -rf /testbed /usr/bin",
    "head -c 20000000 /dev/zero",
    "python3 -c 'import os; [os.fork() for _ in range(99)]'",
    "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo 9 passed; false",
)


def test_hostile_tests_and_patches_harm_nothing(engine: DockerClient, tmp_path: Path) -> None:
    folder = tmp_path / "playbook"
    folder.mkdir()
    book = yaml.safe_load((PLAYBOOK / f"{LOGSIFT}.yaml").read_text())
    commands = (FAKE, "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat patch.txt")
    steps = [{"say": "As I like.", "run": [command]} for command in commands]
    book["attempts"]["scripted-hostile"] = {"intent": "wrong", "steps": steps}
    breaks = "echo 'def sift(*_): raise OSError' >> logsift/sift.py && git diff > patch.txt"
    steps = [{"say": "As I like.", "run": [command]} for command in (breaks, *commands[1:])]
    book["attempts"]["scripted-breaker"] = {"intent": "wrong", "steps": steps}
    book["tests"]["scripted-hostile"] = {"intent": "wrong", "commands": [GUARD + test for test in HOSTILE_TESTS]}
    (folder / f"{LOGSIFT}.yaml").write_text(yaml.safe_dump(book))
    stand_in = {"scripted": True, "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}
    with ScriptedServer(folder) as server:
        config = write_config(
            tmp_path / "run.yaml",
            server.url,
            pool=[
                {"name": name, "model": f"openai/{name}", "api_base": server.url, **stand_in}
                for name in (MEDIUM, LARGE, "scripted-hostile", "scripted-breaker")
            ],
            evidence={
                "writers": [MEDIUM, "scripted-hostile"],
                "test_timeout": 5,
                "tests_per_writer": 9,
                "existing_tests": True,
                "judge": LARGE,
            },
            agent={"limits": {"memory": "512m", "pids": 128, "disk_gb": 0.5}, "command_timeout": 10},
            dataset={"select": [f"id={LOGSIFT}"]},
        )
        run = RunFolder(tmp_path / "out" / "run")
        end = evaluate(load_config(config), run, stop=Stop())
        asked = len(server.log())
        evaluate(load_config(config), run, stop=Stop())
        assert len(server.log()) == asked
    cells = rows_of(run)
    # the one that breaks existing tests, of which the judge says that they are not obsolete
    broken = cells[Cell(LOGSIFT, "scripted-breaker")].signals
    assert broken["existing_broken"] >= 1
    assert broken["existing_obsolete"] == 0
    assert cells[Cell(LOGSIFT, MEDIUM)].signals["existing_broken"] == 0
    with Store(run.tests.store_path, read_only=True) as store:
        judged = store.judging_cost(LOGSIFT)
        assert judged > 0
        assert broken["tests_cost_usd"] == pytest.approx(store.spent())
    assert end.missing == []
    assert with_evidence(run) == 1, (run.path / "run.log").read_text()
    assert shown(cells[Cell(LOGSIFT, MEDIUM)])["tests_fixed"] == 2
    assert shown(cells[Cell(LOGSIFT, "scripted-hostile")])["tests_fixed"] == 0  # it fakes passes, which counts for none
    assert shown(cells[Cell(LOGSIFT, LARGE)])["tests_valid"] == 2  # none of the hostile tests
    assert leaked(engine, run) == []
    assert not Path("/tmp/polyswe-evil").exists()
    assert sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file()) < 20_000_000
