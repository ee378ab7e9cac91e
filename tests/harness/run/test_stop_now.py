"""A run that is stopped at once kills its own commands: what comes of that is no work of the model's."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agents.scripted.server import ScriptedServer
from harness.config import find_config, load_config, with_overrides
from harness.run.interrupt import Stop, _kill_children
from harness.run.pipeline import evaluate
from harness.sample import PLAYBOOK
from harness.store.rows import State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.data.instances import Dataset


class Interrupting(ScriptedServer):
    """Stops the run, as a second Ctrl-C does, while the command of some reply is at work."""

    def __init__(self, stop: Stop, at_turn: int) -> None:
        super().__init__(PLAYBOOK)
        self._stop, self._at_turn = stop, at_turn
        self.over = threading.Event()
        self.late: list[str] = []

    def reply(self, model: str, messages: list[dict[str, Any]], attempt: int = 1) -> dict[str, Any]:
        if self._stop.now:
            self.late.append(model)
        answer = super().reply(model, messages, attempt)
        if len(self.log()) == self._at_turn:
            threading.Thread(target=self._interrupt, daemon=True).start()
        return answer

    def _interrupt(self) -> None:
        self._stop.request("interrupted")
        self._stop.now = True
        while not self.over.wait(0.01):  # whatever command the agent gives from now on
            _kill_children()


@pytest.mark.docker
def test_commands_that_we_killed_are_not_the_models_failure(sample: Dataset, tmp_path: Path) -> None:
    stop = Stop()
    folder = RunFolder(tmp_path / "sample")
    with Interrupting(stop, at_turn=3) as server:
        config = with_overrides(
            load_config(find_config("sample")),
            {"dataset.instances": [sample.instances[0].instance_id], "run.agent_workers": 1},
        )
        pool = [config.pool[-1].model_copy(update={"api_base": server.url})]
        config = config.model_copy(update={"pool": pool})
        try:
            evaluate(config, folder, stop=stop)
        finally:
            server.over.set()
        assert len(server.log()) <= 4, "the agent went on asking"
        with Store(folder.store_path) as store:
            (row,) = store.rows()
            assert row.state is State.RUNNING, "the next start begins it anew"
            assert store.failures() == []
        end = evaluate(config, folder, stop=Stop())
    assert end.missing == []
    with Store(folder.store_path) as store:
        assert [event.kind for event in store.failures()] == ["killed"]
        assert store.spent() > (end.rows[0].cost_usd or 0), "what the stopped attempt had cost is counted"


ONE_SIGNAL = """
import os, signal
from harness.run.interrupt import stop_on_signals

with stop_on_signals("polyswe-test-nobody") as stop:
    stop.request("the cost limit is reached")
    os.kill(os.getpid(), signal.SIGINT)
    print(stop.now, stop.reason)
"""


def test_one_signal_lets_the_cells_finish_also_when_the_run_is_stopping_already() -> None:
    done = subprocess.run([sys.executable, "-c", ONE_SIGNAL], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "False the cost limit is reached"), done.stderr


HANG_UP = """
import signal, sys, time
from pathlib import Path
from harness.run.interrupt import stop_on_signals
from harness.run.progress import Progress
from harness.store.rows import Cell
from harness.store.store import Store

cell = Cell("i", "m")
with Store(Path(sys.argv[1] + ".sqlite")) as store:
    store.plan({cell: "key"})
    progress = Progress(store.rows())
progress.agent_started(cell)  # the table is live
with stop_on_signals("polyswe-test-nobody") as stop:
    print("ready", flush=True)
    for _ in range(600):
        if stop.requested:
            break
        time.sleep(0.05)
    # the terminal is gone: every write to it would fail
    progress.attempt_failed(cell, kind="container", detail="gone", lost_cost_usd=0.0)
    progress.agent_ended(cell, None)
    print("results", flush=True)
    progress.close()
    Path(sys.argv[1]).write_text(f"{stop.reason}, now: {stop.now}")
"""


def test_a_terminal_that_hangs_up_lets_the_cells_finish(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored where the tests were started under nohup
        os.execv(sys.executable, [sys.executable, "-c", HANG_UP, str(tmp_path / "end")])
    try:
        while b"ready" not in os.read(terminal, 1000):
            pass
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (tmp_path / "end").read_text() == "interrupted, now: False"


def test_a_run_under_nohup_goes_on_when_the_terminal_hangs_up() -> None:
    script = """
import os, signal
from harness.run.interrupt import stop_on_signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with stop_on_signals("polyswe-test-nobody") as stop:
    os.kill(os.getpid(), signal.SIGHUP)
    print(stop.requested)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
