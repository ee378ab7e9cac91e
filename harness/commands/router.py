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
    quiet_libraries()
    from harness.routing import fit_router

    print(fit_router(outcomes, tasks, out, pool=pool, policy=policy, clusters=clusters, seed=seed, embedder=embedder))


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
    quiet_libraries()
    from harness.routing import load_router, render_route

    texts = text or [sys.stdin.read()]
    if not all(t.strip() for t in texts):
        raise InputError("nothing to route: give the problem statement as an argument or on standard input")
    for found in load_router(checkpoint).route(texts):
        print(render_route(found))
