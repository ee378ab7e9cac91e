"""Options that several commands share: which instances, and which models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.config import Config
    from harness.run.redo import RedoRequest

SelectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="TERM",
        help="Only some instances (repeatable): repo=django/*, difficulty='1-4 hours', id=GLOB, file=IDS.txt, "
        "slice=0:50, sample=50@SEED. All terms must hold; filters come first, then slice, then sample.",
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="NAME", help="Only this model, by a unique part of its name or a glob (repeatable)."
    ),
]
CorpusOption = Annotated[
    str | None,
    typer.Option(help="General texts to learn clusters from: a .jsonl file, a folder of them, or a hub name."),
]
DropLeaksOption = Annotated[
    bool, typer.Option("--drop-leaks", help="Drop corpus texts that reveal the instances instead of stopping.")
]
SplitOption = Annotated[str, typer.Option(help="Split of the dataset, e.g. dev.")]
"""For every command that takes the name of a dataset."""
OutOption = Annotated[Path | None, typer.Option(help="Folder that holds the run folders (default: results).")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Archive an earlier run of this name and start again.")]
GradingWorkersOption = Annotated[int | None, typer.Option(min=1, help="Number of gradings at the same time.")]
EngineOption = Annotated[str | None, typer.Option(help="Where cells run: local (this machine) or ray (a cluster).")]
AddressOption = Annotated[
    str | None, typer.Option(help="Head node of the Ray cluster (default: start one on this machine).")
]
PoolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "--pool", metavar="NAME", help="A model, by a unique part of its name or a glob (repeatable)."
    ),
]


def part_of(config: Config, select: Sequence[str], models: Sequence[str]) -> Config:
    """The configuration narrowed to a command's `--select` and `--model`.

    Raises:
        InputError: a term or a name that cannot be used.
    """
    from harness.config import with_models, with_overrides
    from harness.config.selection import narrowed, with_files_read
    from harness.data.model_names import match_names

    if models and config.run.mode == "routed":
        raise InputError("--model would change what the router chooses from: a routed run takes all of its pool")
    if models:
        config = with_models(config, match_names(models, [entry.name for entry in config.pool], globs=True))
    terms = with_files_read(narrowed(config.dataset.select, select))
    return with_overrides(config, {"dataset.select": terms}) if terms != config.dataset.select else config


def narrowing(select: Sequence[str] | None, models: Sequence[str] | None) -> Callable[[Config], Config] | None:
    """`part_of` for these options; None where neither is given."""
    return (lambda config: part_of(config, select or (), models or ())) if select or models else None


def redo_request(config: Config, endings: Sequence[str] | None, models: Sequence[str] | None) -> RedoRequest | None:
    """What `--redo` asks for; None without it.

    Raises:
        InputError: `--model` names no model of the pool.
    """
    from harness.data.model_names import match_names
    from harness.run.redo import RedoRequest

    if not endings:
        return None
    return RedoRequest(endings, match_names(models or [], [entry.name for entry in config.pool], globs=True))
