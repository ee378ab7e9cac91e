"""What the store promises is on the disk before it says so: seen by the system calls that a run makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.config import find_config, load_config, with_overrides
from harness.files import make_folder, write_atomic
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.data.instances import Dataset


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[int, int]]]:
    """(device, inode) of everything that is flushed meanwhile; flushing itself goes on as it does."""
    flushed: set[tuple[int, int]] = set()
    flush = os.fsync

    def noting(handle: int) -> None:
        flush(handle)
        found = os.fstat(handle)
        flushed.add((found.st_dev, found.st_ino))

    monkeypatch.setattr(os, "fsync", noting)
    yield flushed
    monkeypatch.undo()


def place(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def test_a_file_and_every_folder_that_leads_to_it_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch) as flushed:
        write_atomic(tmp_path / "a" / "b" / "file", "content")
    for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "file"):
        assert place(path) in flushed, path
    with watched(monkeypatch) as flushed:
        make_folder(tmp_path / "a" / "b")
    assert flushed == set(), "what is there already costs nothing"


@pytest.mark.docker
def test_patches_and_reports_are_on_the_disk_before_the_store_speaks(
    sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "sample")
    config = with_overrides(
        load_config(find_config("sample")), {"dataset.instances": [sample.instances[0].instance_id]}
    )
    recorded: list[str] = []
    with watched(monkeypatch) as flushed:
        agent_done, graded = Store.agent_done, Store.graded

        def check_patch(store: Store, cell: Cell, attempt: Any) -> None:
            assert place(folder.cell_dir(cell) / "patch.diff") in flushed
            assert (folder.cell_dir(cell) / "patch.diff").read_text() == attempt.patch
            recorded.append("agent done")
            agent_done(store, cell, attempt)

        def check_report(store: Store, cell: Cell, grade: Any, failure: str = "") -> None:
            for name in ("patch.diff", "report.json", "test_output.txt"):
                path = folder.cell_dir(cell) / name
                if path.exists():
                    assert place(path) in flushed, path
            recorded.append("graded")
            graded(store, cell, grade, failure)

        monkeypatch.setattr(Store, "agent_done", check_patch)
        monkeypatch.setattr(Store, "graded", check_report)
        end = evaluate(config, folder, stop=Stop())
    assert end.missing == []
    assert sorted(recorded) == ["agent done"] * 3 + ["graded"] * 3
