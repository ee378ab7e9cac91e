"""Measure how much each container has written: overlay2 enforces no quota on most file systems."""

from __future__ import annotations

import json
import os
import platform
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agents.container.capture import run_captured

GB = 1_000_000_000

LOOK_EVERY_SECONDS = 5.0
"""Pause between two measurements."""

RESERVE_BYTES = 1 * GB
"""Free space on the engine's disk below which the container that holds most of it is ended."""
RESERVE_FILES = 50_000
"""Free inodes on the engine's disk below which the container that holds most of them is ended."""

MEASURE = r"""
find /proc/[0-9]*/fd -type l ! -lname '/memfd:*' ! -lname '/dev/*' -exec stat -L -c '%h %d:%i %b %B' {} + 2> /dev/null |
    sort -u | { sum=0; while read -r links _ blocks size; do [ "$links" -ne 0 ] || sum=$((sum + blocks * size)); done
    echo $sum; }
find /proc/1/root/ -xdev 2> /dev/null | wc -l
find / -xdev 2> /dev/null | wc -l
"""
"""Prints the bytes of files that are deleted but still open in a container, how many files it has, and its image.

Runs in a container of the same image that shares the other's processes, so that it trusts no program of the other's.
"""

_FIELDS = {
    "name": "{{.Name}}",
    "size": "{{.SizeRw}}",
    "files": ["{{.HostsPath}}", "{{.HostnamePath}}", "{{.ResolvConfPath}}"],
    "volumes": "{{range .Mounts}}{{if eq .Type `volume`}}{{.Name}} {{end}}{{end}}",
}
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class Watched(Protocol):
    """A container, as far as the disk watch needs to know it."""

    name: str

    @property
    def image(self) -> str:
        """The image it was started from."""

    @property
    def disk_bytes(self) -> float:
        """Bytes that the container may write; infinite without a limit."""

    def overflow(self, reason: str) -> None:
        """End the container, which has written more than it may."""


@dataclass(frozen=True)
class _Held:
    """What a container holds of the disk."""

    bytes: int
    files: int = 0


