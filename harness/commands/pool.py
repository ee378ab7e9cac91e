"""The pool through time: `polyswe pool`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, check_policies, output, quiet_libraries, say
from harness.commands.options import SplitOption


def pool(
    outcomes: Annotated[list[str], typer.Argument(help="Dated records: leaderboards.json, or CSV with a date column.")],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    split: SplitOption = "test",
    at: Annotated[
        list[str] | None,
        typer.Option(help="A month such as 2025-11 (repeatable; default: each month that added a model)."),
    ] = None,
    member: Annotated[
        list[str] | None, typer.Option(help="Only this model, by a part of its name (repeatable).")
    ] = None,
    policy: Annotated[str, typer.Option(help="The routing policy.")] = "cluster",
    seed: Annotated[int, typer.Option(help="Seed of folds and clusters.")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Show how the pool's results changed over time and what each new model added.

    Example:

        polyswe pool leaderboards.json --tasks swebench_verified.jsonl --at 2025-08 --at 2025-11
        --at 2025-12 --at 2026-02
    """
    quiet_libraries()
    from harness.data.instances import read_problem_statements
    from harness.files import write_atomic
    from harness.pool.history import pool_history, render_history

    check_policies([policy])
    if out is not None:
        check_output(out, folder=False)
    statements = read_problem_statements(tasks, split=split)
    history = pool_history(outcomes, statements, months=at or (), pool=member, policy=policy, seed=seed)
    output(render_history(history))
    if out is not None:
        write_atomic(out, json.dumps(history.to_json(), indent=2, ensure_ascii=False) + "\n")
        say(f"history: {out}")
