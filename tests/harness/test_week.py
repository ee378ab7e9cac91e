"""The script of a week in the docs runs from a checkout, and its steps do what the docs say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from harness.grading.verdict import Verdict
from harness.store.rows import CellRow
from harness.store.run_folder import RunFolder
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.data.instances import Dataset

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = {"plain", "mini", "swe-agent", "OpenHands m", "claude-code m", "submission"}


def rows_of(folder: Path) -> list[CellRow]:
    with Store(RunFolder(folder).store_path, read_only=True) as store:
        return store.rows()


@pytest.mark.slow
@pytest.mark.docker
def test_a_week_on_the_sample(sample: Dataset, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "polyswe"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    done = subprocess.run(
        ["bash", ROOT / "harness/docs/week.sh", tmp_path / "week"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = tmp_path / "week" / "results"

    rows = rows_of(results / "week")
    assert Counter((row.model, row.attempt) for row in rows) == {
        (f"scripted-{size}", attempt): 4 for size in ("small", "medium", "large") for attempt in (1, 2)
    }
    assert "week: 24 of 24 cells" not in done.stdout.split("== 5.")[0], "the second process looked while it ran"
    empty = [row for row in rows if row.model == "scripted-small" and row.verdict is Verdict.EMPTY_PATCH]
    kept = sorted(path.name for path in (results / "week").glob("instances/*/*.replaced-1"))
    assert kept == ["scripted-small.replaced-1", "scripted-small@2.replaced-1"]
    assert f"to attempt again: {len(kept)} cells with a verdict" in done.stdout

    own = {row.instance_id: row.verdict for row in rows if row.model == "scripted-small" and row.attempt == 1}
    assert {Verdict.RESOLVED, Verdict.UNRESOLVED, Verdict.EMPTY_PATCH} == set(own.values())
    assert empty
    graded = rows_of(results / "foreign")
    assert {row.model for row in graded} == FOREIGN
    for model in FOREIGN:
        verdicts = {row.instance_id: row.verdict for row in graded if row.model == model}
        without_patch = model == "claude-code m"  # a trial of harbor without a patch is left out
        assert verdicts == {i: v for i, v in own.items() if not (without_patch and v is Verdict.EMPTY_PATCH)}

    exported = pq.read_table(tmp_path / "week" / "week.parquet").to_pylist()
    assert len(exported) == len((tmp_path / "week" / "week.csv").read_text().splitlines()) - 1 == 24
    assert sum(row["resolved"] for row in exported) == sum(row.verdict is Verdict.RESOLVED for row in rows)
