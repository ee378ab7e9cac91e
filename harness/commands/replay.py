"""Recorded outcomes: `polyswe replay`, and drawing: `polyswe figures`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import (
    check_folder,
    check_output,
    check_policies,
    output,
    quiet_libraries,
    say,
    terminal_width,
)
from harness.commands.env_file import EnvFileOption
from harness.commands.options import CorpusOption, DropLeaksOption, PoolOption, SelectOption, SplitOption
from harness.errors import InputError


def replay(
    outcomes: Annotated[
        list[str],
        typer.Argument(
            help="leaderboards.json of the SWE-bench site, CSV, or a folder of finished attempts; URLs too."
        ),
    ],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    split: SplitOption = "test",
    model: PoolOption = None,
    select: SelectOption = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="A routing policy (repeatable; default: auto and cluster).")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the cross-fitting with new folds.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of folds, clusters and resampling.")] = 0,
    embedder: Annotated[
        str, typer.Option(help="Any sentence-transformers model, by name or path.")
    ] = "all-MiniLM-L6-v2",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("results/replay-latest"),
    auxiliary: Annotated[
        list[str] | None,
        typer.Option(help="Outcomes of extra runs used only to estimate difficulty; never routed to (repeatable)."),
    ] = None,
    repeats_from: Annotated[
        list[str] | None,
        typer.Option(help="Outcomes of a model's repeated runs, for the repeatable oracle (repeatable)."),
    ] = None,
    corpus: CorpusOption = None,
    drop_leaks: DropLeaksOption = False,
    null_sizes: Annotated[
        str | None,
        typer.Option(help="Sizes of random clusters to compare with, e.g. 120,80,… summing to all instances."),
    ] = None,
    words: Annotated[
        bool, typer.Option(help="Keep each cluster's representative words and instances in the results.")
    ] = True,
    env_file: EnvFileOption = None,
) -> None:
    """Evaluate routing policies on recorded outcomes. Takes minutes; needs no Docker and no key.

    Example:

        polyswe replay leaderboards.json --tasks swebench_verified.jsonl
        --model "opus medium" --model "gemini 3 pro" --model "4.5 sonnet"
    """
    quiet_libraries()
    from harness.commands.report import write_all
    from harness.config.tree import DEFAULT_POLICIES
    from harness.evaluation.settings import EvaluationSettings
    from harness.replay import RecordedSources, replay_sources, write_replay
    from harness.report.tables import render_terminal

    check_output(out, folder=True)
    check_policies(policy or ())
    sources = RecordedSources(
        outcomes=outcomes,
        tasks=tasks,
        split=split,
        pool=model,
        select=select or (),
        auxiliary=auxiliary or (),
        repeats_from=repeats_from or (),
        corpus=corpus,
        drop_leaks=drop_leaks,
    )
    settings = EvaluationSettings(
        policies=policy or DEFAULT_POLICIES,
        folds=folds,
        repeats=repeats,
        seed=seed,
        null_sizes=sizes_of(null_sizes),
    )
    results, matrix = replay_sources(sources, settings, embedder=embedder, words=words, progress=say, show_bar=True)
    output(render_terminal(results, terminal_width()))  # whatever becomes of the files
    write_replay(results, matrix, out)
    say(f"results: {out}/results.md, results.json, results.csv, outcomes.csv")
    say(f"report: {write_all(out, results)}")


def figures(run: Annotated[Path, typer.Argument(help="A run or replay folder, e.g. results/replay-latest.")]) -> None:
    """Draw the figures of a results.json again, as PNG and SVG in figures/ next to it.

    Example:

        polyswe figures results/sample
    """
    from harness.evaluation.schema import read_results
    from harness.report.figures import write_figures

    folder = run if run.is_dir() else run.parent
    check_folder(folder, "the figures go there")
    for path in write_figures(read_results(run), folder / "figures"):
        output(str(path))


def sizes_of(text: str | None) -> list[int]:
    """The whole numbers of an option like 120,80,300. Raises InputError."""
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InputError(f"--null-sizes: '{text}' is not a list of whole numbers like 120,80,300") from None
