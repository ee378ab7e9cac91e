"""What a user mends or loses between two starts of a run costs no attempt twice, and is told on one line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agents.scripted.server import ScriptedServer
from harness.config import Config, find_config, load_config, with_overrides
from harness.data.instances import Dataset
from harness.errors import InputError
from harness.grading.verdict import Verdict
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.sample import PLAYBOOK
from harness.store.rows import Cell, CellRow, State
from harness.store.run_folder import PATCH_FILE, TRAJECTORY_FILE, RunFolder
from harness.store.store import Store

pytestmark = pytest.mark.docker

INSTANCE = "polyswe__spanset-303"
MODEL = "scripted-large"
CELL = Cell(INSTANCE, MODEL)


class Bench:
    """A run of one cell, whose dataset and folder are tampered with between its starts."""

    def __init__(self, row: dict[str, Any], folder: Path, address: str) -> None:
        self.folder = RunFolder(folder / "run")
        self.dataset = folder / "data.json"
        self.lines: list[str] = []
        self.write(row)
        config = load_config(find_config("sample"))
        pool = [m.model_copy(update={"api_base": address}) for m in config.pool if m.name == MODEL]
        self.config = with_overrides(config.model_copy(update={"pool": pool}), {"dataset.name": str(self.dataset)})

    def write(self, row: dict[str, Any]) -> None:
        self.dataset.write_text(json.dumps([row]))

    def start(self, config: Config | None = None) -> CellRow:
        end = evaluate(config or self.config, self.folder, stop=Stop(), say=self.lines.append)
        (row,) = end.rows
        return row


def test_no_attempt_is_paid_twice_for_what_is_mended_or_lost(sample: Dataset, tmp_path: Path) -> None:
    mended = next(dict(i.row) for i in sample.instances if i.instance_id == INSTANCE)
    wrong = mended | {"FAIL_TO_PASS": ["tests/test_algebra.py::test_of_another_dataset"]}
    with ScriptedServer(PLAYBOOK) as server:
        bench = Bench(wrong, tmp_path, server.url)
        first = bench.start()
        calls = len(server.log())
        assert first.verdict is Verdict.UNRESOLVED
        assert calls == first.api_calls

        # the row's grading is mended: only the grading repeats
        bench.write(mended)
        again = bench.start()
        assert again.verdict is Verdict.RESOLVED
        assert (again.cost_usd, again.agent_seconds) == (first.cost_usd, first.agent_seconds)
        assert "1 finished attempts are graded again: their grading is another now" in bench.lines

        # the patch is lost before it is graded: it comes back from the trajectory
        patch = bench.folder.cell_dir(CELL) / PATCH_FILE
        content = patch.read_bytes()
        patch.unlink()
        longer = with_overrides(bench.config, {"run.grading_timeout": 240})
        assert bench.start(longer).verdict is Verdict.RESOLVED
        assert patch.read_bytes() == content

        # the store is emptied: nothing is begun anew over the old patches
        store = bench.folder.store_path.read_bytes()
        bench.folder.store_path.write_bytes(b"")
        with pytest.raises(InputError, match=r"is empty.*--fresh"):
            bench.start(longer)
        assert patch.read_bytes() == content
        bench.folder.store_path.write_bytes(store)
        assert bench.start(longer).state is State.GRADED
        assert len(server.log()) == calls, "an attempt was paid again"

        # the issue itself is another: that is another run
        bench.write(mended | {"problem_statement": "another issue"})
        with pytest.raises(InputError, match="other settings"):
            bench.start(longer)

        # patch and trajectory are gone before the grading: the attempt begins anew, what it had cost is lost
        bench.write(mended)
        patch.unlink()
        (patch.parent / TRAJECTORY_FILE).write_text("{")
        with sqlite3.connect(bench.folder.store_path) as db:
            db.execute("UPDATE cells SET state = 'agent done', verdict = NULL")
        last = bench.start(longer)
        assert (last.verdict, last.cost_usd) == (Verdict.RESOLVED, first.cost_usd)
        assert last.lost_cost_usd == first.cost_usd
        assert len(server.log()) == 2 * calls
    with Store(bench.folder.store_path, read_only=True) as reader:
        assert [event.kind for event in reader.failures()] == ["lost"]
