"""The SQLite file of an outcome store: how it is opened, for readers and for the run, and its transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InputError
from harness.files import sync_folder
from harness.store.schema import SCHEMA, make_tables


def open_database(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the file, and make its tables where they are missing.

    Args:
        path: the SQLite file.
        read_only: refuse every change; the file must exist.

    Raises:
        InputError: the file is not a store of this schema, or is missing where it is only read.
        sqlite3.OperationalError: the disk is full, the folder is read-only, or the file is locked.
    """
    if read_only and not (path.is_file() and path.stat().st_size):
        state = "empty" if path.is_file() else "gone"
        raise InputError(f"{path} is {state}; bring back a copy of it, or start anew with --fresh")
    db = connect(path, read_only=read_only, writable=os.access(path.parent, os.W_OK))
    try:
        _check_schema(db, path)
        if not read_only:
            _prepare(db, path)
    except sqlite3.OperationalError:  # not the file's fault
        db.close()
        raise
    except sqlite3.DatabaseError as error:
        db.close()
        raise InputError(f"{path}: not a readable outcome store ({error})") from error
    except InputError:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def connect(path: Path, *, read_only: bool, writable: bool) -> sqlite3.Connection:
    """A reader opens the file for writing, too, where it may: only then does SQLite tidy up its `-wal` file.

    Where it may not, a `-wal` file with the latest changes is read with the file; that needs the `-shm` file beside it.
    """
    mode = "mode=rwc"
    if read_only:
        wal = path.with_name(f"{path.name}-wal")
        mode = "mode=rw" if writable else "mode=ro" if wal.is_file() and wal.stat().st_size else "immutable=1"
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{mode}", uri=True, check_same_thread=False, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    if read_only:
        connection.execute("PRAGMA query_only=ON")
    return connection


def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise InputError(f"{path}: outcome store of schema {version}, this polyswe reads {SCHEMA}; update polyswe")


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make what a run writes durable, and the tables."""
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    with transaction(db):
        make_tables(db)
    sync_folder(path.parent)  # a file that SQLite has just created
