"""A run that is stopped at random moments, again and again, ends like one that was left alone.

The stand-ins' server lives in the test, outlives every kill and counts by itself who asked for what, so that a cell
that is paid for twice shows in the provider's own books. `POLYSWE_KILLS=50` (what `make test-full` sets) kills more
often; `POLYSWE_KILL_SEED` draws other moments.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from agents.scripted.server import ScriptedServer
from harness.config import find_config, load_config
from harness.data.instances import Dataset
from harness.errors import EXIT_OK
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.sample import PLAYBOOK
from harness.store.rows import KILLED, Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

sys.path.insert(0, str(Path(__file__).parents[1]))
from killed_runs import STARTED, Books, Victim, leaked, rows_of

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("POLYSWE_KILLS", "6"))
SEED = int(os.environ.get("POLYSWE_KILL_SEED", "0"))
WORKERS = 3
CALL_SECONDS = 0.15 if KILLS < 50 else 0.6
"""A call takes so long: what the run's length, and with it the number of moments to choose from, follows from."""
INSTANCES = 4 if KILLS < 50 else 15
PATIENCE = 120


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedServer]:
    with ScriptedServer(PLAYBOOK, delay=CALL_SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def config_file(provider: ScriptedServer, sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with a provider of its own, outside the process that is killed."""
    config = load_config(find_config("sample")).model_dump(mode="json", exclude_none=True)
    for model in config["pool"]:
        model["api_base"] = provider.url
    config["dataset"]["instances"] = sorted(i.instance_id for i in sample.instances)[-INSTANCES:]
    config["run"] |= {"agent_workers": WORKERS, "least_disk_gb": 0}
    config["router"] = {"policy": "cluster", "folds": 2, "repeats": 1, "params": {"n_clusters": 1}}
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def undisturbed(config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("undisturbed") / "run")
    end = evaluate(load_config(config_file), folder, stop=Stop())
    assert end.missing == []
    return folder


@pytest.fixture(autouse=True)
def no_victim_is_left() -> Iterator[None]:
    """A run that goes on after its test has failed would ask the next test's provider."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def outcome(row: CellRow) -> tuple[object, ...]:
    """What must be the same in a repeated run; seconds, and so the length of printed timings, are not."""
    return row.state, row.verdict, row.exit_status, row.api_calls, row.unsubmitted


def states(victim: Victim) -> Counter[State]:
    return Counter(row.state for row in victim.rows().values())


def await_moment(victim: Victim, books: Books, chance: random.Random, engine: DockerClient) -> str:
    """Wait for a random moment of the process that has just been started, told by state, by calls or by the clock."""
    assert victim.process is not None
    before, asked = states(victim), books.calls().total()
    kind = chance.choice(["clock", "agent at work", "patch kept", "verdict", "calls", "container"])
    more = chance.randint(1, 3)
    moments: dict[str, Callable[[], bool]] = {
        "clock": lambda: True,
        "agent at work": lambda: books.calls().total() > asked and states(victim)[State.RUNNING] > 0,
        "patch kept": lambda: _finished(states(victim)) >= _finished(before) + more,
        "verdict": lambda: states(victim)[State.GRADED] >= before[State.GRADED] + more,
        "calls": lambda: books.calls().total() >= asked + 5 * more,
        "container": lambda: bool(leaked(engine, victim.folder)),
    }
    until = time.monotonic() + PATIENCE
    while not moments[kind]() and victim.process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    delay = chance.uniform(0, 8) if kind == "clock" else chance.uniform(0, 0.8)
    try:
        victim.process.wait(delay)
    except subprocess.TimeoutExpired:
        return f"{kind} + {delay:.2f} s"
    return "ended by itself"


def _finished(counts: Counter[State]) -> int:
    return counts[State.AGENT_DONE] + counts[State.GRADED]


def stop_process(process: subprocess.Popen[bytes], how: str) -> None:
    if how == "SIGKILL":
        process.kill()
    elif how == "SIGTERM":
        process.terminate()
    else:  # Ctrl-C twice
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    process.wait(PATIENCE)


def check_nothing_finished_was_touched(before: dict[Cell, CellRow], after: dict[Cell, CellRow]) -> None:
    for cell, row in before.items():
        if row.state is State.GRADED:
            assert after[cell] == row, "a verdict was lost or touched"
        if row.state is State.AGENT_DONE:
            assert after[cell].state in (State.AGENT_DONE, State.GRADED), "a paid-for patch was lost"
            assert after[cell].agent_seconds == row.agent_seconds, "a paid-for attempt was repeated"


def test_a_run_killed_again_and_again_ends_like_an_undisturbed_one(
    undisturbed: RunFolder, provider: ScriptedServer, config_file: Path, engine: DockerClient, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    victim, books = Victim(config_file, tmp_path / "out", tmp_path / "log"), Books(provider)
    at_work: Counter[Cell] = Counter()  # kills that met the cell's agent at work
    history: list[str] = []
    last: dict[Cell, CellRow] = {}
    kills = 0
    rounds = 0
    while kills < KILLS and rounds < 4 * KILLS:
        rounds += 1
        process = victim.start()
        moment = await_moment(victim, books, chance, engine)
        if moment == "ended by itself":
            # an eager victim finishes between kills: the same run is begun anew, in a folder of its own
            assert process.returncode == EXIT_OK, victim.said()
            finish_and_check(victim, books, undisturbed, at_work, config_file, engine)
            victim = Victim(config_file, tmp_path / f"out-{rounds}", tmp_path / "log")
            books, at_work, last = Books(provider), Counter(), {}
            continue
        how = chance.choices(["SIGKILL", "SIGTERM", "SIGINT twice"], [8, 1, 1])[0]
        stop_process(process, how)
        kills += 1
        now = victim.rows()
        check_nothing_finished_was_touched(last, now)
        for cell, row in now.items():
            at_work[cell] += row.state is State.RUNNING
        history.append(f"{how} at {moment}: {dict(Counter(row.state.value for row in now.values()))}")
        last = now
    print("\n".join(history))
    assert kills == KILLS
    process = victim.start()
    assert process.wait(1200) == EXIT_OK, victim.said()
    finish_and_check(victim, books, undisturbed, at_work, config_file, engine)


def finish_and_check(
    victim: Victim,
    books: Books,
    undisturbed: RunFolder,
    at_work: Counter[Cell],
    config_file: Path,
    engine: DockerClient,
) -> None:
    """The finished run against the undisturbed one, the provider's books and the engine."""
    after, expected = victim.rows(), rows_of(undisturbed)
    assert {cell: outcome(row) for cell, row in after.items()} == {cell: outcome(row) for cell, row in expected.items()}
    with Store(victim.folder.store_path) as store:
        failure_events, spent = store.failures(), store.spent()
        on_record = store._db.execute(
            "SELECT SUM(failure = '') AS answered, TOTAL(cost_usd) AS cost_usd FROM calls"
        ).fetchone()
    killed = Counter(event.cell for event in failure_events if event.kind == KILLED)
    assert {event.kind for event in failure_events} <= {KILLED}, failure_events
    calls = books.calls()
    for cell, row in after.items():
        assert row.api_calls is not None
        # whole attempt once, and for every kill that met it at work at most what was asked until then
        assert row.api_calls <= calls[cell] <= row.api_calls * (1 + killed[cell]), cell
        assert killed[cell] <= at_work[cell] + 1
        if not killed[cell]:
            assert calls[cell] == row.api_calls, f"{cell} was paid for twice"
    pool = load_config(config_file).pool
    prices = {m.name: (m.input_cost_per_token or 0.0, m.output_cost_per_token or 0.0) for m in pool}
    unrecorded = calls.total() - (on_record["answered"] or 0)
    assert 0 <= unrecorded <= killed.total(), "only a call in flight at a kill may be missing from the record"
    assert on_record["cost_usd"] == pytest.approx(spent)
    assert spent <= books.cost(prices) + 1e-9
    assert leaked(engine, victim.folder) == []
    assert not list(victim.folder.path.rglob("*.tmp"))


def test_a_power_cut_loses_nothing_that_the_store_had_promised(
    undisturbed: RunFolder, provider: ScriptedServer, config_file: Path, engine: DockerClient, tmp_path: Path
) -> None:
    """The run writes to a disk of its own, whose bare blocks are copied at random moments: what the system had not yet
    written out is lost, as when the plug is pulled. Everything that the store said was done must be in the copy."""
    disk = LoopDisk(tmp_path / "disk.img", tmp_path / "mount")
    if not disk.mount_new():
        pytest.skip("a file cannot be mounted as a disk here (needs root and loop devices)")
    try:
        chance = random.Random(SEED)
        victim, books = Victim(config_file, disk.place, tmp_path / "log"), Books(provider)
        at_work: Counter[Cell] = Counter()
        for cut in range(max(1, KILLS // 6)):
            process = victim.start()
            target = cut + 1
            until = time.monotonic() + PATIENCE
            while _finished(states(victim)) < target and process.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.3))
            process.send_signal(signal.SIGSTOP)
            promised = victim.rows()
            patches = {
                cell: (victim.folder.cell_dir(cell) / "patch.diff").read_bytes()
                for cell, row in promised.items()
                if row.state in (State.AGENT_DONE, State.GRADED)
            }
            disk.freeze()
            process.kill()
            process.wait(PATIENCE)
            disk.come_back()
            found = victim.rows()
            check_nothing_finished_was_touched(promised, found)
            for cell, patch in patches.items():
                assert (victim.folder.cell_dir(cell) / "patch.diff").read_bytes() == patch, f"{cell}: patch lost"
            for cell, row in found.items():
                at_work[cell] += row.state is State.RUNNING or promised[cell].state is State.RUNNING
                if row.state is State.GRADED and row.verdict in ("resolved", "unresolved"):
                    assert (victim.folder.cell_dir(cell) / "report.json").stat().st_size > 0
        process = victim.start()
        assert process.wait(1200) == EXIT_OK, victim.said()
        finish_and_check(victim, books, undisturbed, at_work, config_file, engine)
    finally:
        if victim.process is not None and victim.process.poll() is None:
            victim.process.kill()
            victim.process.wait()
        disk.unmount()


class LoopDisk:
    """A file as a disk with a journalling file system."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image, self.place = image, place
        self._frozen = image.with_suffix(".frozen")

    def mount_new(self) -> bool:
        self.place.mkdir()
        with self.image.open("wb") as file:
            file.truncate(96 << 20)
        if shutil.which("mkfs.ext4") is None or os.geteuid() != 0:
            return False
        # as if the system wrote out nothing by itself: only what is asked for with fsync is on the disk in time
        made = subprocess.run(["mkfs.ext4", "-q", str(self.image)], capture_output=True, check=False).returncode == 0
        return made and self._mount()

    def _mount(self) -> bool:
        command = ["mount", "-o", "loop,commit=300,noauto_da_alloc", str(self.image), str(self.place)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def freeze(self) -> None:
        shutil.copyfile(self.image, self._frozen)

    def come_back(self) -> None:
        self.unmount()
        self._frozen.replace(self.image)
        assert self._mount()

    def unmount(self) -> None:
        for _ in range(50):
            if not self.place.is_mount():
                return
            if subprocess.run(["umount", str(self.place)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.2)
        subprocess.run(["umount", "-l", str(self.place)], capture_output=True, check=False)
