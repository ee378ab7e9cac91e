"""The archives of one log, as they lie on disk."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rotator import naming
from rotator.naming import ArchiveName


@dataclass(frozen=True)
class Archive:
    """One archive: where it is, what its name says, and how much room it takes."""

    path: Path
    name: ArchiveName
    size: int
    modified: datetime


def scan(live: Path) -> list[Archive]:
    """The archives of the log `live`, oldest first."""
    found = []
    for entry in os.scandir(live.parent):
        name = naming.parse(live.name, entry.name)
        if name is None or not entry.is_file(follow_symlinks=False):
            continue
        info = entry.stat()
        modified = datetime.fromtimestamp(info.st_mtime, UTC)
        found.append(Archive(Path(entry.path), name, info.st_size, modified))
    return sorted(found, key=lambda archive: (archive.modified, archive.path.name))


def compress(archive: Archive) -> Path:
    """Replaces a plain archive by its gzip file; a crash in between leaves the plain one in place."""
    target = archive.path.with_name(str(archive.name.gzipped()))
    partial = target.with_name(target.name + ".part")
    with archive.path.open("rb") as plain, gzip.open(partial, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    partial.replace(target)
    archive.path.unlink()
    return target
