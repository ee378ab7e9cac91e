"""Files that are either there whole or not there."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path


def write_atomic(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write a file so that a crash leaves the old content or the new, never a part; on disk when this returns.

    `durable=False` does not wait for the disk: for files that can be made again from others.
    """
    make_folder(path.parent)
    data = content.encode("utf-8", errors="replace") if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            if durable:
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and its parents so that they are still there after a power cut."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """What was created, renamed or removed in a folder is on disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(folder: Path) -> None:
    """The files that lie in a folder, written by whomever, are on disk when this returns."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def cache_dir() -> Path:
    """`$POLYSWE_CACHE`, or `~/.cache/polyswe`; not created here."""
    return Path(os.environ.get("POLYSWE_CACHE") or Path.home() / ".cache" / "polyswe")


def slug(name: str) -> str:
    """A name as a file, folder or container name: readable, and distinct for distinct names."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "model"
    if readable == name:
        return name
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
