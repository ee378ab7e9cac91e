"""Look into a run without touching it: `polyswe status`, `polyswe cells`, `polyswe show`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import output, quiet_libraries, terminal_width, typed_command
from harness.commands.options import ModelOption, SelectOption
from harness.errors import InputError
from harness.text import counted, counted_part

if TYPE_CHECKING:
    from harness.run.status import RunStatus
    from harness.store.rows import Cell, CellRow
    from harness.store.run_folder import RunFolder

RESULTS = Path("results")
PRETENDED = "costs are pretended: the models are scripted stand-ins"
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, e.g. results/sample.")]


def status(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="A run folder (default: the latest one in results/).")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Update the display every two seconds, until Ctrl-C.")] = False,
    select: SelectOption = None,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show a run's progress: cost, rate and time left of each model, and the latest failures. Works during a run.

    Examples:

        polyswe status

        polyswe status results/friday --watch
    """
    quiet_libraries()
    from harness.run.status import run_status
    from harness.store.run_folder import RunFolder

    folder = RunFolder(run or _latest_run(RESULTS))
    while True:
        seen = run_status(folder, lambda rows: _chosen(folder, rows, select, model))
        text = json.dumps(seen.as_json(), indent=1) if as_json else _render(seen)
        if watch and sys.stdout.isatty():
            print("\033[H\033[J", end="")
        output(text)
        if not watch or (not seen.at_work and seen.graded == seen.cells):
            return
        try:
            time.sleep(2)
        except KeyboardInterrupt:
            return


def cells(
    run: RunArgument,
    select: SelectOption = None,
    model: ModelOption = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="Only cells with this verdict or failure, e.g. 'empty patch' or 'provider' (repeatable)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one cell a line.")] = False,
) -> None:
    """List a run's cells: verdict or failure, cost, calls, seconds.

    Examples:

        polyswe cells results/sample --state "empty patch"

        polyswe cells results/my --model sonnet --select repo=django/* --json
    """
    quiet_libraries()
    from harness.run.status import at_work, read_cells, read_replaced, state_of
    from harness.store.run_folder import RunFolder

    folder = RunFolder(run)
    working = at_work(folder)
    rows, _ = read_cells(folder)
    earlier: dict[Cell, list[str]] = {}
    for one in read_replaced(folder):
        earlier.setdefault(one.cell, []).append(str(one.row.verdict))
    endings = _endings(rows, state or (), working=working)
    wanted = [row for row in _chosen(folder, rows, select, model) if state_of(row, working=working) in endings]
    if as_json:
        for row in wanted:
            values = _cell_values(row, state_of(row, working=working), folder.cell_dir(row.cell))
            output(json.dumps(values | {"earlier": earlier.get(row.cell, [])}))
        return
    repeated = any(row.attempt > 1 for row in rows)
    labels = [f"{row.model} @{row.attempt}" if repeated else row.model for row in wanted]
    width = max((len(row.instance_id) for row in wanted), default=8)
    names = max(map(len, labels), default=5)
    for row, label in zip(wanted, labels, strict=True):
        cost = "" if row.cost_usd is None else f"${row.cost_usd:.3f}"
        calls = "" if row.api_calls is None else f"{row.api_calls} calls"
        line = f"{row.instance_id:{width}}  {label:{names}}  {state_of(row, working=working):20}  {cost:>8}  {calls:>9}"
        if row.cell in earlier:
            line = f"{line}  redone, before: {', '.join(earlier[row.cell])}"
        output(line.rstrip())
    if wanted and all(row.scripted for row in wanted):
        output(PRETENDED)
    output(f"{len(wanted)} of {counted(len(rows), 'cell')}")


