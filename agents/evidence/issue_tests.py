"""Tests that decide whether an issue is solved, and how they are read from a test writer's submission."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

logger = logging.getLogger("polyswe.agents")

LIST_FILE = "polyswe_tests.txt"
"""File of a writer's submission that names its tests: one shell command a line."""
MAX_FILES = 40
"""Files of one submission."""
MAX_FILE_BYTES = 100_000
"""Bytes of one file."""
MAX_TOTAL_BYTES = 1_000_000
"""Bytes of all files of one submission: each of its tests is kept with all of them."""
MAX_COMMAND = 1_000
"""Characters of one command."""
MAX_PATH = 200
"""Characters of a path."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class IssueTest:
    """A shell command whose exit status 0 says that the issue is solved."""

    name: str
    """Unique among the tests of an instance."""
    source: str
    """Who wrote it: the writer's name in the pool, or the attempt's that it was collected from (`own`)."""
    command: str
    """Run with bash in the repository's folder."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that are added before it runs and removed afterwards: path in the repository (or in /tmp) → text."""
    own: bool = False
    """Collected from an attempt, which it says nothing about."""
    runner: str = ""
    """For a file of the repository's existing tests: the runner whose output names the tests that pass."""

    @property
    def key(self) -> str:
        """Names what is run: two tests of the same key have the same result in the same tree."""
        parts = (self.command, self.runner, *(part for item in sorted(self.files.items()) for part in item))
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


@dataclass
class AddedFiles:
    """The files that a patch adds."""

    files: dict[str, str] = field(default_factory=dict)
    """Path → text."""
    refused: list[str] = field(default_factory=list)
    """Reasons why parts of the patch were left out, each once."""
    size: int = 0
    """Bytes of the files together."""

    def refuse(self, reason: str) -> None:
        if reason not in self.refused:
            self.refused.append(reason)


def read_tests(
    source: str, submission: str, limit: int, say: Callable[[str], None] = logger.warning
) -> list[IssueTest]:
    """The tests of a writer's submission, at most `limit`; `say` takes one line about what is left out.

    A submission is a patch that only adds files, among them `polyswe_tests.txt`. Text from a model is hostile: only
    added text files inside the repository are taken, their number and sizes are bounded.
    """
    added = added_files(submission)
    listing = added.files.pop(LIST_FILE, None)
    if listing is None:
        added.refuse(f"{LIST_FILE} is missing" if submission.strip() else "nothing was submitted")
    commands = read_commands((listing or "").split("\n"), added)
    if len(commands) > limit:
        added.refuse(f"{len(commands) - limit} of {len(commands)} tests: more than {limit}")
    if added.refused:
        say(f"tests of {source}: left out: {'; '.join(added.refused)}")
    return [
        IssueTest(name=f"{source}:{number}", source=source, command=command, files=added.files)
        for number, command in enumerate(commands[:limit], 1)
    ]


def read_commands(lines: Iterable[str], added: AddedFiles) -> list[str]:
    """The commands among the lines of a list, each once; blank lines and comments are none."""
    commands: dict[str, None] = {}
    for line in lines:
        command = line.strip()
        if not command or command.startswith("#"):
            continue
        if not is_plain(command):
            added.refuse(f"a command with control characters or of more than {MAX_COMMAND} characters")
        else:
            commands[command] = None
    return list(commands)


def added_files(patch: str) -> AddedFiles:
    """Text files that a patch in git's format adds, read in one pass."""
    added = AddedFiles()
    reader: _Reader | None = None
    for line in patch.split("\n"):
        if reader is not None and reader.read(line):
            continue
        if line.startswith("diff --git "):
            if reader is not None:
                reader.finish(added)
            reader = _Reader(line)
    if reader is not None:
        reader.finish(added)
    return added


class _Reader:
    """Reads one file's part of a patch line by line."""

    def __init__(self, header: str) -> None:
        self.is_new = self.is_binary = False
        names = header.removeprefix("diff --git ").removesuffix("\r")
        self.path = names[len(names) // 2 + 1 :]
        """`b/…`, both names being the same; an empty file has no other line that states it."""
        self.has_name = False
        self.missing = 0
        """Added lines that the hunk still announces."""
        self.lines: list[str] = []
        self.size = 0
        self.is_bad = False

    def read(self, line: str) -> bool:
        """Whether the line belongs to this file."""
        if self.missing:
            if line.startswith("+"):
                self.missing -= 1
                self.size += len(line.encode("utf-8", "surrogatepass"))
                if self.size <= MAX_FILE_BYTES:
                    self.lines.append(line[1:] + "\n")
                return True
            self.missing, self.is_bad = 0, True  # what a new file's hunk holds else, or a hunk cut short
        if line.startswith("diff --git "):
            return False
        if line.startswith("\\") and self.lines:
            self.lines[-1] = self.lines[-1].removesuffix("\n")
        elif line.startswith("new file mode 100"):
            self.is_new = True
        elif line.startswith("+++ ") and not self.has_name:
            self.path, self.has_name = line[4:].removesuffix("\r").split("\t", 1)[0], True
        elif line.startswith("@@ "):
            hunk = re.match(r"@@ -0,0 \+1(?:,(\d{1,9}))? @@", line)
            self.is_bad = self.is_bad or hunk is None or bool(self.lines)
            self.missing = int(hunk[1] or 1) if hunk and not self.is_bad else 0
        elif line.startswith(("Binary files ", "GIT binary patch")):
            self.is_binary = True
        elif line.startswith("+") and self.lines:
            self.is_bad = True  # more lines than the hunk announces
        return True

    def finish(self, added: AddedFiles) -> None:
        """Keep the file or the reason why not."""
        if not self.is_new:
            added.refuse("changes of existing files, links or submodules")
        elif self.is_binary:
            added.refuse("binary files")
        elif not self.path.startswith("b/") or not is_safe(self.path[2:]):
            added.refuse("files whose path is not plain or not inside the repository")
        elif self.is_bad or self.missing or any(_SURROGATE.search(line) for line in self.lines):
            added.refuse("damaged hunks")
        elif self.size > MAX_FILE_BYTES:
            added.refuse(f"files of more than {MAX_FILE_BYTES} bytes")
        elif added.size + self.size > MAX_TOTAL_BYTES:
            added.refuse(f"files beyond {MAX_TOTAL_BYTES} bytes together")
        elif len(added.files) >= MAX_FILES:
            added.refuse(f"files beyond the first {MAX_FILES}")
        else:
            added.files[self.path[2:]] = "".join(self.lines)
            added.size += self.size


def is_plain(command: str) -> bool:
    """Whether a command is one line of bounded length without control characters."""
    return len(command) <= MAX_COMMAND and not _CONTROL.search(command)


def is_text(content: str) -> bool:
    """Whether a file's content has bounded length and can be written as UTF-8."""
    return not _SURROGATE.search(content) and len(content.encode()) <= MAX_FILE_BYTES


def is_safe(path: str) -> bool:
    """Whether a path stays inside the folder it is relative to, outside git's own, and is plain to print."""
    parts = path.split("/")
    if not path or len(path) > MAX_PATH or _CONTROL.search(path) or "\\" in path or '"' in path:
        return False
    return not any(part in ("", ".", "..") or part.lower().startswith(".git") for part in parts)
