"""Files: written whole or not at all, safe names and paths, YAML that says what it means."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, BinaryIO

import yaml

MAX_YAML_VALUES = 1_000_000
"""Values a YAML text may hold once its aliases are written out."""


class YamlError(ValueError):
    """A YAML text is malformed, ambiguous or made to exhaust its reader; the message is one line with its place."""


class UnreadableFileError(ValueError):
    """A file is missing, too large, no plain file or not what its name says; the message is one line."""


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file that somebody else made; a link or a pipe is neither followed nor waited for.

    Raises:
        UnreadableFileError: it is missing, no plain file, or may not be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise UnreadableFileError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UnreadableFileError("no plain file")
    return os.fdopen(handle, "rb")


def parse_json(text: str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """A JSON document's value.

    Args:
        text: The document.
        pairs: Makes the value of an object from its keys and values (default: a dict).

    Raises:
        UnreadableFileError: It is none, or nested deeper than Python can read.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise UnreadableFileError(f"not valid JSON ({error.msg})") from error
    except ValueError as error:  # a number of thousands of digits
        raise UnreadableFileError("not valid JSON (a number that is too long)") from error
    except RecursionError as error:
        raise UnreadableFileError("not readable as JSON (nested too deeply)") from error


def why_unread(error: Exception) -> str:
    """Why a file could not be read, without the number and the path that Python puts around it."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return (isinstance(error, OSError) and error.strerror) or str(error)


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
    return expand_home(Path(os.environ.get("POLYSWE_CACHE") or "~/.cache/polyswe"))


def expand_home(path: Path) -> Path:
    """The path with a leading `~` replaced by the home folder.

    Raises:
        ValueError: there is no such user, or no home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error


def user_path(name: str | Path) -> Path:
    """A path with a leading `~` replaced where that user is known; as it is where not, which is then no such file."""
    path = Path(name)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def expand_variables(path: Path) -> Path:
    """The path with each `$NAME` and `${NAME}` replaced by the environment variable.

    A folder's name may hold a `$`: `pay$roll` stays as it is where no variable `roll` is set.

    Raises:
        ValueError: a whole part of the path is a variable that is not set.
    """
    for part in path.parts:
        variable = re.fullmatch(r"\$(\{[A-Za-z_]\w*\}|[A-Za-z_]\w*)", part)
        if variable and (name := variable[1].strip("{}")) not in os.environ:
            raise ValueError(f"{path}: the environment variable {name} is not set")
    return Path(os.path.expandvars(path))


def slug(name: str) -> str:
    """A name as a file, folder or container name: readable, and distinct for distinct names."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "model"
    if readable == name:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()  # file names need not be UTF-8
    return f"{readable}-{digest[:6]}"


def parse_yaml(text: str) -> Any:
    """A YAML text's value.

    Raises:
        YamlError: not valid YAML, a key is given twice (a limit must not be silently dropped), or aliases that
            multiply to more than `MAX_YAML_VALUES` values.
    """
    try:
        loader = _StrictLoader(text)
    except yaml.YAMLError as error:  # it reads the characters here, and YAML allows no control characters
        number = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise YamlError(f"line {number}: a control character, which YAML does not allow") from error
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise YamlError(f"{line}{getattr(error, 'problem', None) or 'not valid YAML'}") from error
    except (ValueError, RecursionError) as error:
        raise YamlError("nested too deeply" if isinstance(error, RecursionError) else str(error)) from error
    finally:
        loader.dispose()


def yaml_lines(text: str) -> dict[tuple[int | str, ...], int]:
    """Line of every value of a sound YAML text by its place, such as `("pool", 0, "name")`."""
    lines: dict[tuple[int | str, ...], int] = {}
    root = yaml.compose(text, yaml.SafeLoader)
    pending: list[tuple[tuple[int | str, ...], yaml.Node | None]] = [((), root)]
    seen: set[int] = set()
    while pending:
        place, node = pending.pop()
        if node is None or (id(node) in seen and not isinstance(node, yaml.ScalarNode)):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[(*place, key.value)] = key.start_mark.line + 1
                pending.append(((*place, key.value), value))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                lines[(*place, number)] = value.start_mark.line + 1
                pending.append(((*place, number), value))
    return lines


class _StrictLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses a key given twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[object, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = (key_node.tag, key_node.value)
            line = key_node.start_mark.line + 1
            if key in lines:
                raise YamlError(f"{key_node.value!r} is given twice, lines {lines[key]} and {line}: keep one")
            lines[key] = line
        return super().construct_mapping(node, deep)


def _check_size(root: yaml.Node) -> None:
    """Refuse aliases that multiply; each node is looked at once."""
    sizes: dict[int, int] = {}
    pending: list[tuple[yaml.Node, bool]] = [(root, False)]
    while pending:
        node, children_known = pending.pop()
        if id(node) in sizes and not (children_known and sizes[id(node)] == 0):
            continue
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        else:
            children = node.value if isinstance(node, yaml.SequenceNode) else []
        if not children_known:
            sizes[id(node)] = 0  # an alias to a node that is still open adds nothing
            pending.append((node, True))
            pending.extend((child, False) for child in children)
            continue
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
        if sizes[id(node)] > MAX_YAML_VALUES:
            raise YamlError("its aliases multiply to too many values")
