"""What every command shares: a line on stderr, quiet libraries, and packages that are ours."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from harness.errors import InputError, MixedPackagesError
from harness.text import plain

PACKAGES = ("harness", "router", "agents")
"""Our packages. Their names are common: `openai-agents` installs a package `agents`, too."""


def say(message: str) -> None:
    """One message for the user, on stderr (standard output is the result's); further lines are set in."""
    print("polyswe: " + plain(message).replace("\n", "\n  "), file=sys.stderr)


def output(text: str, *, end: str = "\n") -> None:
    """A result on standard output, without anything in it that steers a terminal."""
    print(plain(text), end=end, flush=True)


def terminal_width() -> int:
    """Columns for a result on the terminal, 60 to 140; 120 where there is none."""
    return min(140, max(60, shutil.get_terminal_size((120, 24)).columns))


def quiet_libraries() -> None:
    """Settings that libraries read when they are imported: no chatter, no look-ups nobody asked for."""
    for name, value in {
        "MSWEA_SILENT_STARTUP": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_VERBOSITY": "error",
        "DATASETS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }.items():
        os.environ.setdefault(name, value)


def typed_words(command: str) -> list[str]:
    """The words that were typed after `polyswe`; none where another program calls the command."""
    words = sys.argv[1:]
    return words if words[:1] == [command] else []


def typed_command(*words: str) -> str:
    """A command as it can be typed here; empty words are left out."""
    return f"{_program()} {shlex.join(word for word in words if word)}"


def _program() -> str:
    """How polyswe can be called from here: after `make`, it is not on the PATH."""
    if shutil.which("polyswe"):
        return "polyswe"
    called = Path(sys.argv[0])
    if called.name == "polyswe":
        return shlex.quote(os.path.relpath(called))
    return f"{shlex.quote(sys.executable)} -m harness"


def version() -> str:
    """The installed version of polyswe."""
    try:
        return metadata.version("polyswe")
    except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        return "(not installed)"


def check_packages() -> None:
    """See that `harness`, `router` and `agents` are ours, whole and from one place.

    Raises:
        MixedPackagesError: another distribution or a folder of that name shadows or overwrote one of them.
    """
    home = Path(__file__).resolve().parents[2]
    advice = "install polyswe in an environment of its own (pipx, uv tool, python -m venv)"
    for name in PACKAGES:
        spec = find_spec(name)
        place = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if place != home / name:
            raise MixedPackagesError(f"the package '{name}' comes from {place}, not from {home / name}: {advice}")
    try:
        files = metadata.files("polyswe") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.parts[0] in PACKAGES and file.suffix == ".py" and file.size is not None:
            path = home / file
            if not path.is_file() or path.stat().st_size != file.size:
                raise MixedPackagesError(f"{path} is missing or was overwritten by another package: {advice}")


def check_output(path: Path, *, folder: bool) -> None:
    """Refuse a place for results that cannot be written, before anything is computed; nothing new stays there.

    Args:
        path: Of the file or folder that will be written.
        folder: Whether it is a folder.

    Raises:
        InputError: it is of the other kind, lies below a file, or may not be written.
    """
    try:
        if path.exists() and path.is_dir() != folder:
            kinds = ("a file; a folder is needed", "a folder; a file is needed")
            raise InputError(f"--out {path}: is {kinds[path.is_dir()]}")
        if path.is_file() and not os.access(path, os.W_OK):
            raise InputError(f"--out {path}: may not be written; check its permissions")
        parents = path.parents if not folder or not path.exists() else (path,)
        existing = next(parent for parent in parents if parent.exists())
    except OSError as error:  # a name that is too long, a loop of links
        raise InputError(f"--out {path}: {error.strerror or error}") from None
    if not existing.is_dir():
        raise InputError(f"--out {path}: {existing} is a file, not a folder")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:  # permissions, a read-only or virtual file system, a full disk
        raise InputError(f"--out {path}: nothing can be written in {existing} ({error.strerror})") from None


def check_folder(folder: Path, why: str) -> None:
    """See that a finished folder can take what is made from it.

    Raises:
        InputError: it may not be written.
    """
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: nothing can be written there, and {why}; copy the folder and name the copy")


def check_policies(names: Sequence[str]) -> None:
    """Refuse a routing policy or a parameter that does not exist, before anything is read or computed.

    Raises:
        InputError: naming it, and those that exist.
    """
    from router.policies import PolicyParameterError, UnknownPolicyError, make_policy

    for name in names:
        try:
            make_policy(name)
        except (UnknownPolicyError, PolicyParameterError) as error:
            raise InputError(f"--policy: {error}") from error
