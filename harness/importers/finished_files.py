"""Reading a folder's packed files within bounds: whatever they hold, memory and time stay limited."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError

MOST_BYTES = 200_000_000
"""Of one file, unpacked."""


def read_packed(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a gzip file. Raises InputError: damaged, not UTF-8, or larger than `most` bytes when unpacked."""
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a whole gzip file ({error}); get it again") from None
    return _text(path, data, most)


def read_plain(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file. Raises InputError: unreadable, not UTF-8, or larger than `most` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    return _text(path, data, most)


def _text(path: Path, data: bytes, most: int) -> str:
    if len(data) > most:
        raise InputError(f"{path}: larger than {most} bytes when unpacked; it is not a file of this kind")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text when unpacked; get it again") from None


def json_lines(path: Path, text: str, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a text with one JSON object a line, with where it stands.

    Raises:
        InputError: a line is no JSON object, or lacks a key of `needed`.
    """
    # not splitlines(): it also splits at characters that JSON allows inside a string
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # ValueError: also a number of thousands of digits
            raise InputError(f"{where}: not valid JSON; the file is damaged, get it again") from None
        if not isinstance(record, dict) or (missing := [key for key in needed if key not in record]):
            what = f"no {', '.join(missing)}" if isinstance(record, dict) else "no object"
            raise InputError(f"{where}: {what}; get the file again")
        yield where, record


def csv_rows(path: Path, text: str, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every row of a CSV, with where it stands.

    Raises:
        InputError: a column of `needed` is missing, or a row has another number of fields than the header.
    """
    reader = csv.DictReader(io.StringIO(text))
    try:
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path}: no column {', '.join(missing)}; get the file again")
        for row in reader:
            where = f"{path}: line {reader.line_num}"
            if None in row or None in row.values():
                raise InputError(f"{where}: not {len(reader.fieldnames or ())} columns; the file is damaged")
            yield where, row
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}; the file is damaged") from None


def read_arrays(path: Path, names: Sequence[str], most: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """The named arrays of an `.npz` file. Nothing is unpickled, and no array is larger than its header's promise.

    Raises:
        InputError: damaged, an array is missing or holds Python objects, or it is larger than `most` bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read_array(path, archive, name, most) for name in names}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InputError(f"{path}: not a whole .npz file ({error}); get it again") from None


def _read_array(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise InputError(f"{path}: no array '{name}' in it; get the file again") from None
    if member.file_size > most:
        raise InputError(f"{path}: array '{name}' is larger than {most} bytes; it is not a file of this kind")
    with archive.open(member) as file:
        data = io.BytesIO(file.read(most + 1))
    version = np.lib.format.read_magic(data)
    if version != (1, 0):
        raise InputError(f"{path}: array '{name}' is of format {version}, expected (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(data)
    # numpy makes room for what the header says before it reads
    promised = dtype.itemsize * int(np.prod(shape, dtype=object))
    if dtype.hasobject or promised != len(data.getbuffer()) - data.tell():
        raise InputError(f"{path}: array '{name}' is not what its header says; get the file again")
    data.seek(0)
    array: NDArray[Any] = np.load(data, allow_pickle=False)
    return array
