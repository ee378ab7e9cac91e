"""Datasets: `polyswe dataset show`, `polyswe dataset convert`, `polyswe dataset gold`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say
from harness.commands.options import SelectOption, SplitOption

dataset = typer.Typer(no_args_is_help=True, help="Inspect a dataset, and convert rows of other benchmarks.")

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
    say(f"check it before you trust a verdict: polyswe dataset gold {out} --out gold.jsonl, then polyswe grade")


@dataset.command()
def gold(
    source: Source,
    out: Annotated[Path, typer.Option(help="The .jsonl file to write.")],
    split: SplitOption = "test",
    select: SelectOption = None,
) -> None:
    """Write the reference patches as predictions, to see whether the instances can be resolved on this machine.

    Examples:

        polyswe dataset gold rebench.jsonl --select sample=20@1 --out gold.jsonl

        polyswe grade gold.jsonl --dataset rebench.jsonl --run-id gold
    """
    quiet_libraries()
    from harness.config import DatasetConfig
    from harness.config.selection import with_files_read
    from harness.data.instances import load_dataset
    from harness.errors import InputError
    from harness.files import write_atomic

    check_output(out, folder=False)
    config = DatasetConfig(name=source, split=split, select=with_files_read(select or []))
    patches = {i.instance_id: str(i.row.get("patch") or "") for i in load_dataset(config).instances}
    known = {name: patch for name, patch in patches.items() if patch.strip()}
    if not known:
        raise InputError(f"dataset {source}: no row has a patch")
    rows = [{"instance_id": name, "model_name_or_path": "gold", "model_patch": patch} for name, patch in known.items()]
    write_atomic(out, "".join(json.dumps(row) + "\n" for row in rows))
    output(f"{out}: {len(known)} reference patches; polyswe grade {out} --dataset {source}")
    if len(known) < len(patches):
        say(f"{len(patches) - len(known)} rows have no patch")
