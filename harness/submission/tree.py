"""A folder that somebody else made, read with care: plain files only, never through a link, never without a limit."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from harness.files import UnreadableFileError, open_plain, parse_json

MAX_FILE_BYTES = 50 * 2**20
"""GitHub warns above this and refuses twice as much. A larger file is a fault and, but for test outputs, not read."""
MAX_TREE_BYTES = 5 * 2**30
"""GitHub's advice for a repository. No more than this is read or unpacked of a folder."""
MAX_JSON_BYTES = 16 * 2**20
"""A larger document, or a larger line of predictions, is not parsed: it could take fifty times its size in memory."""
MAX_UNPACKED_BYTES = 256 * 2**20
"""A test output that is larger, or that unpacks to more, is neither graded nor searched."""
MAX_FILES = 100_000
"""Files and folders looked at in one tree."""
MAX_DEPTH = 16
"""Folders within folders."""
BLOCK_BYTES = 2**20
LEFTOVERS = {
    ".DS_Store",
    ".directory",
    ".gitattributes",
    ".gitignore",
    ".gitkeep",
    ".idea",
    ".ipynb_checkpoints",
    ".keep",
    ".vscode",
    "__MACOSX",
    "__pycache__",
    "Thumbs.db",
    "desktop.ini",
    "ehthumbs.db",
}
"""What operating systems, editors and git leave in folders."""
NOT_ENTERED = {".git", ".hg", ".svn"}
"""Version control's own folders: no part of what is published."""
HARNESS_LINKS = {"image_build_dir"}
"""A link that the official harness before version 4 left in every log folder."""


class Tree:
    """The plain files below a folder, listed once; nothing else is ever opened.

    Args:
        root: The folder. Where it is itself a link, the tree is empty.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sizes: dict[str, int] = {}
        """Bytes of every plain file by its path below the root, with slashes."""
        self.faults: list[str] = []
        """What is no plain file or folder, or could not be looked at."""
        self.notes: list[str] = []
        """What was left out and is nobody's fault."""
        self._names: dict[str, list[str]] = {}
        self._unread_bytes = MAX_TREE_BYTES
        self._refused: dict[str, UnreadableFileError] = {}
        self._scan()

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders in a folder of the tree, without what systems and editors leave there."""
        return [name for name in self._names.get(folder, []) if not _is_leftover(name)]

    def has_folder(self, folder: str) -> bool:
        return folder in self._names

    def read(self, name: str, limit: int = MAX_JSON_BYTES) -> bytes:
        """The whole content of a file.

        Raises:
            UnreadableFileError: It is missing, or larger than `limit`.
        """
        size = self.sizes.get(name)
        if size is None:
            raise UnreadableFileError("missing")
        if size > limit:
            raise UnreadableFileError(f"larger than {limit >> 20} MB")
        with self._open(name) as file:
            content = file.read(limit + 1)
        if len(content) > limit:  # it grew meanwhile
            raise UnreadableFileError(f"larger than {limit >> 20} MB")
        return content

    def text(self, name: str, limit: int = MAX_JSON_BYTES) -> str:
        """The content of a text file.

        Raises:
            UnreadableFileError: As `read`, or it is no UTF-8.
        """
        try:
            return self.read(name, limit).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableFileError(f"not readable as text ({error.reason} at byte {error.start})") from error

    def json(self, name: str) -> Any:
        """The content of a JSON file.

        Raises:
            UnreadableFileError: As `text`, or it is no JSON.
        """
        return parse_json(self.text(name))

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of a file in blocks; a .gz is unpacked.

        Raises:
            UnreadableFileError: It is missing, a damaged archive, or larger than the limits of a file or of the tree.
        """
        if name in self._refused:
            raise self._refused[name]
        try:
            yield from self._blocks(name)
        except UnreadableFileError as error:
            self._refused[name] = error  # an archive that unpacks without end is unpacked once
            raise

    def _blocks(self, name: str) -> Iterator[bytes]:
        if self.sizes.get(name, 0) > MAX_UNPACKED_BYTES:
            raise UnreadableFileError(f"larger than {MAX_UNPACKED_BYTES >> 20} MB")
        total = 0
        with self._open(name) as file:
            source: Any = gzip.GzipFile(fileobj=file) if name.endswith(".gz") else file
            while True:
                try:
                    block: bytes = source.read(BLOCK_BYTES)
                except (OSError, EOFError, zlib.error) as error:
                    raise UnreadableFileError(f"a damaged file ({error})") from error
                if not block:
                    return
                total += len(block)
                self._unread_bytes -= len(block)
                if total > MAX_UNPACKED_BYTES:
                    raise UnreadableFileError(f"unpacks to more than {MAX_UNPACKED_BYTES >> 20} MB")
                if self._unread_bytes < 0:
                    raise UnreadableFileError(f"not read, after {MAX_TREE_BYTES >> 30} GB of the folder were")
                yield block

    def _open(self, name: str) -> BinaryIO:
        if name not in self.sizes:
            raise UnreadableFileError("missing")
        return open_plain(self.root / name)

    def _scan(self) -> None:
        if self.root.is_symlink():
            self.faults.append(f"{self.root.name}: a symbolic link, which is not followed")
            return
        leftovers: set[str] = set()
        links: list[str] = []
        looked_at = 0
        pending = [("", 0)]
        while pending:
            folder, depth = pending.pop()
            names = self._names.setdefault(folder, [])
            try:
                entries = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
            except OSError as error:
                self.faults.append(f"{folder or self.root.name}: cannot be read ({error.strerror})")
                continue
            for entry in entries:
                looked_at += 1
                if looked_at > MAX_FILES:
                    self.faults.append(f"more than {MAX_FILES} files: the others are not checked")
                    return
                name = f"{folder}/{entry.name}" if folder else entry.name
                if _is_leftover(entry.name):
                    leftovers.add(entry.name)
                if entry.is_symlink():
                    if entry.name in HARNESS_LINKS:
                        links.append(name)
                    else:
                        self.faults.append(f"{name}: a symbolic link, which is not followed")
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name in NOT_ENTERED:
                        continue
                    names.append(entry.name)
                    if depth + 1 > MAX_DEPTH:
                        self.faults.append(f"{name}: more than {MAX_DEPTH} folders deep, which is not checked")
                    else:
                        pending.append((name, depth + 1))
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
                    self.sizes[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    self.faults.append(f"{name}: a pipe, socket or device, which is not opened")
        if leftovers:
            self.notes.append(f"ignored, left by a system or an editor: {', '.join(sorted(leftovers)[:8])}")
        if links:
            self.notes.append(f"{len(links)} links of older harnesses (image_build_dir) are not followed")


def _is_leftover(name: str) -> bool:
    return name in LEFTOVERS or name.startswith("._")
