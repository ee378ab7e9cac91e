"""What a person sees of a run, and what its journal keeps: right numbers, 80 columns, no secrets, whole lines."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

import harness
from agents.pool import ModelConfig
from harness.grading.verdict import Grade, Verdict
from harness.run.display import LiveDisplay, PlainDisplay, make_display, model_lines
from harness.run.journal import EVENTS_FILE, LOG_FILE, Event, Journal
from harness.run.progress import Progress
from harness.run.status import run_status
from harness.store.rows import Cell, CellRow
from harness.store.run_folder import RunFolder
from harness.store.store import Store

POOL = [ModelConfig(name="m", model="openai/m", api_key_env="MY_PROVIDER_KEY", free=True)]
UNFINISHED = ("polyswe__billing-201", "scripted-large")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def rows_of(folder: RunFolder) -> list[CellRow]:
    with Store(folder.store_path, read_only=True) as store:
        return store.rows()


def events_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / EVENTS_FILE).read_text().splitlines()]


class Silent:
    """A display for nobody."""

    def update(self) -> None: ...
    def print(self, message: str) -> None: ...
    def close(self) -> None: ...


def test_the_live_rows_are_those_of_the_store(make_run) -> None:  # type: ignore[no-untyped-def]
    """Continue a run of which one cell is missing: what the display counts is what the store says afterwards."""
    folder = make_run(unfinished=[UNFINISHED])
    progress = Progress(rows_of(folder), display=Silent())
    cell = Cell(*UNFINISHED)
    progress.agent_started(cell)
    (large,) = [model for model in progress.models() if model.name == "scripted-large"]
    assert (large.running, large.awaiting_turn, large.waiting, large.graded) == (1, 0, 0, 14)
    progress.agent_waits(cell, 60)
    (large,) = [model for model in progress.models() if model.name == "scripted-large"]
    assert large.awaiting_turn == 1
    assert "waits for its turn" in progress.at_work()[0]
    progress.paid(cell, 2.5)
    progress.agent_ended(cell, None)
    progress.grading_started(cell)
    progress.grading_ended(cell)
    progress.cell_graded(cell, Grade(Verdict.RESOLVED))
    with Store(folder.store_path) as store:
        from agents.attempt import Attempt

        attempt = Attempt(
            instance_id=cell.instance_id, model=cell.model, patch="x", exit_status="Submitted", cost_usd=2.5,
            api_calls=1, prompt_tokens=1, completion_tokens=1, cached_tokens=0, failed_calls=0, seconds=1,
            trajectory=Path("x"), unsubmitted_patch="", scripted=True,
        )  # fmt: skip
        store.agent_done(cell, attempt)
        store.graded(cell, Grade(Verdict.RESOLVED))
    for shown, stored in zip(progress.models(), run_status(folder).models, strict=True):
        for name in ("name", "cells", "graded", "resolved", "running", "failed", "waiting"):
            assert getattr(shown, name) == getattr(stored, name), name
        assert shown.cost_usd == pytest.approx(stored.cost_usd)


def test_a_failure_counts_until_the_cell_is_tried_again(make_run) -> None:  # type: ignore[no-untyped-def]
    progress, cell = Progress(rows_of(make_run(unfinished=[UNFINISHED])), display=Silent()), Cell(*UNFINISHED)
    progress.agent_started(cell)
    progress.attempt_failed(cell, kind="container", detail="gone", lost_cost_usd=0)
    progress.agent_ended(cell, None)
    assert sum(model.failed for model in progress.models()) == 1
    progress.attempt_retried(cell)
    assert sum(model.failed for model in progress.models()) == 0


@pytest.mark.parametrize("width", [200, 80, 60, 40])
def test_no_line_is_wider_than_the_terminal(make_run, width: int) -> None:  # type: ignore[no-untyped-def]
    folder = make_run(unfinished=[UNFINISHED])
    for model in (
        "a-provider/with-a-very-long-name-of-a-model-2026-11-28-thinking-high",
        "模型" * 8,
    ):
        rows = [row for row in rows_of(folder) if row.model == "scripted-small"]
        rows = [type(row)(**{**vars(row), "model": model}) for row in rows]
        progress = Progress([*rows_of(folder), *rows], display=Silent())
        for row in rows:
            progress.agent_started(row.cell)
        screen = io.StringIO()
        console = Console(file=screen, width=width, height=30, force_terminal=True)
        display = LiveDisplay(progress, console)
        display.update()
        display.close()
        lines = ANSI.sub("", screen.getvalue()).splitlines()
        assert any("14/15" in line for line in lines) or width < 60
        assert any("more" in line for line in lines), "cells at work that do not fit are counted"
        assert max(map(cell_len, lines)) <= width
        assert all(cell_len(line) <= width for line in model_lines(progress.models(), width))


def test_a_cost_that_is_unknown_is_no_zero(make_run) -> None:  # type: ignore[no-untyped-def]
    rows = [replace(row, cost_usd=None) for row in rows_of(make_run())]
    assert "cost unknown" in Progress(rows, display=Silent()).summary()
    assert "≥ $1.00" in Progress([replace(rows[0], cost_usd=1.0), *rows[1:]], display=Silent()).summary()


def test_without_a_terminal_there_are_plain_lines_and_the_last_one_says_how_it_ended(make_run) -> None:  # type: ignore[no-untyped-def]
    now, stream = [0.0], io.StringIO()
    progress = Progress(rows_of(make_run(unfinished=[UNFINISHED])), display=Silent())
    display = PlainDisplay(progress, stream, clock=lambda: now[0])
    progress._display = display
    cell = Cell(*UNFINISHED)
    progress.agent_started(cell)
    assert stream.getvalue() == ""
    now[0] = 20.0
    progress.grading_started(cell)
    progress.say("a message\x1b[2J with a code")
    progress.grading_ended(cell)
    progress.cell_graded(cell, Grade(Verdict.RESOLVED))
    progress.close()
    first, message, last = stream.getvalue().splitlines()
    assert first.startswith("44 of 45 cells, ")
    assert message == "a message with a code"
    assert last.startswith("45 of 45 cells, ")
    assert isinstance(make_display(progress, stream), PlainDisplay)


LIVE = """
import sys, time
from pathlib import Path
from harness.run.journal import Journal
from harness.run.progress import Progress
from harness.store.rows import Cell
from harness.store.store import Store
with Store(Path(sys.argv[1]), read_only=True) as store:
    rows = store.rows()
