"""The command line: parse, call, print. What is heavy is imported inside the commands: --help answers at once."""

from __future__ import annotations

import os
import sqlite3
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import EXIT_ENVIRONMENT, EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError, PolysweError

app = typer.Typer(
    name="polyswe",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Does routing each SWE-bench instance to a different model beat your best single model? "
    "Measured live or on recorded outcomes, held out, with intervals and a null test.",
)


class Mode(StrEnum):
    matrix = "matrix"
    routed = "routed"


@app.command()
def evaluate(
    config: Annotated[
        str, typer.Argument(help="A YAML file, or one that comes with polyswe: sample, verified.")
    ] = "sample",
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run folder; the same name continues the same run.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder that holds the run folders (default: results).")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Put an earlier run of this name aside and start anew.")
    ] = False,
    instance: Annotated[list[str] | None, typer.Option(help="Only this instance (repeatable).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N instances.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="matrix: every model; routed: only the router's choice.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Fitted router for --mode routed.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Start no cell once so many USD are spent.")] = None,
    agent_workers: Annotated[int | None, typer.Option(min=1, help="Agents at work at the same time.")] = None,
    grading_workers: Annotated[int | None, typer.Option(min=1, help="Gradings at the same time.")] = None,
) -> None:
    """Run a benchmark end to end: agents, official grading, results table. The same command continues a killed run.

    Examples:

        polyswe evaluate                      # the embedded sample, scripted stand-in models, no key

        polyswe evaluate verified --limit 5   # SWE-bench Verified with your keys, a first look

        polyswe evaluate my.yaml --run-id friday --max-cost 200

    Exit code 0: every cell has a verdict; 2: bad input; 3: something is missing on this machine; 4: some cells have no
    verdict (not the models' fault, or the cost limit); 130: interrupted.
    """
    _quiet_libraries()
    from harness.config import find_config, load_config
    from harness.overrides import apply_overrides
    from harness.pipeline import evaluate as run
    from harness.pipeline import run_folder
    from harness.report.tables import render_terminal
    from harness.signals import stop_on_signals

    path = find_config(config)
    settings = apply_overrides(
        load_config(path),
        instances=instance, limit=limit, mode=mode.value if mode else None, checkpoint=checkpoint,
        max_cost=max_cost, agent_workers=agent_workers, grading_workers=grading_workers, run_id=run_id, out=out,
    )  # fmt: skip
    folder = run_folder(settings, path)
    with stop_on_signals(folder.label) as stop:
        end = run(settings, folder, stop=stop, fresh=fresh)
    if end.results is not None:
        print(render_terminal(end.results))
        _say(f"results: {end.written_to}/results.md, results.json, results.csv, outcomes.csv")
    if end.missing:
        _say(
            f"{len(end.missing)} of {len(end.rows)} cells have no verdict{f' ({end.stopped})' if end.stopped else ''}: "
        )
        for line in end.reasons():
            _say(f"  {line}")
        _say("the same command continues the run")
        raise typer.Exit(EXIT_INTERRUPTED if end.stopped == "interrupted" else EXIT_INCOMPLETE)


@app.command()
def replay(
    outcomes: Annotated[
        list[str], typer.Argument(help="leaderboards.json of the SWE-bench site, or CSV; paths or URLs.")
    ],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    pool: Annotated[list[str] | None, typer.Option(help="A model, by a unique part of its name (repeatable).")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A routing policy (repeatable; default: cluster).")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="How often the folds are drawn anew.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of folds, clusters and resampling.")] = 0,
    embedder: Annotated[
        str, typer.Option(help="Any sentence-transformers model, by name or path.")
    ] = "all-MiniLM-L6-v2",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("results/replay-latest"),
    auxiliary: Annotated[
        list[str] | None,
        typer.Option(help="Outcomes of runs that may inform difficulty but never enter the pool (repeatable)."),
    ] = None,
    repeats_from: Annotated[
        list[str] | None,
        typer.Option(help="Outcomes of a model's repeated runs, for the repeatable oracle (repeatable)."),
    ] = None,
    null_sizes: Annotated[
        str | None,
        typer.Option(help="Sizes of random clusters to compare with, e.g. 120,80,… summing to all instances."),
    ] = None,
) -> None:
    """What routing is worth on recorded outcomes: seconds, no Docker, no key.

    Example:

        polyswe replay leaderboards.json --tasks swebench_verified.jsonl
        --pool "opus medium" --pool "gemini 3 pro" --pool "4.5 sonnet"
    """
    _quiet_libraries()
    from harness.replay import replay as run
    from harness.report.tables import render_terminal

    results = run(
        outcomes, tasks, pool=pool, policies=policy or ["cluster"], folds=folds, repeats=repeats, seed=seed,
        embedder=embedder, out=out, show_bar=True, progress=_say, auxiliary=auxiliary or (),
        repeats_from=repeats_from or (), null_sizes=_sizes(null_sizes),
    )  # fmt: skip
    print(render_terminal(results))
    _say(f"results: {out}/results.md, results.json, results.csv, outcomes.csv")
    if find_spec("matplotlib") is not None:
        from harness.report.figures import write_figures

        if written := write_figures(results, out / "figures"):
            _say(f"figures: {', '.join(str(path) for path in written)}")


@app.command()
def figures(run: Annotated[Path, typer.Argument(help="A run or replay folder, e.g. results/replay-latest.")]) -> None:
    """Draw a results document again: cost–quality plane and the clusters' heatmap, as PNG and SVG."""
    from harness.report.figures import write_figures
    from harness.report.results import read_results

    folder = run if run.is_dir() else run.parent
    for path in write_figures(read_results(run), folder / "figures"):
        print(path)


lab = typer.Typer(no_args_is_help=True, help="Whether the tests behind the claims keep their word.")
app.add_typer(lab, name="lab")


@lab.command()
def calibrate(
    policy: Annotated[str, typer.Option(help="The routing policy to judge.")] = "cluster",
    clusters: Annotated[int | None, typer.Option(min=1, help="Its number of clusters, where it has them.")] = None,
    pools: Annotated[int, typer.Option(min=1, help="Simulated pools per planted effect.")] = 200,
    gain: Annotated[
        list[float] | None, typer.Option(help="Planted routable effect in points (repeatable; default: 3).")
    ] = None,
    topics: Annotated[int, typer.Option(min=2, help="Topics that carry the planted effect.")] = 2,
    instances: Annotated[int, typer.Option(min=10, help="Instances per pool.")] = 500,
    tasks: Annotated[
        str | None, typer.Option(help="Embed these instances' problem statements; default: random embeddings.")
    ] = None,
    permutations: Annotated[int, typer.Option(min=19, help="Redrawn outcomes per pool.")] = 200,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="How often the folds are drawn anew.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("results/replay/calibration.json"),
) -> None:
    """How often a win is claimed where there is nothing to find, and where an effect of known size was planted.

    Example:

        polyswe lab calibrate --clusters 3 --gain 1 --gain 3 --gain 5
    """
    _quiet_libraries()
    from harness.lab import GAINS, Settings
    from harness.lab import calibrate as run

    embeddings = None
    if tasks is not None:
        from harness.embeddings import embed_texts
        from harness.replay import read_problem_statements

        embeddings = embed_texts(list(read_problem_statements(tasks).values()), show_bar=True)
    settings = Settings(
        policy, {} if clusters is None else {"n_clusters": clusters}, pools, tuple(gain or GAINS), topics, instances,
        folds, repeats, permutations, seed, "random" if tasks is None else Path(tasks).name,
    )  # fmt: skip
    print(run(settings, embeddings, workers=workers, out=out, show_bar=True).render())
    _say(f"settings and shares: {out}")


@app.command()
def results(run: Annotated[Path, typer.Argument(help="A run folder, e.g. results/sample.")]) -> None:
    """Compute a run's table again from its store, also while it is still running."""
    _quiet_libraries()
    from harness.report.tables import render_terminal
    from harness.run_results import results_again

    print(render_terminal(results_again(run)))


@app.command()
def fit(
    outcomes: Annotated[list[str], typer.Argument(help="leaderboards.json, CSV, or a run's outcomes.csv.")],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write, e.g. router.safetensors.")],
    pool: Annotated[list[str] | None, typer.Option(help="A model, by a unique part of its name (repeatable).")] = None,
    policy: Annotated[str, typer.Option(help="The routing policy.")] = "cluster",
    clusters: Annotated[int | None, typer.Option(min=1, help="Number of clusters.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the clusters.")] = 0,
    embedder: Annotated[
        str, typer.Option(help="Any sentence-transformers model, by name or path.")
    ] = "all-MiniLM-L6-v2",
) -> None:
    """Fit a router on recorded outcomes and write its checkpoint (one file, no pickle).

    Example:

        polyswe fit results/sample/outcomes.csv --tasks sample --out router.safetensors --clusters 5
    """
    _quiet_libraries()
    from harness.routing import fit_router

    print(fit_router(outcomes, tasks, out, pool=pool, policy=policy, clusters=clusters, seed=seed, embedder=embedder))


@app.command()
def route(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that `polyswe fit` wrote.")],
    text: Annotated[
        list[str] | None, typer.Argument(help="Problem statements; standard input when none is given.")
    ] = None,
) -> None:
    """Which model should take this problem, and why.

    Example:

        polyswe route router.safetensors "TypeError in the date parser for ISO week numbers"
    """
    _quiet_libraries()
    from harness.routing import load_router, render_route

    texts = text or [sys.stdin.read()]
    if not all(t.strip() for t in texts):
        raise InputError("nothing to route: give the problem statement as an argument or on standard input")
    for found in load_router(checkpoint).route(texts):
        print(render_route(found))


@app.command()
def doctor(
    config: Annotated[str, typer.Argument(help="Check what this configuration needs.")] = "sample",
) -> None:
    """What is on this machine, and what each missing thing costs you. Exit code 3 when the configuration cannot run."""
    _quiet_libraries()
    from harness.doctor import examine, render

    findings = examine(config)
    print(render(findings))
    if any(finding.blocking for finding in findings):
        raise typer.Exit(EXIT_ENVIRONMENT)


def main() -> None:
    """Entry point: known errors are one line on stderr and an exit code, never a traceback."""
    try:
        app()
    except PolysweError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `polyswe … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_INTERRUPTED)
    except sqlite3.Error as error:  # disk full, read-only, locked by another program
        _say(f"the outcome store cannot be used ({error}); what was recorded before is kept")
        sys.exit(EXIT_ENVIRONMENT)
    except OSError as error:
        _say(f"{error}; what was recorded before is kept")  # names the file: permission denied, disk full, …
        sys.exit(EXIT_ENVIRONMENT)


def _sizes(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InputError(f"--null-sizes: '{text}' is not a list of whole numbers like 120,80,300") from None


def _say(message: str) -> None:
    print(f"polyswe: {message}", file=sys.stderr)


def _quiet_libraries() -> None:
    """Settings that libraries read when they are imported: no chatter, no look-ups nobody asked for."""
    for name, value in {
        "MSWEA_SILENT_STARTUP": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }.items():
        os.environ.setdefault(name, value)
