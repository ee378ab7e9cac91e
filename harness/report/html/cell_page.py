"""`cell.html`: one instance with one model: the patch, what the tests said, and the trajectory step by step."""

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

PATCH_LENGTH = 200_000
TEST_OUTPUT_LENGTH = 200_000
OUTPUT_LENGTH = 20_000
"""Characters of a command's output."""
MOST_STEPS = 400
SHORT_OUTPUT = 1_500
"""Outputs up to here are shown open."""
RAW_FILES = (
    "patch.diff", "unsubmitted.diff", "test_output.txt", "report.json", "trajectory.json", "run_instance.log",
    "error.log", "eval.sh",
)  # fmt: skip
SHOWN_FILES = ("patch.diff", "unsubmitted.diff", "report.json", "test_output.txt", "trajectory.json")
"""Files a page is made of: when none of them changed, the page is up to date."""
MARK = "polyswe cell "


@dataclass(frozen=True)
class Said:
    """One message of a trajectory, with the commands in it."""

    role: str
    text: str
    commands: tuple[str, ...] = ()
    returncode: str = ""
    """Of a command's answer; empty where there is none."""

    @property
    def open(self) -> bool:
        return len(self.text) <= SHORT_OUTPUT


@dataclass(frozen=True)
class TestList:
    """Tests of one kind and how they came out."""

    name: str
    passed: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Trajectory:
    said: tuple[Said, ...] = ()
    left_out: int = 0
    fault: str = ""
    """Why it cannot be shown."""


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
    siblings: Sequence[Sibling] = field(default_factory=tuple)


def cell_page(view: CellView, folder: Path) -> str | None:
    """The page's text; None when the one in `folder` is up to date."""
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
            patch=_diff_lines(_read(folder / "patch.diff") or ""),
            unsubmitted=_diff_lines(unsubmitted) if unsubmitted else None,
            tests=_tests(folder / "report.json", view.facts.instance),
            test_output=_shown(_read(folder / "test_output.txt"), TEST_OUTPUT_LENGTH),
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
    """What else a page depends on: a newer polyswe draws them anew."""
    names = ("cell.html.j2", "base.html.j2", "report.css", "theme.js")
    return b"".join((FOLDER / name).read_bytes() for name in names) + Path(__file__).read_bytes()


def _mark_of(page: Path) -> str | None:
    try:
        with page.open("rb") as file:
            head = file.read(2000).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    _, found, rest = head.partition(f'content="{MARK}')
    return rest.partition('"')[0] if found else None


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _shown(text: str | None, length: int) -> str | None:
    return None if text is None else clipped(plain(text), length)


def _diff_lines(patch: str) -> list[tuple[str, str]]:
    """Lines with the class of their colour."""
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
    """The official report's lists; None where there is no (readable) report."""
    try:
        report = json.loads(_read(path) or "null")
    except ValueError:
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
    """mini-swe-agent's messages; whatever else the file holds is said to be unreadable, never guessed at."""
    content = _read(path)
    if content is None:
        return Trajectory(fault="There is no trajectory.")
    try:
        messages = _of(json.loads(content), "messages")
    except ValueError as error:
        return Trajectory(fault=f"The trajectory is damaged ({error}).")
    if not isinstance(messages, list):
        return Trajectory(fault="The trajectory has no messages.")
    kept = messages if len(messages) <= MOST_STEPS else [*messages[: MOST_STEPS - 50], *messages[-50:]]
    said = [_said(message) for message in kept if isinstance(message, dict)]
    return Trajectory(tuple(one for one in said if one.text or one.commands), len(messages) - len(kept))


def _said(message: dict[str, Any]) -> Said:
    role, extra = str(message.get("role", "")), message.get("extra")
    actions = _of(extra, "actions")
    asked = [_of(action, "command") for action in actions] if isinstance(actions, list) else []
    commands = tuple(plain(str(command)) for command in asked if command)
    output, returncode = _of(extra, "raw_output"), _of(extra, "returncode")
    text = output if isinstance(output, str) else _text(message.get("content"))
    if role == "exit":
        text = ""  # the submission: it is the patch above
    shown = clipped(plain(text), OUTPUT_LENGTH).strip("\n")
    return Said(role, shown, commands, "" if returncode is None else str(returncode))


def _text(content: Any) -> str:
    """A message's text, also where it comes in parts."""
    if isinstance(content, list):
        return "\n".join(str(_of(part, "text") or "") for part in content)
    return "" if content is None else str(content)


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
