"""Datasets: `polyswe dataset show`, `polyswe dataset convert`, `polyswe dataset gold`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say
from harness.commands.env_file import EnvFileOption
from harness.commands.options import SelectOption, SplitOption
from harness.text import counted

dataset = typer.Typer(
    no_args_is_help=True,
    help="Inspect, convert, rate and sample datasets.",
    epilog="Example: `polyswe dataset show sample`",
)

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
    size = f"{counted(len(rows), 'row')} of {counted(repositories, 'repository', 'repositories')}"
    output(f"{source}: {size}; {len(rows) - faults.total()} can be graded")
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
        say(f"{counted(len(patches) - len(known), 'row has', 'rows have')} no patch")


@dataset.command()
def rate(
    source: Source,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="The model of the pool that rates, by a part of its name.")
    ],
    out: Annotated[Path, typer.Option(help="The .jsonl file; replies that it already has are not paid again.")],
    config: Annotated[str, typer.Option(help="The YAML file with the pool.")] = "sample",
    split: SplitOption = "test",
    select: SelectOption = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="USD that all replies may cost together.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Calls at the same time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate the cost; ask nothing.")] = False,
    env_file: EnvFileOption = None,
) -> None:
    """Let a model rate how hard each issue looks, for forecasts and samples. It reads the issue's text alone.

    Examples:

        polyswe dataset rate verified --model haiku --config my.yaml --max-cost 5 --out ratings.jsonl

        polyswe evaluate my.yaml --dry-run --history leaderboards.json --ratings ratings.jsonl

    Exit code 4: some issues have no reply. The same command asks about these.
    """
    quiet_libraries()
    from harness.config import find_config, load_config
    from harness.config.selection import Selection, with_files_read
    from harness.data.instances import candidates, problem_statements
    from harness.data.model_names import match_names
    from harness.data.rows import load_rows
    from harness.errors import EXIT_INCOMPLETE, InputError
    from harness.run.rating import look_ahead, rate_issues

    if out.suffix != ".jsonl":
        raise InputError(f"--out {out}: give a name that ends in .jsonl")
    check_output(out, folder=False)
    settings = load_config(find_config(config))
    pool = {entry.name: entry for entry in settings.pool}
    rater = pool[match_names([model], list(pool))[0]]
    rows = load_rows(source, split)
    chosen = Selection.parse(with_files_read(select or [])).choose(candidates(rows), f"dataset {source}")
    statements = problem_statements(rows, source)
    issues = {name: statements[name] for name in chosen}
    if dry_run:
        number, cost = look_ahead(issues, rater, out)
        dollars = "pretended $" if rater.scripted else "$"
        output(
            f"{number} of {len(issues)} issues are left for {rater.name} to rate: about {dollars}{cost:.4f}, estimated "
            "from the length of the texts"
        )
        return
    done = rate_issues(issues, rater, out, retry=settings.agent.retry, max_cost=max_cost, workers=workers, say=say)
    if rater.scripted:
        say("the model is a scripted stand-in: its ratings are a fixed answer and its costs are pretended")
    output(
        f"{out}: {done.rated} of {len(issues)} issues rated by {rater.name}; "
        f"${done.spent_now:.4f} now, ${done.spent:.4f} in all"
    )
    if done.unusable:
        say(f"{done.unusable} replies hold no usable ratings; remove their lines to ask again")
    if done.stopped:
        say(f"stopped: {done.stopped}")
    if done.missing:
        raise typer.Exit(EXIT_INCOMPLETE)


@dataset.command()
def sample(
    source: Source,
    ratings: Annotated[Path, typer.Option(help="Ratings by `polyswe dataset rate`.")],
    size: Annotated[int, typer.Option(min=1, help="Number of instances.")],
    out: Annotated[Path, typer.Option(help="The file to write, one id a line.")],
    split: SplitOption = "test",
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
) -> None:
    """Draw instances stratified by repository and rated difficulty, for `--select file=IDS.txt`.

    Example:

        polyswe dataset sample verified --ratings ratings.jsonl --size 50 --seed 7 --out ids.txt
    """
    quiet_libraries()
    from harness.config.selection import Candidate
    from harness.config.selection import sample as draw
    from harness.data.instances import candidates
    from harness.data.ratings import difficulties, rated
    from harness.data.rows import load_rows
    from harness.errors import InputError
    from harness.files import write_atomic

    check_output(out, folder=False)
    hard = difficulties(rated(ratings))
    known = [
        Candidate(one.instance_id, one.repo, hard[one.instance_id])
        for one in candidates(load_rows(source, split))
        if one.instance_id in hard
    ]
    if len(known) < size:
        raise InputError(f"--size {size}: {len(known)} instances of {source} are rated")
    drawn = draw(known, size, seed)
    write_atomic(out, "".join(f"{one.instance_id}\n" for one in known if one.instance_id in drawn))
    counts = Counter(one.difficulty for one in known if one.instance_id in drawn)
    output(
        f"{out}: {size} of {len(known)} rated instances ({', '.join(f'{n} {k}' for k, n in sorted(counts.items()))})"
    )
