"""Long series of independent trials, in several processes; a stopped series continues where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from harness.errors import InputError

Task = TypeVar("Task")
Record = dict[str, object]
"""What a trial found, as JSON."""


@dataclass(frozen=True)
class Execution:
    """How a study is run; nothing of it changes a number."""

    workers: int = 1
    """Processes."""
    out: Path | None = None
    """Folder for the results; finished trials are kept there until all are done, so that a stopped study can be
    continued. None keeps nothing."""
    show_bar: bool = False
    """Draw a progress bar."""

    def kept(self, name: str) -> Path | None:
        """Where the finished trials of a study are kept."""
        return None if self.out is None else self.out / f"{name}.partial.jsonl"


def run_trials(
    judge: Callable[[Task], Record],
    tasks: Sequence[Task],
    *,
    settings: str,
    kept: Path | None,
    execution: Execution | None = None,
    unit: str = "pool",
) -> list[Record]:
    """`judge` of every task, in order; what an earlier start with the same `settings` judged is read from `kept`.

    Args:
        judge: Pure and picklable; the first task left is judged in this process, so that wrong input fails once.
        tasks: In a fixed order.
        settings: Everything the trials depend on, as text; the file of other settings, or of another version of
            polyswe, is started anew.
        kept: A file of JSON lines that grows by a line per trial; None keeps nothing.
        execution: How many processes, and whether a bar is drawn; the records do not depend on it.
        unit: Of the bar.

    Raises:
        InputError: whatever `judge` raises as such, and a damaged file of kept trials.
    """
    from tqdm import tqdm

    execution = execution or Execution()
    workers, show_bar = execution.workers, execution.show_bar
    stamp = hashlib.sha256(f"{settings} {version('polyswe')}".encode()).hexdigest()
    done = _read(kept, stamp)
    left = [number for number in range(len(tasks)) if number not in done]
    with tqdm(total=len(tasks), initial=len(done), unit=unit, disable=not show_bar) as bar:

        def keep(number: int, record: Record) -> None:
            done[number] = record
            if kept is not None:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"trial": number, "record": record}) + "\n")
            bar.update(1)

        if left:
            keep(left[0], judge(tasks[left[0]]))
        rest = left[1:]
        if workers <= 1 or len(rest) < 2:
            for number in rest:
                keep(number, judge(tasks[number]))
        else:
            # one thread each: the workers share the cores
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                for number, record in zip(rest, pool.map(judge, [tasks[k] for k in rest]), strict=True):
                    keep(number, record)
    return [done[number] for number in range(len(tasks))]


def _read(kept: Path | None, stamp: str) -> dict[int, Record]:
    """Trials kept under these settings; a file of others is replaced by an empty one of these."""
    if kept is None:
        return {}
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []
    try:
        records = [json.loads(line) for line in lines if line.strip()]
    except json.JSONDecodeError:
        # the last line is cut where the process was killed while writing it
        try:
            records = [json.loads(line) for line in lines[:-1] if line.strip()]
        except json.JSONDecodeError as error:
            raise InputError(f"{kept}: damaged ({error.msg}); remove it to start anew") from error
    current = bool(records) and isinstance(records[0], dict) and records[0].get("settings") == stamp
    trials = {record["trial"]: record["record"] for record in records[1:]} if current else {}
    kept.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"settings": stamp}, *({"trial": number, "record": record} for number, record in trials.items())]
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return trials