progress = Progress(rows)
cell = Cell("polyswe__billing-201", "scripted-large")
progress.agent_started(cell)
time.sleep(1)
progress.say("said while it is live")
print("printed by somebody else", file=sys.stderr)
print("READY", flush=True)
sys.stdin.readline()
progress.say("after the resize")
time.sleep(1)
progress.agent_ended(cell, None)
progress.close()
"""


def test_on_a_terminal_the_table_is_live_survives_a_resize_and_messages_stay_whole(make_run) -> None:  # type: ignore[no-untyped-def]
    folder = make_run(unfinished=[UNFINISHED])
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                block = os.read(master, 4096)
            except OSError:  # the other end is closed
                return
            if not block:
                return
            seen.extend(block)

    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "COLUMNS")}
    run = subprocess.Popen(
        [sys.executable, "-c", LIVE, str(folder.store_path)], stderr=slave, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env={**environment, "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert run.stdout is not None
    assert run.stdin is not None
    assert run.stdout.readline() == "READY\n"
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    run.stdin.write("\n")
    run.stdin.close()
    assert run.wait(60) == 0
    reader.join(10)
    os.close(master)
    before = seen.index(b"after the resize")
    for part, width in ((seen[:before], 80), (seen[before:], 60)):
        lines = [ANSI.sub("", line) for line in part.decode().splitlines()]
        assert max(map(cell_len, lines)) <= width
        assert any("scripted-large" in line and "14/15" in line for line in lines)
    for message in ("said while it is live", "printed by somebody else", "after the resize"):
        assert f"\x1b[2K{message}\r\n".encode() in seen, "on a line of its own"
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l"), "the cursor is hidden at the end"


def test_a_journal_holds_no_key_that_a_provider_echoes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = 'prov-"4711"-canary-secret'
    monkeypatch.setenv("MY_PROVIDER_KEY", key)
    cell = Cell("i-1", "m")
    with Journal(tmp_path, POOL) as journal:
        journal.say(f"401 Incorrect API key provided: {key}")
        journal.record(
            Event.ATTEMPT_FAILED, cell, line=f"{cell}: {key}", kind="provider: auth", detail=f"{key} \n is wrong",
            lost_cost_usd=0.5,
        )  # fmt: skip
    for name in (LOG_FILE, EVENTS_FILE):
        text = (tmp_path / name).read_text()
        assert "canary" not in text
        assert "4711" not in text
        assert len(text.splitlines()) == 2
    message, failure = events_of(tmp_path)
    assert message["text"].startswith("401 Incorrect API key")
    assert tuple(failure[name] for name in ("event", "instance", "model", "attempt")) == (
        "attempt_failed",
        "i-1",
        "m",
        1,
    )
    assert (failure["kind"], failure["lost_cost_usd"]) == ("provider: auth", 0.5)


@pytest.mark.parametrize("half", ['{"time": "2026-11-2', "x" * 70_000])
def test_a_start_cuts_off_the_half_line_of_a_killed_one(tmp_path: Path, half: str) -> None:
    with Journal(tmp_path, POOL) as journal:
        journal.say("first")
    with (tmp_path / EVENTS_FILE).open("a") as file:
        file.write(half)
    with Journal(tmp_path, POOL) as journal:
        journal.say("second")
    last = (tmp_path / EVENTS_FILE).read_text().splitlines()[-1]
    assert json.loads(last)["text"] == "second"
    if len(half) < 100:
        assert [event["text"] for event in events_of(tmp_path)] == ["first", "second"]


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    with Journal(tmp_path, POOL) as journal:
        threads = [
            threading.Thread(target=lambda n=n: [journal.say(f"{n} " + "y" * 1000) for _ in range(50)])  # type: ignore[misc]
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(events_of(tmp_path)) == 400


def test_the_docs_name_every_event() -> None:
    page = (Path(harness.__file__).parent / "docs" / "run-folder.md").read_text(encoding="utf-8")
    assert [event for event in Event if f"| `{event}` |" not in page] == []
