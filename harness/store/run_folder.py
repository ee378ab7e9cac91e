"""The folder of one run: `run.yaml`, `outcomes.sqlite`, a folder per cell, the results."""

from __future__ import annotations

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
from harness.files import slug, write_atomic
from harness.store.store import Cell

VERSIONED = ("polyswe", "swebench", "mini-swe-agent", "litellm", "sentence-transformers", "docker")
"""Packages whose versions a run records."""


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def store_path(self) -> Path:
        return self.path / "outcomes.sqlite"

    @property
    def is_part(self) -> bool:
        """Whether this is a run's `selection/`: results of a part, whose cells are in the run's own store."""
        return not self.store_path.is_file() and (self.path.parent / self.store_path.name).is_file()

    @property
    def scratch(self) -> Path:
        """Where the official harness writes while it grades."""
        return self.path / ".grading"

    @property
    def label(self) -> str:
        """Names this run on the engine; two checkouts' runs of the same name are told apart by their place."""
        place = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:8]
        return f"{slug(self.path.name).lower()}-{place}"

    def cell_dir(self, cell: Cell) -> Path:
        return self.path / "instances" / slug(cell.instance_id) / slug(cell.model)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder while this one works in it; the lock goes with the process.

        Raises:
            RunLockedError: another process holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # beside the folder, so that putting the folder aside does not take the lock away
        with self.path.with_name(f".{self.path.name}.lock").open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                raise RunLockedError(
                    f"{self.path} is in use by another polyswe process (pid {holder}); "
                    "wait for it or choose another --run-id"
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            self.path.mkdir(exist_ok=True)
            yield

    def archive(self) -> Path | None:
        """Rename a folder that holds a run, so that nothing of it is lost; returns its new place. Call it locked."""
        if not self.store_path.exists():
            return None
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        target = self.path.with_name(f"{self.path.name}.{stamp}")
        self.path.rename(target)
        self.path.mkdir()
        return target

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
        write_atomic(self.path / "run.yaml", yaml.safe_dump(frozen, sort_keys=False, allow_unicode=True))

    def write_dataset(self, dataset: Dataset) -> None:
        """Write `dataset.jsonl`: every column of every instance."""
        rows_as_json = "".join(json.dumps(dict(instance.row), default=str) + "\n" for instance in dataset.instances)
        write_atomic(self.path / "dataset.jsonl", rows_as_json)

    def read_manifest(self) -> dict[str, Any]:
        """What `write_manifest` wrote.

        Raises:
            InputError: the folder holds no run.
        """
        if self.is_part:
            raise InputError(f"{self.path} holds a part of the run {self.path.parent}: name that")
        path = self.path / "run.yaml"
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{self.path} holds no run (no run.yaml)") from error
        if not isinstance(content, dict) or "config" not in content:
            raise InputError(f"{path} is not a run's frozen configuration")
        return content


PATCH_FILE = "patch.diff"


UNSUBMITTED_FILE = "unsubmitted.diff"
"""Work an agent left in its container without submitting it: kept to look at, never graded."""


def read_patch(folder: RunFolder, cell: Cell) -> str:
    """The patch of a finished attempt, byte for byte (line ends matter to `git apply`)."""
    return (folder.cell_dir(cell) / PATCH_FILE).read_bytes().decode("utf-8")