def show(
    run: RunArgument,
    instance: Annotated[str, typer.Argument(help="An instance's id, or a unique part of it.")],
    model: Annotated[
        str, typer.Argument(help="A model, by a unique part of its name; without it, the instance's cells are listed.")
    ] = "",
    attempt: Annotated[int, typer.Option(min=1, help="Number of the attempt, if the run has repeats.")] = 1,
    earlier: Annotated[
        int | None,
        typer.Option(min=1, help="Show an earlier attempt of a redone cell: 1 for the first, 2 for the second, …"),
    ] = None,
    patch: Annotated[bool, typer.Option("--patch", help="Print the patch.")] = False,
    tests: Annotated[bool, typer.Option("--tests", help="Print the test output.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="Print what the agent did, step by step.")] = False,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Print which generated tests the attempt passes, and who wrote them.")
    ] = False,
) -> None:
    """Show one cell: its verdict or failure, cost and files; or its patch, test output or steps.

    Examples:

        polyswe show results/sample billing     # lists the instance's cells

        polyswe show results/sample billing large

        polyswe show results/sample billing large --steps

        polyswe show results/sample-select billing large --evidence
    """
    quiet_libraries()
    from harness.data.model_names import match_names
    from harness.run.status import at_work, read_cells, read_replaced, state_of
    from harness.store.rows import Cell
    from harness.store.run_folder import PATCH_FILE, RunFolder

    folder = RunFolder(run)
    rows, _ = read_cells(folder)
    ids = list(dict.fromkeys(row.instance_id for row in rows))
    found = [one for one in ids if one == instance] or [one for one in ids if instance in one]
    if len(found) != 1:
        several = f"{len(found)} instances contain it: {', '.join(found[:4])} …" if found else "no instance contains it"
        raise InputError(f"{run}: {instance!r} names no single instance ({several})")
    own = [row for row in rows if row.instance_id == found[0]]
    if not model and len(own) > 1:
        if patch or tests or steps or evidence or earlier is not None:
            raise InputError(f"{run}: name one of the models: {', '.join(dict.fromkeys(row.model for row in own))}")
        _list_cells(folder, own)
        return
    (name,) = match_names([model], list(dict.fromkeys(row.model for row in rows))) if model else [own[0].model]
    cell = Cell(found[0], name, attempt)
    row = next((row for row in rows if row.cell == cell), None)
    if row is None:
        raise InputError(f"{run}: no such cell was planned: {cell}")
    place = folder.cell_dir(row.cell)
    before = [one for one in read_replaced(folder) if one.cell == cell]
    if earlier is not None:
        if earlier > len(before):
            raise InputError(f"{run}: {cell} has {len(before)} earlier attempts")
        row, place, before = before[earlier - 1].row, folder.earlier_dir(cell, earlier), []
    if patch or tests or steps or evidence:
        if evidence:
            from harness.run.evidence_record import describe_evidence
            from harness.run.rollout import read_evidence

            output(describe_evidence(read_evidence(folder).get(cell.instance_id), row))
            if row.scripted:
                output(PRETENDED)
        if patch:
            output(_content(place / PATCH_FILE), end="")
        if tests:
            output(_content(place / "test_output.txt"), end="")
        if steps:
            output(_steps(place / "trajectory.json"))
        return
    for key, value in _cell_values(row, state_of(row, working=at_work(folder)), place).items():
        if value not in (None, "", {}):
            output(f"{key:18} {value}")
    if row.scripted and row.cost_usd:
        output(f"{'note':18} {PRETENDED}")
    for one in before:
        output(f"{'earlier':18} {one.row.verdict}, ${one.cost_usd:.3f}, {folder.earlier_dir(cell, one.number)}")
    for file in sorted(place.glob("*")) if place.is_dir() else []:
        output(f"{'file':18} {file}")
    if (place / "trajectory.json").is_file():  # others' attempts may come without
        output(f"{'inspect':18} mini-extra inspect {place / 'trajectory.json'}")


def _list_cells(folder: RunFolder, rows: Sequence[CellRow]) -> None:
    """An instance's cells, a line each, and the command that shows one of them."""
    from harness.run.status import at_work, state_of
    from harness.store.rows import ATTEMPTED

    working = at_work(folder)
    names = max(len(row.model) for row in rows)
    for row in rows:
        cost = "unknown" if row.state in ATTEMPTED and row.cost_usd is None else f"${row.cost_usd or 0:.3f}"
        output(f"{row.model:{names}}  attempt {row.attempt}  {state_of(row, working=working):20}  {cost:>8}")
    if all(row.scripted for row in rows if row.state in ATTEMPTED):
        output(PRETENDED)
    one = next((row for row in rows if row.state in ATTEMPTED), rows[0])
    number = ["--attempt", str(one.attempt)] if any(row.attempt > 1 for row in rows) else []
    output(f"show one: {typed_command('show', str(folder.path), one.instance_id, one.model, *number)}")


def _latest_run(root: Path) -> Path:
    stores = sorted(root.glob("*/outcomes.sqlite"), key=lambda path: path.stat().st_mtime)
    if not stores:
        raise InputError(f"{root}: no run in it; name a run folder")
    return stores[-1].parent


def _chosen(
    folder: RunFolder, rows: Sequence[CellRow], select: Sequence[str] | None, model: Sequence[str] | None
) -> list[CellRow]:
    """The rows that `--select` and `--model` choose; the dataset is read only where a term needs more than the ids."""
    from harness.config.selection import Selection
    from harness.data.instances import candidates
    from harness.data.model_names import match_names
    from harness.data.rows import load_rows

    models = match_names(model or [], list(dict.fromkeys(row.model for row in rows)), globs=True)
    selection = Selection.parse(select or ())
    dataset = folder.read_manifest()["config"]["dataset"] if selection.needs_rows else None
    known = load_rows(dataset["name"], dataset.get("split", "test")) if dataset else []
    ids = set(selection.choose(candidates(known, (row.instance_id for row in rows)), str(folder.path)))
    return [row for row in rows if row.instance_id in ids and (not models or row.model in models)]


