"""A run: `polyswe evaluate`, and its table again: `polyswe results`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say, terminal_width, typed_words
from harness.commands.env_file import EnvFileOption
from harness.commands.options import (
    AddressOption,
    EngineOption,
    FreshOption,
    GradingWorkersOption,
    ModelOption,
    OutOption,
    SelectOption,
    narrowing,
    part_of,
    redo_request,
)
from harness.errors import EXIT_ENVIRONMENT, EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError
from harness.text import counted_part

if TYPE_CHECKING:
    from harness.config import Config
    from harness.run.pipeline import RunEnd


def evaluate(
    config: Annotated[
        str, typer.Argument(help="A YAML file, or one that comes with polyswe: sample, sample-select, verified.")
    ] = "sample",
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run folder; the same name continues the same run.")
    ] = None,
    out: OutOption = None,
    fresh: FreshOption = False,
    select: SelectOption = None,
    model: ModelOption = None,
    instance: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    limit: Annotated[int | None, typer.Option(min=1, hidden=True)] = None,
    split: Annotated[str | None, typer.Option(help="Split of the dataset, e.g. dev (default: the file's).")] = None,
    redo: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDING",
            help="Repeat finished cells with this verdict or exit status, e.g. 'empty patch', LimitsExceeded, "
            "all (repeatable); --select and --model narrow the choice.",
        ),
    ] = None,
    mode: Annotated[str | None, typer.Option(help="matrix: every model; routed: only the router's choice.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Fitted router for --mode routed.")] = None,
    trust_embedder: Annotated[
        bool,
        typer.Option(
            "--trust-embedder", help="Load the embedder that the checkpoint names, even if it is not the default."
        ),
    ] = False,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Attempts of every model at every instance, to measure how much is luck.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="USD; no cell starts that is expected to exceed it (soft limit).")
    ] = None,
    agent_workers: Annotated[int | None, typer.Option(min=1, help="Number of agents at the same time.")] = None,
    grading_workers: GradingWorkersOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. agent.step_limit=100 (repeatable)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate cost, time and disk; start nothing.")] = False,
    history: Annotated[
        list[str] | None, typer.Option(help="Recorded outcomes that --dry-run bases its estimate on (repeatable).")
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="Ratings by `polyswe dataset rate`, which improve --dry-run's estimate.")
    ] = None,
    env_file: EnvFileOption = None,
) -> None:
    """Run a benchmark end to end: agents, official grading, results table. The same command continues a killed run.

    Examples:

        polyswe evaluate                      # the embedded sample, scripted stand-in models, no key

        polyswe evaluate verified --select slice=0:5   # five instances of SWE-bench Verified, with your keys

        polyswe evaluate my.yaml --run-id friday --max-cost 200

        polyswe evaluate my.yaml --repeats 3   # three attempts of each: how much is luck?

        polyswe evaluate my.yaml --select "repo=django/*|sympy/*" --select sample=50@7 --model "sonnet*"

        polyswe evaluate my.yaml --redo "empty patch" --model "sonnet*"   # the first attempts are kept

        polyswe evaluate my.yaml --set agent.step_limit=100 --set pool.sonnet.model_kwargs.temperature=0.2

        polyswe evaluate my.yaml --engine ray --address 10.0.0.1:6379

        polyswe evaluate verified --dry-run   # estimate cost, time and disk

    Exit code 0: every cell has a verdict; 2: bad input; 3: something is missing on this machine; 4: some cells have no
    verdict, or some attempts no tests that `evidence` asks for (because of a failure or the cost limit);
    130: interrupted.
    """
    quiet_libraries()
    from harness.commands.next_steps import say_next_steps
    from harness.config import find_config, load_config, parse_settings, with_overrides
    from harness.config.selection import ids_term
    from harness.run.interrupt import stop_on_signals
    from harness.run.pipeline import evaluate as run
    from harness.run.pipeline import run_folder

    # two options of earlier versions, as terms
    terms = [*(select or ()), *([ids_term(instance)] if instance else ()), *([f"slice=0:{limit}"] if limit else ())]
    if fresh and (terms or model or redo):
        part = [("--redo", redo or ["all"]), ("--select", terms), ("--model", model or ())]
        words = [word for option, values in part for value in values for word in (option, value)]
        raise InputError(
            "--fresh puts the whole run aside, not only the part that is selected. To attempt that part again: "
            f"{shlex.join(['polyswe', 'evaluate', config, *words])}. To run it by itself: --run-id NAME, no --fresh"
        )
    path = find_config(config)
    short_forms = {
        "dataset.split": split,
        "router.checkpoint": checkpoint,
        "router.trust_embedder": trust_embedder or None,
        "run.mode": mode,
        "run.repeats": repeats,
        "run.max_cost": max_cost,
        "run.agent_workers": agent_workers,
        "run.grading_workers": grading_workers,
        "run.engine": engine,
        "run.ray.address": address,
        "out.run_id": run_id,
        "out.root": out,
    }
    changes = {key: value for key, value in short_forms.items() if value is not None}
    settings = with_overrides(load_config(path), changes | parse_settings(set_ or ()))
    request = redo_request(settings, redo, model)
    # a routed run's router chooses from the whole pool: there --model only says whose cells are redone
    settings = part_of(settings, terms, () if request and settings.run.mode == "routed" else model or ())
    check_start(settings, address=address)
    folder = run_folder(settings, path)
    if dry_run:
        from harness.data.instances import load_dataset
        from harness.data.ratings import rated
        from harness.run.forecast import forecast, render
        from harness.run.redo import preview

        dataset = load_dataset(settings.dataset)
        again = preview(request, settings, dataset, folder) if request else None
        if again:
            output(again.render() + "\n")
        expected = forecast(
            settings,
            dataset,
            folder,
            history or (),
            again.cells if again else (),
            ratings=None if ratings is None else rated(ratings),
        )
        if all(model.scripted for model in settings.pool):
            say("the models are scripted stand-ins: all costs are pretended")
        output(render(expected, folder.path))
        if expected.disk_shortage:
            raise typer.Exit(EXIT_ENVIRONMENT)
        return
    with stop_on_signals(folder.label) as stop:
        end = run(settings, folder, stop=stop, fresh=fresh, redo=request, say=say, command=typed_words("evaluate"))
    report_end(end, fresh=fresh)
    if end.results is not None:
        say_next_steps(folder, end, dataset=settings.dataset.name)


def check_start(settings: Config, *, address: str | None) -> None:
    """Refuse what cannot work before a dataset is loaded.

    Raises:
        InputError: an address without an engine that takes one, an unknown policy, or no place to write to.
    """
    from harness.config.tree import Engine
    from harness.run.preflight import check_policy

    if address is not None and settings.run.engine is not Engine.RAY:
        raise InputError("--address names the head node of a Ray cluster: add --engine ray")
    check_policy(settings)
    check_output(settings.out.root, folder=True)


def report_end(end: RunEnd, *, fresh: bool = False) -> None:
    """Print a run's results, write its page, and say what has no verdict.

    Args:
        end: How the run ended.
        fresh: Whether the command began the run anew: given again, it would not continue it.

    Raises:
        typer.Exit: with the exit code, where a cell has no verdict, or evidence is missing.
    """
    from harness.commands.report import write_all
    from harness.report.tables import render_terminal

    if end.results is not None:
        output(render_terminal(end.results, terminal_width()))
        say(f"results: {end.written_to}/results.md, results.json, results.csv, outcomes.csv")
        say(f"report: {write_all(end.written_to, end.results)}")
    if end.missing:
        reason = f" ({end.stopped})" if end.stopped else ""
        say(f"{counted_part(len(end.missing), len(end.rows), 'cell', 'has', 'have')} no verdict{reason}:")
        for line in end.reasons():
            say(f"  {line}")
    for line in end.missing_evidence:
        say(line)
    if end.missing or end.missing_evidence:
        say(f"the same command{' without --fresh' if fresh else ''} continues the run")
        raise typer.Exit(EXIT_INTERRUPTED if end.stopped == "interrupted" else EXIT_INCOMPLETE)


def results(
    run: Annotated[Path, typer.Argument(help="A run folder, e.g. results/sample.")],
    select: SelectOption = None,
    model: ModelOption = None,
) -> None:
    """Print a run's table, computed from its store; also while the run is in progress.

    Examples:

        polyswe results results/sample

        polyswe results results/sample --select repo=*/billing
    """
    quiet_libraries()
    from harness.report.tables import render_terminal
    from harness.run.results import results_again

    output(render_terminal(results_again(run, say, narrowing(select, model)), terminal_width()))
