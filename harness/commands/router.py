"""A fitted router: `polyswe fit`, `polyswe route`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import quiet_libraries
from harness.errors import InputError


def fit(
    outcomes: Annotated[list[str], typer.Argument(help="leaderboards.json, CSV, or a run's outcomes.csv.")],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write, e.g. router.safetensors.")],
    pool: Annotated[list[str] | None, typer.Option(help="A model, by a unique part of its name (repeatable).")] = None,
    policy: Annotated[
        str | None, typer.Option(help="The routing policy (default: auto, or cluster with --clusters).")
    ] = None,
    clusters: Annotated[int | None, typer.Option(min=1, help="Number of clusters.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    embedder: Annotated[
        str, typer.Option(help="Any sentence-transformers model, by name or path.")
    ] = "all-MiniLM-L6-v2",
    cost_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of cost, resolved instances per USD; default: the policy's own.")
    ] = None,
    auxiliary: Annotated[
        list[str] | None, typer.Option(help="Outcomes that may inform difficulty but never enter the pool.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="General texts to learn clusters from: jsonl, a folder of them, or the hub.")
    ] = None,
    drop_leaks: Annotated[
        bool, typer.Option("--drop-leaks", help="Drop corpus texts that know the instances, instead of refusing.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="A run's configuration, for the pool's prices.")] = None,
    repeats: Annotated[int, typer.Option(min=0, help="Repeats of the held-out figures; 0 leaves them out.")] = 1,
) -> None:
    """Fit a router on recorded outcomes and write its checkpoint (one file, no pickle).

    Example:

        polyswe fit results/sample/outcomes.csv --tasks sample --out router.safetensors --clusters 5
    """
    quiet_libraries()
    from harness.routing import fit_router

    told = fit_router(
        outcomes, tasks, out, pool=pool, policy=policy, clusters=clusters, seed=seed, embedder=embedder,
        cost_weight=cost_weight, auxiliary=auxiliary or (), corpus=corpus, drop_leaks=drop_leaks, config=config,
        repeats=repeats,
    )  # fmt: skip
    print(told)


def route(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that `polyswe fit` wrote.")],
    text: Annotated[
        list[str] | None, typer.Argument(help="Problem statements; standard input when nothing else is given.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A file with one problem statement.")] = None,
    instance: Annotated[list[str] | None, typer.Option(help="An instance id of --tasks (repeatable).")] = None,
    tasks: Annotated[str | None, typer.Option(help="Instances: a file or a Hugging Face name.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A model that must not be chosen, by a part of its name (repeatable).")
    ] = None,
    cost_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of cost, resolved instances per USD; default: the checkpoint's.")
    ] = None,
) -> None:
    """Which model should take this problem, what else could, and why.

    Example:

        polyswe route router.safetensors "TypeError in the date parser for ISO week numbers"
    """
    quiet_libraries()
    from harness.data.model_names import match_names
    from harness.routing import load_router, render_route, texts_to_route

    texts = text or ([] if file or instance else [sys.stdin.read()])
    if not all(t.strip() for t in texts):
        raise InputError("nothing to route: give the problem statement as an argument or on standard input")
    asked = texts_to_route(texts, file, instance or (), tasks)
    router = load_router(checkpoint)
    without = match_names(exclude or [], [model.name for model in router.models])
    if len(without) == len(router.models):
        raise InputError("--exclude leaves no model to choose")
    found = router.route([statement for _, statement in asked], cost_weight, without)
    for (label, _), decided in zip(asked, found, strict=True):
        print(render_route(decided, label))


def explain(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that `polyswe fit` wrote.")],
    json: Annotated[bool, typer.Option("--json", help="Everything, with the heatmap's data, as JSON.")] = False,
) -> None:
    """What a checkpoint is: policy, pool, held-out figures, clusters with their words and instances.

    Example:

        polyswe explain router.safetensors
    """
    quiet_libraries()
    from harness.routing import explain_json, read_header, render_explanation

    header = read_header(checkpoint)
    print(explain_json(header) if json else render_explanation(header))
