"""`polyswe init`: a first configuration file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, quiet_libraries, say
from harness.commands.options import SplitOption
from harness.errors import InputError


def init(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file to write.")] = Path("polyswe.yaml"),
    model: Annotated[
        list[str] | None, typer.Option(help="A model, by its LiteLLM id, e.g. openai/gpt-5 (repeatable).")
    ] = None,
    dataset: Annotated[str, typer.Option(help="verified, lite, multilingual, a hub name or a path.")] = "verified",
    split: SplitOption = "test",
    max_cost: Annotated[float, typer.Option(min=0, help="Limit of the whole run in USD.")] = 50.0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented configuration for the models you name, with known prices filled in.

    Examples:

        polyswe init my.yaml --model anthropic/claude-sonnet-4-5-20250929 --model gemini/gemini-2.5-pro

        polyswe init                          # asks for the models
    """
    quiet_libraries()
    from harness.config import load_config
    from harness.config.starter import starter
    from harness.docker.engine import disk_free_gb
    from harness.files import write_atomic

    if out.exists() and not force:
        raise InputError(f"{out} exists; choose another name or give --force")
    check_output(out, folder=False)
    models = list(model or [])
    if not models and sys.stdin.isatty():
        answer = typer.prompt("Models, by their LiteLLM ids, separated by spaces")
        models = answer.split()
    root = Path("/var/lib/docker")
    text = starter(
        models, dataset, split=split, free_gb=disk_free_gb(root if root.exists() else Path()), max_cost=max_cost
    )
    write_atomic(out, text)
    load_config(out)  # what we write, we can read
    say(f"wrote {out}; next: polyswe doctor {out}, then polyswe evaluate {out} --dry-run")
