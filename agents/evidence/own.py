"""Reproduction tests that attempts wrote for themselves, collected to be run on the other attempts' patches.

They come from three places: files that commands of the trajectory wrote by a here-document, files that were new in the
container at the end, and files that the patch adds. All of it is hostile text and read in linear time.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from agents.evidence.issue_tests import MAX_COMMAND, IssueTest, added_files, is_plain, is_safe, is_text
from agents.runner import NEW_FILES
from agents.signals import is_test, read_commands

LIMIT = 5
"""Tests of one attempt that are used at most: those it ran last."""
MAX_LINE = 2_000
"""Characters of a command's line that are looked at."""

_HERE_DOCUMENT = re.compile(r"(?<!<)<<(-?)[ \t]{0,9}(['\"\\]?)([A-Za-z_]\w{0,99})")
_TARGET = re.compile(r"(?:>|\btee)[ \t]{0,9}['\"]?([\w./+-]{1,200})")
_CHANGE_FOLDER = re.compile(r"[ \t]*cd[ \t]+['\"]?([\w./+-]{1,200})['\"]?[ \t]*$")
_SEPARATOR = re.compile(r"&&|\|\||[;|]")
_REDIRECTION = re.compile(r"\d?>>?(?:&\d|[ \t]{0,9}[\w./+-]{1,200})")
_RUNNER = re.compile(
    r"(?:[A-Za-z_]\w{0,99}=\S{0,200}[ \t]+)*(?:timeout[ \t]+\S{1,20}[ \t]+)?"
    r"(?:python[\d.]*|pytest|py\.test|node|ruby|php|perl|bash|sh|go|npx|\./\S{1,200})[ \t]"
)
_INLINE = re.compile(r"[ \t]*(python[\d.]*)(?:[ \t]+-)?[ \t]*$")
_WRITES = (".write(", "write_text", "write_bytes", "'w'", '"w"', "subprocess", "os.system")
"""What tells a script that changes files from one that looks at behaviour."""


def own_tests(source: str, trajectory: Path, patch: str, *, cwd: str = "/testbed") -> list[IssueTest]:
    """The reproduction tests of a finished attempt, at most LIMIT.

    Args:
        source: The attempt's name, by which `issue_test_signals` tells whose tests they are.
        trajectory: Its trajectory file; `run_agent(keep_new_files=True)` has left NEW_FILES beside it.
        patch: Its submission.
        cwd: The repository's folder in the container.
    """
    written = _Written(cwd)
    for ran in read_commands(trajectory):
        written.read(ran.command)
    try:
        left = (trajectory.parent / NEW_FILES).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        left = ""
    for path, text in (added_files(left).files | added_files(patch).files).items():
        written.files[path] = text
        if is_test(path) and path.endswith(".py"):
            written.commands.setdefault(path, f"python3 -m pytest -q {shlex.quote(path)}")
    submitted = set(added_files(patch).files)
    tests: list[IssueTest] = []
    for path, command in reversed(written.commands.items()):
        of_the_fix = path in submitted and not is_test(path)  # in another's tree it would be a part of this fix
        if is_plain(command) and not of_the_fix:
            name, files = f"{source}'s {len(tests) + 1}", {path: written.files[path]}
            tests.append(IssueTest(name=name, source=source, command=command, files=files, own=True))
    return tests[:LIMIT]


class _Written:
    """What the commands of a trajectory have written and run."""

    def __init__(self, cwd: str) -> None:
        self.cwd = cwd
        self.files: dict[str, str] = {}
        """Path in the repository, or in /tmp → text."""
        self.commands: dict[str, str] = {}
        """Path → the command that ran it last, in the order in which they ran."""

    def read(self, command: str) -> None:
        """Take in one command of the agent."""
        lines = iter(command.split("\n"))
        folder = self.cwd
        for line in lines:
            if len(line) > MAX_LINE:
                continue
            if (document := _HERE_DOCUMENT.search(line)) is None:
                folder = self._read_line(line, folder)
                continue
            text = _document(lines, document[3], strip_tabs=bool(document[1]))
            if text is None or (not document[2] and any(mark in text for mark in "$`\\")):
                continue  # unfinished, or the shell has changed it
            before = line[: document.start()]
            *earlier, last = _SEPARATOR.split(before)
            for part in earlier:
                folder = self._folder(part, folder)
            after = line[document.end() :]
            if inline := _INLINE.match(last):
                self._add_inline(inline[1], text)
            elif target := _TARGET.search(last) or _TARGET.search(after):
                self._add_file(self._path(target[1], folder), text)
            if "&&" in after:
                folder = self._read_line(after.split("&&", 1)[1], folder)

    def _read_line(self, line: str, folder: str) -> str:
        """Note which written files a line runs; returns the folder it ends in."""
        for part in _SEPARATOR.split(line):
            folder = self._folder(part, folder)
            command = _REDIRECTION.sub("", part).strip()
            if not command or len(command) > MAX_COMMAND or not _RUNNER.match(command):
                continue
            for word in command.split():
                path = self._path(word.strip("'\"").split("::", 1)[0], folder)
                if path in self.files:
                    self.commands.pop(path, None)  # so that the order is that of the last runs
                    self.commands[path] = command if folder == self.cwd else f"cd {shlex.quote(folder)} && {command}"
        return folder

    def _folder(self, part: str, folder: str) -> str:
        change = _CHANGE_FOLDER.match(part)
        return posixpath.normpath(posixpath.join(folder, change[1])) if change else folder

    def _path(self, name: str, folder: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, name))
        return path.removeprefix(self.cwd.rstrip("/") + "/")

    def _add_file(self, path: str, text: str) -> None:
        in_tmp = path.startswith("/tmp/") and is_safe(path[1:])
        if (in_tmp or is_safe(path)) and is_text(text):
            self.files[path] = text

    def _add_inline(self, python: str, text: str) -> None:
        """A script that was given to the interpreter's input, where it says whether it is content."""
        if ("assert" not in text and "exit(" not in text) or any(mark in text for mark in _WRITES):
            return
        path = f"/tmp/polyswe_inline_{len(self.files)}.py"
        self._add_file(path, text)
        if path in self.files:
            self.commands[path] = f"PYTHONPATH=. {python} {path}"


def _document(lines: Iterator[str], end: str, *, strip_tabs: bool) -> str | None:
    """The here-document's text; None when it has no end."""
    text: list[str] = []
    for line in lines:
        line = line.lstrip("\t") if strip_tabs else line
        if line == end:
            return "".join(f"{line}\n" for line in text)
        text.append(line)
    return None
