"""Reading files of predictions: whole documents and lines, each with a limit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.files import UnreadableFileError, open_plain, parse_json

MAX_DOCUMENT_BYTES = 512 * 2**20
"""Of one JSON document. A larger file must hold one prediction a line."""
MAX_LINE_BYTES = 128 * 2**20
"""Of one line: OpenHands writes an attempt's whole history on it."""
MAX_TRAJECTORY_BYTES = 128 * 2**20
"""A larger trajectory is not read: the attempt's cost stays unknown."""
MAX_FILES = 100_000
"""Entries of a folder that are looked at."""
BLOCK_BYTES = 2**20
BLANK = b"\xef\xbb\xbf \t\r\n"
"""Bytes around a line's value: a byte order mark and white space."""
PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""How packed files begin."""


def document(
    path: Path, limit: int = MAX_DOCUMENT_BYTES, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """The value of a JSON file; `pairs` as in `parse_json`.

    Raises:
        UnreadableFileError: it is missing, too large, no text or no JSON.
    """
    with open_plain(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnreadableFileError(f"larger than {limit >> 20} MB")
    return parse_json(_decoded(content), pairs)


def lines(path: Path) -> Iterator[tuple[int, int, Any]]:
    """Number, offset and value of every line of a JSON Lines file that is not blank.

    Raises:
        UnreadableFileError: a line is too long, no text or no JSON; the message names it.
    """
    with open_plain(path) as file:
        number = offset = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            try:
                if len(line) > MAX_LINE_BYTES:
                    raise UnreadableFileError(f"longer than {MAX_LINE_BYTES >> 20} MB")
                if line.strip(BLANK):
                    yield number, offset, parse_json(_decoded(line))
            except UnreadableFileError as error:
                raise UnreadableFileError(f"line {number}: {error}") from error
            offset += len(line)


def holds_lines(path: Path) -> bool:
    """Whether a file holds JSON Lines rather than one document. Its name decides where its beginning does not.

    Raises:
        UnreadableFileError: it is missing, or no plain file.
    """
    with open_plain(path) as file:
        first = second = b""
        while not second and (line := file.readline(MAX_LINE_BYTES + 1)):
            bare = line.strip(BLANK)
            first, second = first or bare, bare if first else b""
    if first.startswith(b"[") or first == b"{":
        return False
    if path.suffix in (".json", ".pred"):
        return bool(second) and isinstance(first_value(path), dict)
    return True


def line_at(path: Path, offset: int) -> Any:
    """The value of the line that begins at an offset.

    Raises:
        UnreadableFileError: as `lines`.
    """
    with open_plain(path) as file:
        file.seek(offset)
        line = file.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES:
        raise UnreadableFileError(f"longer than {MAX_LINE_BYTES >> 20} MB")
    return parse_json(_decoded(line))


def first_value(path: Path) -> Any:
    """The first line's JSON value; None where the line is none."""
    try:
        return next((value for _, _, value in lines(path)), None)
    except UnreadableFileError:
        return None


def head(path: Path, size: int = 4096) -> bytes:
    """The beginning of a file; empty where it cannot be read."""
    try:
        with open_plain(path) as file:
            return file.read(size)
    except (UnreadableFileError, OSError):
        return b""


def is_file(path: Path) -> bool:
    """Whether there is a plain file, itself no link."""
    return path.is_file() and not path.is_symlink()


def names(folder: Path) -> list[str]:
    """Names in a folder, sorted; at most MAX_FILES of them are looked at.

    Raises:
        InputError: it cannot be read.
    """
    found: list[str] = []
    try:
        for entry in folder.iterdir():
            found.append(entry.name)
            if len(found) >= MAX_FILES:
                break
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None
    return sorted(found)


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open_plain(path) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except UnreadableFileError as error:
        raise InputError(f"{path}: {error}") from None
    return digest.hexdigest()


def digest_of_patches(patches: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of instance ids with their patches."""
    digest = hashlib.sha256()
    for instance_id, patch in sorted(patches):
        for part in (instance_id, patch):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def packing(path: Path) -> str:
    """How a file is packed; empty where it is not."""
    begin = head(path, 8)
    return next((name for magic, name in PACKED.items() if begin.startswith(magic)), "")


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"not readable as text ({error.reason} at byte {error.start})") from error
