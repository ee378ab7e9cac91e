"""The folder of one run: `run.yaml`, `outcomes.sqlite`, a folder per cell, the results."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from harness.config import Config
from harness.data.instances import Dataset
from harness.errors import InputError, RunLockedError
from harness.files import YamlError, parse_yaml, slug, why_unread, write_atomic
from harness.store.rows import Cell
from harness.store.store import Store

VERSIONED = ("polyswe", "swebench", "mini-swe-agent", "litellm", "sentence-transformers", "docker")
"""Packages whose versions a run records."""
PATCH_FILE = "patch.diff"
"""A cell's submitted patch; empty when nothing was submitted."""
CARRIED_FILE = "carried.diff"
"""The earlier attempt's diff that an attempt started with."""
UNSUBMITTED_FILE = "unsubmitted.diff"
"""Work an agent left in its container without submitting it: kept to look at, never graded."""
SELECTION = "selection"
"""A run's folder of the results of a part of it."""
TESTS = "tests"
"""A run's folder of the run inside it that has tests written for its instances."""
TRAJECTORY_FILE = "trajectory.json"
"""A cell's messages, as mini-swe-agent keeps them."""
TEST_OUTPUT_FILE = "test_output.txt"
"""What a cell's tests printed."""


class RunFolder:
    """Where one run is kept."""

    def __init__(self, path: Path, label: str = "") -> None:
        """
        Args:
            path: where it is.
            label: names it on the engine; by default its own.
        """
        self.path = path
        self._label = label
        self._handle: int | None = None
        """The open folder, while this process holds its lock."""

    @property
    def store_path(self) -> Path:
        return self.path / "outcomes.sqlite"

    @property
    def is_part(self) -> bool:
        """Whether this is a run's `selection/`: results of a part, whose cells are in the run's own store."""
        return not self.store_path.is_file() and (self.path.parent / self.store_path.name).is_file()

    @property
    def part(self) -> RunFolder:
        """Where results go when a command asks for a part of what this folder holds."""
        return RunFolder(self.path / SELECTION)

    @property
    def tests(self) -> RunFolder:
        """The run inside this one that has tests written; its containers are this run's."""
        return RunFolder(self.path / TESTS, self.label)

    @property
    def scratch(self) -> Path:
        """Where the official harness writes while it grades."""
        return self.path / ".grading"

    @property
    def label(self) -> str:
        """Names this run on the engine; two checkouts' runs of the same name are told apart by their place."""
        if self._label:
            return self._label
        place = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:8]
        return f"{slug(self.path.name).lower()}-{place}"

    @property
    def manifest_path(self) -> Path:
        return self.path / "run.yaml"

    @property
    def cells_path(self) -> Path:
        return self.path / "instances"

    def cell_dir(self, cell: Cell) -> Path:
        """The cell's files; a repeated attempt's lie beside those of the first."""
        return self.cells_path / slug(cell.instance_id) / attempt_slug(cell.model, cell.attempt)

    def earlier_dir(self, cell: Cell, number: int) -> Path:
        """The files of an attempt whose cell was attempted again; `number` counts such attempts from 1."""
        place = self.cell_dir(cell)
        return place.with_name(f"{place.name}.replaced-{number}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder while this one works in it; the lock goes with the process.

        A file beside the folder is locked, so that putting the folder aside does not take the lock away, and the folder
        itself, so that removing the file does not either.

        Raises:
            RunLockedError: another process holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("a+") as file:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            self._lock(file.fileno(), holder)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self.path.mkdir(exist_ok=True)
            try:
                self._lock_folder(holder)
                yield
            finally:
                self._unlock_folder()

    def _lock(self, handle: int, holder: str) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunLockedError(
                f"{self.path} is in use by another polyswe process (pid {holder}); "
                "wait for it or choose another --run-id"
            ) from error

    def _lock_folder(self, holder: str) -> None:
        self._handle = os.open(self.path, os.O_RDONLY)
        try:
            self._lock(self._handle, holder)
        except OSError as error:  # a network file system may lock files only
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP):
                raise

    def _unlock_folder(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def archive(self) -> Path | None:
        """Rename a folder that holds a run, so that nothing of it is lost; returns its new place. Call it locked."""
        if not any(self.path.iterdir()):
            return None
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        target = self.path.with_name(f"{self.path.name}.{stamp}")
        self.path.rename(target)
        self._unlock_folder()
        self.path.mkdir()
        self._lock_folder(str(os.getpid()))
        return target

    def check_store(self) -> None:
        """Refuse a folder whose attempts are on the disk while its store knows of none: they would all be paid again.

        Raises:
            InputError: the store is gone, empty, or another run's.
        """
        if not self.cells_path.is_dir() or not any(self.cells_path.glob(f"*/*/{PATCH_FILE}")):
            return
        if self.store_path.is_file() and self.store_path.stat().st_size:
            with Store(self.store_path, read_only=True) as store:
                if store.rows() or store.replaced():
                    return
            state = "holds no cells"
        else:
            state = "is empty" if self.store_path.is_file() else "is gone"
        raise InputError(
            f"{self.store_path} {state}, but {self.cells_path} holds finished attempts: bring back a copy of the "
            "store, or start anew with --fresh, which puts the folder aside"
        )

    def restore_patch(self, cell: Cell) -> bool:
        """Make sure that the patch of a finished attempt can be read; one that is lost is taken from the trajectory.

        A damaged file is kept beside the new one. False when the patch is nowhere.
        """
        path = self.cell_dir(cell) / PATCH_FILE
        try:
            read_patch(self, cell)
        except InputError:
            submission = submission_in(self.cell_dir(cell) / TRAJECTORY_FILE)
            if submission is None:
                return False
            if path.exists():
                path.rename(path.with_name(f"{PATCH_FILE}.damaged"))
            write_atomic(path, submission)
        return True

    def write_manifest(self, config: Config, dataset: Dataset) -> None:
        """Write `run.yaml`: what was asked for, of which data, with which versions. Holds no secret: keys are names."""
        frozen = {
            "config": config.model_dump(mode="json", exclude_none=True),
            "dataset": {
                "name": dataset.name,
                "instances": len(dataset.instances),
                "fingerprint": dataset.fingerprint,
                "scripted": dataset.scripted,
            },
            "versions": {name: version(name) for name in VERSIONED},
        }
        write_atomic(self.manifest_path, yaml.safe_dump(frozen, sort_keys=False, allow_unicode=True))

    def write_dataset(self, dataset: Dataset) -> None:
        """Write `dataset.jsonl`: every column of every instance."""
        rows_as_json = "".join(json.dumps(dict(instance.row), default=str) + "\n" for instance in dataset.instances)
        write_atomic(self.path / "dataset.jsonl", rows_as_json)

    @property
    def has_manifest(self) -> bool:
        """Whether `read_manifest` can read the file."""
        try:
            self.read_manifest()
        except InputError:
            return False
        return True

    def without_run(self, lacks: str) -> InputError:
        """The error for a folder without a run; a run of this name in results/ is named."""
        usual = RunFolder(Path("results") / self.path.name)
        hint = f"; did you mean {usual.path}?" if usual.store_path.is_file() and usual.path != self.path else ""
        return InputError(f"{self.path} holds no run (no {lacks}){hint}")

    def read_manifest(self) -> dict[str, Any]:
        """What `write_manifest` wrote.

        Raises:
            InputError: the folder holds no run.
        """
        if self.is_part:
            raise InputError(f"{self.path} holds a part of the run {self.path.parent}: name that")
        path = self.manifest_path
        mend = (
            "bring back a copy of it, or repeat the command that made the run: it writes the file anew and pays nothing"
        )
        try:
            content = parse_yaml(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise self.without_run(path.name) from error
        except (OSError, UnicodeDecodeError, YamlError) as error:
            raise InputError(f"{path}: damaged ({error}); {mend}") from error
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise InputError(f"{path} is not a run's configuration as it was written; {mend}")
        return content


def attempt_slug(model: str, attempt: int) -> str:
    """Names files of a model's attempt: the first as the model, further ones by a sign that no model's slug has."""
    return slug(model) + (f"@{attempt}" if attempt > 1 else "")


def read_patch(folder: RunFolder, cell: Cell) -> str:
    """The patch of a finished attempt, byte for byte (line ends matter to `git apply`).

    Raises:
        InputError: it is gone or damaged.
    """
    path = folder.cell_dir(cell) / PATCH_FILE
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({why_unread(error)}); bring back a copy of it") from error


def submission_in(trajectory: Path) -> str | None:
    """The patch that a trajectory says was submitted, also where that is empty; None when it does not say."""
    try:
        info = json.loads(trajectory.read_text(encoding="utf-8"))["info"]
        status, submission = info["exit_status"], info["submission"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(status, str) or not isinstance(submission, str):
        return None
    return submission if status == "Submitted" else ""
