"""Datasets: `polyswe dataset show`, `polyswe dataset convert`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say
from harness.commands.options import SplitOption

dataset = typer.Typer(no_args_is_help=True, help="Look at a dataset, and convert rows of other benchmarks.")

Source = Annotated[str, typer.Argument(help="A short name such as lite, a hub name, a file, or a task repo.")]


@dataset.command()
def show(source: Source, split: SplitOption = "test") -> None:
    """Show how many rows a dataset has, whether they can be graded, and what is missing.

    Example:

        polyswe dataset show lite --split dev
    """
    quiet_libraries()
    from harness.data.checks import faults_of, readable
    from harness.data.classic import completed, is_classic
    from harness.data.convert import source_of
    from harness.data.rows import load_rows
    from harness.errors import InputError

    rows = load_rows(source, split)
    repositories = len({row.get("repo") for row in rows})
    faults = Counter[str]()
    for row in rows:
        found = faults_of(readable(completed(row) if is_classic(row) else row)) if row.get("instance_id") else ["no id"]
        faults.update(found[:1])
    output(f"{source}: {len(rows)} rows of {repositories} repositories; {len(rows) - faults.total()} can be graded")
    for fault, count in faults.most_common():
        output(f"  {count} × {fault}")
    if rows and faults:
        try:
            output(f"  looks like {source_of(rows[0], source).TITLE}: polyswe dataset convert {source} --out FILE")
        except InputError as error:
            output(f"  {error}")


@dataset.command()
def convert(
    source: Source,
    out: Annotated[Path, typer.Option(help="The .jsonl file to write.")],
    split: SplitOption = "test",
) -> None:
    """Write the rows of another benchmark in the form that the official harness grades.

    Examples:

        polyswe dataset convert nebius/SWE-rebench --split filtered --out rebench.jsonl

        polyswe dataset convert SWE-Gym/SWE-Gym --split train --out gym.jsonl
    """
    quiet_libraries()
    from harness.data.convert import convert_rows
    from harness.data.rows import load_rows
    from harness.errors import InputError
    from harness.files import write_atomic

    if out.suffix != ".jsonl":
        raise InputError(f"--out {out}: give a name that ends in .jsonl")
    check_output(out, folder=False)
    converted = convert_rows(load_rows(source, split), source)
    write_atomic(out, "".join(json.dumps(row, default=str) + "\n" for row in converted.rows))
    output(f"{out}: {len(converted.rows)} {converted.source} rows; use it with dataset.name: {out}")
    for reason, count in converted.left_out.items():
        say(f"left out: {count} × {reason}")
    say("grade the gold patches of a few instances before you trust the verdicts (harness/docs/datasets.md)")
