"""`cell.html`: one instance with one model: the issue, the patch, the test results and the trajectory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.report.html.assets import FOLDER, environment, shell
from harness.report.html.cells import CellFacts
from harness.report.text import clipped, plain

ISSUE_LENGTH = 100_000
"""Characters of a problem statement that are shown."""
PATCH_LENGTH = 200_000
"""Characters of a patch that are shown."""
TEST_OUTPUT_LENGTH = 200_000
"""Characters of the tests' output that are shown."""
OUTPUT_LENGTH = 20_000
"""Characters of a message or a command's output that are shown."""
MOST_STEPS = 400
"""Messages of a trajectory that are shown."""
SHORT_OUTPUT = 1_500
"""Outputs of at most this many characters are shown unfolded."""
RAW_FILES = (
    "patch.diff",
    "unsubmitted.diff",
    "test_output.txt",
    "report.json",
    "trajectory.json",
    "run_instance.log",
    "error.log",
    "eval.sh",
)
"""Files of a cell that the page links to."""
SHOWN_FILES = ("patch.diff", "unsubmitted.diff", "report.json", "test_output.txt", "trajectory.json")
"""Files that a page is made of: it is up to date while none of them changes."""
MARK = "polyswe cell "
"""Comes before the fingerprint in the page's head."""


@dataclass(frozen=True)
class Message:
    """One message of a trajectory, with the commands in it."""

    role: str
    text: str
    commands: tuple[str, ...] = ()
    returncode: str = ""
    """Exit code of the command whose output this is; empty for other messages."""

    @property
    def open(self) -> bool:
        return len(self.text) <= SHORT_OUTPUT


@dataclass(frozen=True)
class TestList:
    """Tests of one kind with their results."""

    name: str
    passed: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Trajectory:
    """A trajectory as the page shows it."""

    messages: tuple[Message, ...] = ()
    left_out: int = 0
    """Messages in the middle that are not shown."""
    fault: str = ""
    """Why nothing can be shown; empty otherwise."""


@dataclass(frozen=True)
class Sibling:
    """The same instance with another model."""

    model: str
    folder: str
    verdict: str
    resolved: bool | None


@dataclass(frozen=True)
class CellView:
    """What a page shows besides the cell's files."""

    facts: CellFacts
    issue: str = ""
    """The problem statement; empty when the run's folder has none."""
    siblings: Sequence[Sibling] = field(default_factory=tuple)


def cell_page(view: CellView, folder: Path) -> str | None:
    """The page's text.

    Args:
        view: The cell, with the same instance's other cells.
        folder: The cell's folder, with its files and its present page.

    Returns:
        None when the page in the folder is up to date.
    """
    mark = _fingerprint(view, folder)
    if _mark_of(folder / "cell.html") == mark:
        return None
    unsubmitted = _read(folder / "unsubmitted.diff")
    return (
        environment()
        .get_template("cell.html.j2")
        .render(
            shell=shell("theme.js"),
            mark=MARK + mark,
            facts=view.facts,
            siblings=view.siblings,
            issue=_printable(view.issue, ISSUE_LENGTH),
            patch=_diff_lines(_read(folder / "patch.diff") or ""),
            unsubmitted=_diff_lines(unsubmitted) if unsubmitted else None,
            tests=_tests(folder / "report.json", view.facts.instance),
            test_output=_printable(_read(folder / "test_output.txt"), TEST_OUTPUT_LENGTH),
            trajectory=_trajectory(folder / "trajectory.json"),
            files=[name for name in RAW_FILES if (folder / name).is_file()],
        )
    )


def _fingerprint(view: CellView, folder: Path) -> str:
    digest = hashlib.sha256(_code())
    digest.update(repr(view).encode("utf-8", errors="replace"))
    for name in SHOWN_FILES:
        path = folder / name
        if path.is_file():
            stat = path.stat()
            digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:20]


def _code() -> bytes:
    """The code and templates that a page depends on: a newer version of polyswe draws it again."""
    names = ("cell.html.j2", "base.html.j2", "report.css", "theme.js")
    return b"".join((FOLDER / name).read_bytes() for name in names) + Path(__file__).read_bytes()


def _mark_of(page: Path) -> str | None:
    try:
        with page.open("rb") as file:
            head = file.read(2000).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    _, start, rest = head.partition(f'content="{MARK}')
    return rest.partition('"')[0] if start else None


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _printable(text: str | None, length: int) -> str | None:
    return None if text is None else clipped(plain(text), length)


def _diff_lines(patch: str) -> list[tuple[str, str]]:
    """The lines of a patch, each after the CSS class of its kind."""
    lines = []
    for line in clipped(plain(patch), PATCH_LENGTH).removesuffix("\n").split("\n"):
        head = line[:4]
        if head.startswith(("diff", "+++", "---", "inde")):
            kind = "file"
        else:
            kind = {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "")
        lines.append((kind, line))
    return lines if patch.strip() else []


def _tests(path: Path, instance: str) -> list[TestList] | None:
    """The lists of tests in the official report; None when there is no readable report."""
    try:
        report = json.loads(_read(path) or "null")
    except (ValueError, RecursionError):
        return None
    status = _of(_of(report, instance), "tests_status")
    if not isinstance(status, dict):
        return None
    lists = [
        TestList(str(name), _names(_of(tests, "success")), _names(_of(tests, "failure")))
        for name, tests in status.items()
    ]
    return [of_kind for of_kind in lists if of_kind.passed or of_kind.failed]


def _names(value: Any) -> tuple[str, ...]:
    return tuple(plain(str(name)) for name in value) if isinstance(value, list) else ()


def _trajectory(path: Path) -> Trajectory:
    """mini-swe-agent's messages, or the reason why the file has none that can be shown."""
    content = _read(path)
    if content is None:
        return Trajectory(fault="There is no trajectory.")
    try:
        messages = _of(json.loads(content), "messages")
    except (ValueError, RecursionError) as error:
        return Trajectory(fault=f"The trajectory is damaged ({error}).")
    if not isinstance(messages, list):
        return Trajectory(fault="The trajectory has no messages.")
    kept = messages if len(messages) <= MOST_STEPS else [*messages[: MOST_STEPS - 50], *messages[-50:]]
    shown = [_message(message) for message in kept if isinstance(message, dict)]
    return Trajectory(
        tuple(message for message in shown if message.text or message.commands), len(messages) - len(kept)
    )


def _message(message: dict[str, Any]) -> Message:
    role, extra = str(message.get("role", "")), message.get("extra")
    actions = _of(extra, "actions")
    commands = [_of(action, "command") for action in actions] if isinstance(actions, list) else []
    output, returncode = _of(extra, "raw_output"), _of(extra, "returncode")
    text = output if isinstance(output, str) else _text(message.get("content"))
    if role == "exit":
        text = ""  # the submission: it is the patch above
    return Message(
        role=role,
        text=clipped(plain(text), OUTPUT_LENGTH).strip("\n"),
        commands=tuple(clipped(plain(str(command)), OUTPUT_LENGTH) for command in commands if command),
        returncode="" if returncode is None else str(returncode),
    )


def _text(content: Any) -> str:
    """A message's text, also where it comes in parts."""
    if isinstance(content, list):
        return "\n".join(str(_of(part, "text") or "") for part in content)
    return "" if content is None else str(content)


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