class DiskWatch:
    """One thread for all containers of an engine, alive while there are any, that ends those which hold too much.

    Should the engine's disk run short of space or inodes before any container has reached its limit, the one that holds
    most is ended, so that the others need not fail. This needs an engine on this machine.
    """

    def __init__(
        self,
        client: Sequence[str],
        every: float = LOOK_EVERY_SECONDS,
        reserve: tuple[float, float] = (RESERVE_BYTES, RESERVE_FILES),
        worth: tuple[float, float] = (RESERVE_BYTES, RESERVE_FILES),
    ) -> None:
        """
        Args:
            client: Docker's client program, with the arguments that choose the engine.
            every: seconds between two measurements.
            reserve: free bytes and inodes of the engine's disk below which it is short of them.
            worth: bytes and inodes that a container must hold to be ended for that.
        """
        self.client = client
        self.every = every
        self.reserve = reserve
        self.worth = worth
        self._root: str | None = None
        self._containers: dict[str, Watched] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, container: Watched) -> None:
        with self._changed:
            self._containers[container.name] = container
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="disk-watch", daemon=True)
                self._thread.start()

    def discard(self, container: Watched) -> None:
        with self._changed:
            self._containers.pop(container.name, None)
            self._changed.notify()

    def _watch(self) -> None:
        pause = self.every
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._containers, timeout=pause)
                if not self._containers:
                    self._thread = None
                    return
                watched = dict(self._containers)
            started = time.monotonic()
            short = self._look(watched)
            # the engine walks through the files: use a tenth of one core at most, unless the disk is nearly full
            pause = self.every if short else max(self.every, 10 * (time.monotonic() - started))

    def _look(self, watched: Mapping[str, Watched]) -> bool:
        """End what holds too much; whether the engine's disk is nearly full."""
        written = self._written(list(watched))
        for name, size in written.items():
            if size > watched[name].disk_bytes and name in self._containers:
                watched[name].overflow(f"more than {watched[name].disk_bytes / GB:g} GB were written")
        short = self._short()
        if short is None:
            return False
        held = {name: _Held(size) for name, size in written.items() if name in self._containers}
        if not self._end_greediest(watched, held, short):  # what is not seen from outside takes longer to measure
            held = {name: self._held(watched[name], written[name]) for name in held}
            self._end_greediest(watched, held, short)
        return True

    def _end_greediest(self, watched: Mapping[str, Watched], held: Mapping[str, _Held], short: int) -> bool:
        """End the container that holds most of what is short, if it is worth it; whether it was."""
        amounts = {name: (its.bytes, its.files)[short] for name, its in held.items()}
        name = max(amounts, key=lambda name: amounts[name], default=None)
        if name is None or amounts[name] < self.worth[short]:
            return False
        amount = f"{amounts[name]} files" if short else f"{amounts[name] / GB:.1f} GB"
        watched[name].overflow(f"the machine's disk was nearly full, and this container held most of it: {amount}")
        return True

    def _written(self, names: Sequence[str]) -> dict[str, int]:
        """Bytes that each container has written, in one question to the engine; vanished ones are left out."""
        lines = self._ask("inspect", "-s", "--type", "container", "-f", json.dumps(_FIELDS), *names).splitlines()
        rows = [row for line in lines if (row := _parsed(line)) and row["name"].lstrip("/") in names]
        volumes = self._volume_sizes() if any(row["volumes"] for row in rows) else {}
        written = {}
        for row in rows:
            size = int(row["size"]) if row["size"].isdigit() else 0
            size += sum(_allocated(path) for path in row["files"])
            written[row["name"].lstrip("/")] = size + sum(volumes.get(name, 0) for name in row["volumes"].split())
        return written

    def _volume_sizes(self) -> dict[str, int]:
        """Bytes in every volume. Images rarely declare one, and the engine takes its time over this."""
        listed = _parsed(self._ask("system", "df", "-v", "--format", "{{json .Volumes}}"), list) or []
        return {volume["Name"]: _bytes(volume["Size"]) for volume in listed}

    def _held(self, container: Watched, written: int) -> _Held:
        """All that a container holds, files that are deleted but still open included."""
        share = ["--pid", f"container:{container.name}", "--cap-add", "SYS_PTRACE", "--user", "0"]
        command = ["run", "--rm", "--network", "none", *share, "--entrypoint", "sh", container.image, "-c", MEASURE]
        words = self._ask(*command).split()
        if len(words) != 3 or not all(word.isdigit() for word in words):
            return _Held(written)
        deleted, files, of_image = map(int, words)
        return _Held(written + deleted, max(0, files - of_image))

    def _short(self) -> int | None:
        """0 where the engine's disk is short of space, 1 of inodes, None of neither, or on another machine."""
        if self._root is None:
            name, _, root = self._ask("info", "-f", "{{.Name}} {{.DockerRootDir}}").strip().partition(" ")
            self._root = root if name == platform.node() else ""
        try:
            disk = os.statvfs(self._root)
        except OSError:  # a client of an engine in a virtual machine, say
            return None
        if disk.f_bavail * disk.f_frsize < self.reserve[0]:
            return 0
        return 1 if disk.f_files and disk.f_favail < self.reserve[1] else None

    def _ask(self, *arguments: str) -> str:
        """What the client prints; nothing where it cannot be started."""
        try:
            return run_captured([*self.client, *arguments], timeout=120, max_bytes=1_000_000).text
        except OSError:
            return ""


def _parsed(text: str, kind: type = dict) -> Any:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, kind) else None


def _allocated(path: str) -> int:
    """Bytes that a file takes; 0 where the engine's files are not readable for this user."""
    try:
        return Path(path).stat().st_blocks * 512
    except OSError:
        return 0


def _bytes(text: str) -> int:
    """Bytes of a size such as `1.5GB`."""
    match = re.fullmatch(r"([\d.]+)([kMGT]?B)", text)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0
