"""A cascade whose second attempt starts with the first one's diff: real containers, a kill, and a resume."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.config import Config, find_config, load_config, with_overrides
from harness.data.embeddings import embed_texts
from harness.data.instances import Dataset
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.run.plan import plan
from harness.store.keys import SEPARATOR
from harness.store.rows import Cell
from harness.store.run_folder import CARRIED_FILE, TRAJECTORY_FILE, RunFolder, read_patch
from harness.store.store import Store
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

SMALL, MEDIUM = "scripted-small", "scripted-medium"
INSTANCE = "polyswe__tabula-101"
"""The small stand-in changes tabula/wrap.py, which the medium one reads first."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade that has learned that a cheap attempt of more than two calls is wrong."""
    rng = np.random.default_rng(0)
    right = np.stack([rng.random(400) < 0.5, rng.random(400) < 0.8], axis=1)
    calls = np.where(right[:, [0]], 2, 6) * np.ones((1, 2))
    outcomes = OutcomeMatrix.build(
        [f"r__{i}" for i in range(400)], [SMALL, MEDIUM], right, np.tile([0.001, 0.004], (400, 1)), calls
    )
    X = np.repeat(embed_texts(["issue"]), 400, axis=0)
    path = tmp_path_factory.mktemp("router") / "carry.safetensors"
    policy = make_policy("cascade", cost_weight=1.0, carry="patch").fit(X, outcomes)
    Router(policy, (SMALL, MEDIUM), Embedder()).save(path)
    return path


def configured(checkpoint: Path, root: Path) -> tuple[Config, list[str]]:
    overrides = {
        "dataset.instances": [INSTANCE],
        "run.mode": "routed",
        "router.checkpoint": str(checkpoint),
        "out.root": str(root),
        "out.run_id": "carry",
    }
    words = [part for key, value in overrides.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    return with_overrides(load_config(find_config("sample")), overrides), words


@pytest.mark.docker
@pytest.mark.slow
def test_the_next_attempt_starts_with_the_diff_of_the_one_before_also_after_a_kill(
    sample: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    config, words = configured(checkpoint, tmp_path)
    folder = RunFolder(tmp_path / "carry")
    carried = folder.cell_dir(Cell(INSTANCE, MEDIUM)) / CARRIED_FILE
    command = [sys.executable, "-m", "harness", "evaluate", "sample", *words]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        until = time.monotonic() + 400
        while not carried.is_file() and time.monotonic() < until and victim.poll() is None:
            time.sleep(0.05)
        assert carried.is_file(), victim.communicate(timeout=5)[0].decode() if victim.poll() is not None else "too slow"
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()

    end = evaluate(config, folder, stop=Stop())
    assert end.missing == []
    rows = {row.model: row for row in end.rows}
    assert set(rows) == {SMALL, MEDIUM}
    first = read_patch(folder, Cell(INSTANCE, SMALL))
    assert carried.read_text() == first
    assert rows[MEDIUM].signals["carried_applied"] == 1
    assert "carried_applied" not in rows[SMALL].signals
    conversation = (folder.cell_dir(Cell(INSTANCE, MEDIUM)) / TRAJECTORY_FILE).read_text()
    assert "Another engineer has started to work on this task" in conversation
    assert "def head(text: str" in conversation, "what it read in its container is the first one's work"

    with Store(folder.store_path) as store:
        again = plan(config, sample, store.rows(), folder)
    fresh = plan(config.model_copy(update={"run": config.run.model_copy(update={"mode": "matrix"})}), sample)
    cell, other = Cell(INSTANCE, MEDIUM), Cell(INSTANCE, SMALL)
    assert (again[cell], again[other]) == (rows[MEDIUM].key, fresh[other])
    assert again[cell].split(SEPARATOR)[0] != fresh[cell].split(SEPARATOR)[0], "it never passes for a fresh attempt"
