"""How far a run is, counted while it goes on: shown to the user, and written to the run's journal."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from agents.attempt import Attempt
from harness.grading.verdict import Grade
from harness.run.display import Display, duration, known_cost, make_display
from harness.run.journal import Event, Journal
from harness.run.status import RATE_WINDOW, ModelStatus
from harness.store.rows import ATTEMPTED, Cell, CellRow, State

SHOWN_WAIT = 3.0
"""Seconds from which a wait for a model's turn is shown."""


@dataclass
class _Model:
    """One model's counts."""

    cells: int
    graded: int
    resolved: int
    cost_usd: float
    unpriced: int = 0
    """Finished attempts whose cost is unknown."""
    failed: int = 0
    finished: deque[float] = field(default_factory=deque)
    """When cells ended at this start, as far back as the rate looks."""


@dataclass
class _Work:
    """A cell's stage at this moment."""

    stage: str
    since: float
    waits_until: float = 0.0


class Progress:
    """Takes what happens to the cells. Safe to call from many threads."""

    def __init__(
        self,
        rows: Collection[CellRow],
        journal: Journal | None = None,
        display: Display | None = None,
        *,
        work: str = "",
    ) -> None:
        """
        Args:
            rows: Every cell of the run as this start finds it.
            journal: Where to write what happens.
            display: Where to show it; by default what fits the program's error output.
            work: What is done, where cells end with their attempts, ungraded.
        """
        self._work_name = work
        self._lock = threading.RLock()
        self._started = time.monotonic()
        self._models = {name: _model([row for row in rows if row.model == name]) for name in _names(rows)}
        self._work: dict[Cell, _Work] = {}
        self._journal = journal
        self._display = display or make_display(self)

    # ---- what happens ----

    def agent_started(self, cell: Cell) -> None:
        self._record(Event.ATTEMPT_STARTED, cell)
        self._at_work(cell, "agent")

    def agent_waits(self, cell: Cell, seconds: float) -> None:
        """The cell's agent waits for its model's next turn."""
        with self._lock:
            if cell in self._work:
                self._work[cell].waits_until = time.monotonic() + seconds
        if seconds >= SHOWN_WAIT:
            self._record(Event.ATTEMPT_WAITS, cell, seconds=round(seconds, 1))

    def paid(self, cell: Cell, cost_usd: float) -> None:
        """A call of the cell has ended."""
        with self._lock:
            self._models[cell.model].cost_usd += cost_usd

    def agent_ended(self, cell: Cell, attempt: Attempt | None) -> None:
        """The agent has ended, with an attempt to grade or without one."""
        with self._lock:
            self._work.pop(cell, None)
            if attempt is not None and self._work_name:
                self._models[cell.model].graded += 1
                self._models[cell.model].finished.append(time.monotonic())
        if attempt is not None:
            self._record(
                Event.ATTEMPT_ENDED,
                cell,
                exit_status=attempt.exit_status,
                cost_usd=attempt.cost_usd,
                api_calls=attempt.api_calls,
                prompt_tokens=attempt.prompt_tokens,
                completion_tokens=attempt.completion_tokens,
                seconds=round(attempt.seconds, 1),
            )

    def attempt_failed(self, cell: Cell, *, kind: str, detail: str, lost_cost_usd: float) -> None:
        """The cell has no attempt, and it was not the model's failure."""
        message = f"{cell}: {detail}"
        details = {"kind": kind, "detail": detail, "lost_cost_usd": lost_cost_usd}
        self._failed(cell, message, Event.ATTEMPT_FAILED, details)

    def attempt_retried(self, cell: Cell) -> None:
        with self._lock:
            self._models[cell.model].failed -= 1
        message = f"{cell}: trying again"
        self._record(Event.ATTEMPT_RETRIED, cell, line=message)
        self._display.print(message)

    def grading_started(self, cell: Cell) -> None:
        self._record(Event.GRADING_STARTED, cell)
        self._at_work(cell, "grading")

    def grading_ended(self, cell: Cell) -> None:
        with self._lock:
            self._work.pop(cell, None)

    def cell_graded(self, cell: Cell, grade: Grade) -> None:
        """The cell has its verdict."""
        with self._lock:
            model = self._models[cell.model]
            model.graded += 1
            model.resolved += grade.resolved
            model.finished.append(time.monotonic())
        line = f"{cell}: {grade.verdict}"
        self._record(
            Event.CELL_GRADED,
            cell,
            line=line,
            verdict=str(grade.verdict),
            resolved=grade.resolved,
            seconds=round(grade.seconds or 0.0, 1),
        )
        self._display.update()

    def grading_failed(self, cell: Cell, *, kind: str, detail: str) -> None:
        """The cell has no verdict; its patch is kept."""
        message = f"{cell}: no verdict, grading failed ({kind}: {detail}); the patch is kept: rerun the command"
        self._failed(cell, message, Event.GRADING_FAILED, {"kind": kind, "detail": detail})

    def say(self, message: str) -> None:
        """A line for the user."""
        if self._journal is not None:
            self._journal.say(message)
        self._display.print(message)

    def close(self) -> None:
        self._display.close()

    # ---- how far it is ----

    def models(self) -> list[ModelStatus]:
        """The table's rows."""
        now = time.monotonic()
        with self._lock:
            return [self._status(name, model, now) for name, model in self._models.items()]

    def at_work(self) -> list[str]:
        """A line for each cell at work, the longest at work first."""
        now = time.monotonic()
        with self._lock:
            work = sorted(self._work.items(), key=lambda item: item[1].since)
        lines = []
        for cell, own in work:
            minutes, seconds = divmod(int(now - own.since), 60)
            stage = "waits for its turn" if own.waits_until > now else own.stage
            lines.append(f"{minutes}:{seconds:02d}  {cell}  {stage}")
        return lines

    def summary(self) -> str:
        """All models together, in one line."""
        models = self.models()
        with self._lock:
            agents = sum(own.stage == "agent" for own in self._work.values())
            gradings = len(self._work) - agents
        failed = sum(model.failed for model in models)
        left = max((model.hours_left for model in models if model.hours_left is not None), default=None)
        done = f"{sum(model.graded for model in models)} of {sum(model.cells for model in models)} cells"
        resolved = sum(model.resolved for model in models)
        spent = known_cost(sum(model.cost_usd for model in models), sum(model.unpriced for model in models))
        parts = [
            *([f"{self._work_name}: {done}"] if self._work_name else [done, f"{resolved} resolved"]),
            *([f"{failed} failed"] if failed else []),
            f"cost {spent}" if spent == "unknown" else spent,
            *([f"agents {agents}, gradings {gradings}"] if agents or gradings else []),
            *([f"about {duration(left)} left"] if left else []),
        ]
        return ", ".join(parts)

    # ---- private ----

    def _status(self, name: str, model: _Model, now: float) -> ModelStatus:
        work = [own for cell, own in self._work.items() if cell.model == name]
        window = min(RATE_WINDOW.total_seconds(), now - self._started)
        while model.finished and model.finished[0] < now - RATE_WINDOW.total_seconds():
            model.finished.popleft()
        rate = len(model.finished) / window * 3600 if model.finished and window > 0 else None
        left = model.cells - model.graded - model.failed
        return ModelStatus(
            name=name,
            cells=model.cells,
            graded=model.graded,
            resolved=model.resolved,
            running=len(work),
            awaiting_turn=sum(own.waits_until > now for own in work),
            failed=model.failed,
            waiting=max(0, left - len(work)),
            cost_usd=model.cost_usd,
            unpriced=model.unpriced,
            cells_per_hour=rate,
            hours_left=left / rate if rate and left > 0 else None,
        )

    def _at_work(self, cell: Cell, stage: str) -> None:
        with self._lock:
            self._work[cell] = _Work(stage, time.monotonic())
        self._display.update()

    def _failed(self, cell: Cell, message: str, event: Event, details: dict[str, object]) -> None:
        with self._lock:
            self._models[cell.model].failed += 1
        self._record(event, cell, line=message, **details)
        self._display.print(message)

    def _record(self, event: Event, cell: Cell, *, line: str = "", **details: object) -> None:
        if self._journal is not None:
            self._journal.record(event, cell, line=line, **details)


def _names(rows: Collection[CellRow]) -> list[str]:
    return list(dict.fromkeys(row.model for row in rows))


def _model(rows: Sequence[CellRow]) -> _Model:
    return _Model(
        cells=len(rows),
        graded=sum(row.state is State.GRADED for row in rows),
        resolved=sum(row.verdict == "resolved" for row in rows),
        cost_usd=sum((row.cost_usd or 0.0) + row.lost_cost_usd for row in rows),
        unpriced=sum(row.state in ATTEMPTED and row.cost_usd is None for row in rows),
    )
