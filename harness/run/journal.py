"""`run.log` for people, `events.jsonl` for programs: what happened in a run, over all its starts, without secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from agents.pool import ModelConfig
from agents.redaction import redact, redacted_json, secrets
from harness.store.rows import Cell
from harness.text import one_line

LOG_FILE = "run.log"
"""One line for everything that was said and for every cell that ended."""
EVENTS_FILE = "events.jsonl"
"""One JSON object a line."""
LONGEST_TEXT = 2_000
"""Characters of a text in an event or in a line of the log."""
LONGEST_LINE = 64_000
"""How far back the beginning of the last line is looked for."""


class Event(StrEnum):
    """The names of events, which stay as they are."""

    RUN_STARTED = "run_started"
    """A command begins or continues it: `cells`, `graded`, `to_attempt`, `to_grade`, `models`, `pid`, `version`, and
    `command`: the words after `polyswe`, or none where it was not started from the command line."""
    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_WAITS = "attempt_waits"
    """Under the model's `rpm` or `tpm`: `seconds`."""
    ATTEMPT_ENDED = "attempt_ended"
    """`exit_status`, `cost_usd`, `api_calls`, `prompt_tokens`, `completion_tokens`, `seconds`."""
    ATTEMPT_FAILED = "attempt_failed"
    """Not the model's failure: `kind`, `detail`, `lost_cost_usd`."""
    ATTEMPT_RETRIED = "attempt_retried"
    GRADING_STARTED = "grading_started"
    CELL_GRADED = "cell_graded"
    """`verdict`, `resolved`, `seconds`."""
    GRADING_FAILED = "grading_failed"
    """No verdict; the patch is kept: `kind`, `detail`."""
    EVIDENCE_STARTED = "evidence_started"
    """After attempts have finished: `instances` to gather evidence on, `to_write` cells of test writers."""
    EVIDENCE_ENDED = "evidence_ended"
    """`instances` and how many of them were `gathered`."""
    MESSAGE = "message"
    """A line for the user: `text`."""
    RUN_ENDED = "run_ended"
    """`cells`, `graded`, `resolved`, `cost_usd`, `tests_cost_usd`, `stopped` (why it stopped early, or empty). Only the
    last one where the command ended with an error."""


class Journal:
    """Appends to the two files of a run folder. Safe for many threads.

    A line is one write without fsync: a killed process leaves half a last line at most, which the next start cuts off.
    A disk that is full takes no further lines; the run, which watches the disk itself, goes on or ends by its own rule.
    """

    def __init__(self, folder: Path, pool: Sequence[ModelConfig]) -> None:
        """
        Args:
            folder: The run's.
            pool: Its models, whose keys must not be written.
        """
        values = {secret for model in pool for secret in secrets(model)}
        self._hidden = sorted(values, key=lambda value: (-len(value), value))
        self._log = _open_whole(folder / LOG_FILE)
        self._events = _open_whole(folder / EVENTS_FILE)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            reason = f"{type(error).__name__}: {error}"
            self.record(Event.RUN_ENDED, line=f"the run ended with an error: {reason}", stopped=reason)
        os.close(self._log)
        os.close(self._events)

    def record(self, event: Event, cell: Cell | None = None, *, line: str = "", **details: object) -> None:
        """Write an event, and a line of the log.

        Args:
            event: What happened.
            cell: Where, unless it is the whole run's.
            line: For the log; without one the event goes to `events.jsonl` only.
            **details: What the event's description names.
        """
        now = datetime.now(UTC)
        place = {} if cell is None else {"instance": cell.instance_id, "model": cell.model, "attempt": cell.attempt}
        shown = {name: value[:LONGEST_TEXT] if isinstance(value, str) else value for name, value in details.items()}
        entry = {"time": now.isoformat(timespec="milliseconds"), "event": event.value, **place, **shown}
        _append(self._events, redacted_json(entry, self._hidden))
        if line:
            text = one_line(redact(line, self._hidden), LONGEST_TEXT)
            _append(self._log, f"{now:%Y-%m-%dT%H:%M:%SZ}  {text}")

    def say(self, message: str) -> None:
        """Write a line that the user is shown."""
        self.record(Event.MESSAGE, line=message, text=message)

    def beside(self, show: Callable[[str], None]) -> Callable[[str], None]:
        """Show a line to the user, and write it."""

        def say(message: str) -> None:
            self.say(message)
            show(message)

        return say


def continuing_command(folder: Path) -> tuple[str, ...]:
    """The words after `polyswe` that started the run last and continue it; empty where they are not on record."""
    try:
        with (folder / EVENTS_FILE).open(encoding="utf-8", errors="replace") as file:
            starts = [line for line in file if f'"event": "{Event.RUN_STARTED}"' in line]
        words = json.loads(starts[-1])["command"] if starts else ()
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ()
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return ()
    return tuple(word for word in words if word != "--fresh")  # which would begin anew


def _open_whole(path: Path) -> int:
    """The file, open for appending after its last whole line."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.fstat(handle).st_size
    start = max(0, size - LONGEST_LINE)
    tail = os.pread(handle, size - start, start)
    if tail and not tail.endswith(b"\n"):
        cut = tail.rfind(b"\n") + 1
        if cut or not start:
            os.ftruncate(handle, start + cut)
        else:  # no line of ours
            os.write(handle, b"\n")
    return handle


def _append(handle: int, text: str) -> None:
    with suppress(OSError):
        os.write(handle, (text + "\n").encode("utf-8", "backslashreplace"))