def _endings(rows: Sequence[CellRow], wanted: Sequence[str], *, working: bool) -> set[str]:
    """The endings that `--state` names: each a whole one ("resolved" is not "unresolved"), or a part of some."""
    from harness.grading.verdict import Verdict
    from harness.run.failures import KINDS
    from harness.run.status import INTERRUPTED, state_of
    from harness.store.rows import State

    present = {state_of(row, working=working) for row in rows}
    known = present | set(map(str, Verdict)) | set(map(str, State)) | set(KINDS) | {INTERRUPTED}
    found: set[str] = set()
    for name in wanted:
        text = name.lower()
        matching = {one for one in known if one.lower() == text} or {one for one in known if text in one.lower()}
        if not matching:
            raise InputError(f"--state {name!r}: no cell can end so; cells of this run: {', '.join(sorted(present))}")
        found |= matching
    return found if wanted else present


def _render(seen: RunStatus) -> str:
    from harness.run.display import cost, cut, duration, model_lines

    done = f"{counted_part(seen.graded, seen.cells, 'cell', 'has', 'have')} a verdict"
    lines = [f"{seen.run}: {done}, {'at work' if seen.at_work else 'not at work'}, {cost(seen)} spent"]
    if seen.cells_per_hour and seen.graded < seen.cells:
        rate = f"{seen.cells_per_hour:.0f} cells and ${seen.usd_per_hour or 0:.2f} an hour"
        lines.append(f"{rate} lately; about {duration(seen.hours_left)} left at that rate")
    width = terminal_width()
    lines += model_lines(seen.models, width)
    if seen.tests:
        tests = seen.tests
        failed = f", {tests.failed} failed" if tests.failed else ""
        written = f"{tests.written} of {tests.planned} written{failed}" if tests.planned else "from the attempts"
        done = f"run on the attempts of {tests.tested} of {counted(tests.instances, 'instance')}"
        lines.append(cut(f"tests: {written}, {done}; they cost ${tests.cost_usd:.2f} of that", width))
    if redone := sum(model.redone for model in seen.models):
        earlier = sum(model.earlier_cost_usd for model in seen.models)
        lines.append(f"redone: {redone} of these cells; their earlier attempts cost ${earlier:.2f} of that")
    if seen.scripted and seen.cost_usd:
        lines.append(PRETENDED)
    if seen.graded < seen.cells and not seen.at_work:
        if seen.command:
            lines.append(f"the same command continues the run: {typed_command(*seen.command)}")
        else:
            lines.append("the command that started the run continues it")
    for event in seen.failures:
        lines.append(cut(f"  {event.at[:19]}  {event.cell}: {event.kind}", width))
    return "\n".join(lines)


def _cell_values(row: CellRow, state: str, place: Path) -> dict[str, object]:
    return {
        "instance_id": row.instance_id,
        "model": row.model,
        "attempt": row.attempt,
        "state": str(row.state),
        "ended": state,
        "detail": row.detail,
        "exit_status": row.exit_status,
        "cost_usd": row.cost_usd,
        "lost_cost_usd": row.lost_cost_usd,
        "api_calls": row.api_calls,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "agent_seconds": row.agent_seconds,
        "grading_seconds": row.grading_seconds,
        "updated_at": row.updated_at,
        "folder": str(place),
    }


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _steps(path: Path) -> str:
    """The trajectory as text: what the agent said and ran, and the beginning of what came back."""
    try:
        messages = json.loads(_content(path))["messages"]
        sound = all(isinstance(message, dict) for message in messages)
    except (ValueError, LookupError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise InputError(f"{path}: not a trajectory of mini-swe-agent, or damaged; bring back a copy of it")
    parts = []
    for number, message in enumerate(messages):
        content, extra = message.get("content"), message.get("extra")
        text = content if isinstance(content, str) else json.dumps(content)
        actions = (extra.get("actions") if isinstance(extra, dict) else None) or ()
        commands = [f"$ {action.get('command', '')}" for action in actions if isinstance(action, dict)]
        shown = text if len(text) <= 2000 else f"{text[:2000]}\n… {counted(len(text) - 2000, 'more character')}"
        parts.append("\n".join([f"── {number} {message.get('role', '?')} ──", shown, *commands]))
    return "\n\n".join(parts)
