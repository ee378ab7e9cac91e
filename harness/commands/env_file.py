"""`--env-file`: keys and tokens from a file, for this process alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import say
from harness.errors import InputError
from harness.files import why_unread

MAX_BYTES = 1_000_000
"""A larger file holds no variables."""
READABLE_BY_OTHERS = 0o077
"""Permissions of the group and of everybody."""


def load_env_file(path: Path) -> None:
    """Set the variables that a file names and that are not set yet; messages hold their names, never a value.

    The file has lines NAME=VALUE, also with `export`, quotes and comments. `$NAME` in a value stays as it is: a key may
    hold such signs.

    Raises:
        InputError: the file cannot be read, or a line is none of these.
    """
    try:
        with path.open("rb") as file:  # a pipe, too: of a password manager, say
            content = file.read(MAX_BYTES + 1)
            status = os.fstat(file.fileno())
        if len(content) > MAX_BYTES:
            raise InputError(f"--env-file {path}: longer than {MAX_BYTES:,} bytes, which is no file of variables")
        text = content.decode("utf-8-sig")
        readable = stat.S_ISREG(status.st_mode) and status.st_mode & READABLE_BY_OTHERS
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--env-file {path}: cannot be read ({why_unread(error)})") from None
    if readable:
        say(f"--env-file {path}: other users of this machine may read it: chmod 600 {path}")
    variables = _parsed(text, path)
    kept = [name for name in variables if name in os.environ]
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    set_now = [name for name in variables if name not in kept]
    already = f"; set before and kept: {_listed(kept)}" if kept else ""
    say(f"--env-file {path}: {_listed(set_now) or 'no new variable'}{already}")


def _parsed(text: str, path: Path) -> dict[str, str]:
    from io import StringIO

    from dotenv.parser import parse_stream

    variables: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            raise InputError(f"--env-file {path}, line {binding.original.line}: not NAME=VALUE")
        if binding.key is not None and binding.value is not None:
            if "\0" in binding.key + binding.value or "=" in binding.key:
                raise InputError(f"--env-file {path}, line {binding.original.line}: no variable can hold this")
            variables[binding.key] = binding.value
    return variables


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _load(path: Path | None) -> Path | None:
    if path is not None:
        load_env_file(path)
    return path


EnvFileOption = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        callback=_load,
        is_eager=True,  # before anything reads the environment
        help="File with lines NAME=VALUE, for keys and tokens; variables that are already set are not changed.",
    ),
]
