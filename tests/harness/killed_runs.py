"""Runs that are killed: their processes, their stores, and the provider's own books of who asked for what."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from agents.scripted.server import ScriptedServer
from harness.docker.engine import RUN_LABEL
from harness.store.rows import COLUMNS, Cell, CellRow, cell_row
from harness.store.run_folder import RunFolder

if TYPE_CHECKING:
    from docker import DockerClient

STARTED: list[subprocess.Popen[bytes]] = []
"""Every process of the test that runs."""


def rows_of(folder: RunFolder) -> dict[Cell, CellRow]:
    """The store's cells, read without disturbing a run that may be writing to it."""
    with closing(sqlite3.connect(f"file:{folder.store_path}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        try:
            found = [cell_row(row) for row in db.execute(f"SELECT {', '.join(COLUMNS)} FROM cells")]
        except sqlite3.OperationalError:  # not made yet
            return {}
    return {row.cell: row for row in found}


def leaked(engine: DockerClient, folder: RunFolder) -> list[str]:
    wanted = {"label": f"{RUN_LABEL}={folder.label}"}
    return [c.name or "" for c in engine.containers.list(all=True, filters=wanted, ignore_removed=True)]


class Books:
    """Who asked for what since the books were opened, by the provider's own count."""

    def __init__(self, provider: ScriptedServer) -> None:
        self._provider = provider
        self._first = len(provider.log())

    def calls(self, *, tests: bool = False) -> Counter[Cell]:
        """Calls of attempts, or of the writers of tests."""
        log = self._provider.log()[self._first :]
        return Counter(Cell(c.instance_id, c.model) for c in log if c.tests is tests)

    def cost(self, prices: dict[str, tuple[float, float]]) -> float:
        log = self._provider.log()[self._first :]
        return sum(c.prompt_tokens * prices[c.model][0] + c.completion_tokens * prices[c.model][1] for c in log)


class Victim:
    """The run under test as a process, started with the same command each time."""

    def __init__(self, config_file: Path, out: Path, log: Path) -> None:
        self.folder = RunFolder(out / "run")
        # a shell without job control lets what it puts in the background ignore Ctrl-C, the suite and its children too
        self._command = ["env", "--default-signal=INT", sys.executable]
        self._command += ["-m", "harness", "evaluate", str(config_file), "--out", str(out)]
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        STARTED.append(self.process)
        return self.process

    def rows(self) -> dict[Cell, CellRow]:
        return rows_of(self.folder) if self.folder.store_path.exists() else {}

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]
