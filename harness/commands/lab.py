"""The laboratory: `polyswe lab …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import quiet_libraries, say

lab = typer.Typer(no_args_is_help=True, help="Whether the tests behind the claims keep their word.")


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
    quiet_libraries()
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
    say(f"settings and shares: {out}")


@lab.command()
def signals(
    data: Annotated[Path, typer.Option(help="Folder with instances.csv, conv_per_instance.csv and the like.")],
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="How often the folds are drawn anew.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of folds and intervals.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for signals.json and signals.md.")] = Path("results/replay/signals"),
) -> None:
    """What kinds of signals tell of a finished attempt whether it is right, on one agent's recorded attempts.

    Example:

        polyswe lab signals --data signals/
    """
    quiet_libraries()
    from harness.lab_signals import study_signals

    print(study_signals(data, out, folds=folds, repeats=repeats, seed=seed).render())
    say(f"results: {out}/signals.md, signals.json")
