"""The laboratory: `polyswe lab …`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness.commands.common import check_output, check_policies, output, quiet_libraries, say
from harness.commands.options import DropLeaksOption, SplitOption
from harness.errors import EXIT_INTERRUPTED

CONTINUED = ("calibrate", "pools", "labels", "tables", "selection")
"""Studies that keep what they have finished."""


class Studies(TyperGroup):
    """Says at Ctrl-C what becomes of the study's work."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """The study, or the exit code of an interrupted one."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            name = ctx.invoked_subcommand
            if name in CONTINUED:
                say(f"interrupted; what lab {name} has finished is kept, and the same command continues")
            else:
                say(f"interrupted; lab {name} keeps nothing of an unfinished study, and the same command begins anew")
            raise typer.Exit(EXIT_INTERRUPTED) from None


lab = typer.Typer(
    cls=Studies,
    no_args_is_help=True,
    help="Studies of the method on recorded and simulated outcomes.",
    epilog="Example: `polyswe lab calibrate --clusters 3 --gain 1 --gain 3 --gain 5`",
)


@lab.command()
def calibrate(
    policy: Annotated[
        str, typer.Option(help="The routing policy to study, as name or name:parameter=value.")
    ] = "cluster",
    clusters: Annotated[int | None, typer.Option(min=1, help="The policy's number of clusters.")] = None,
    pools: Annotated[int, typer.Option(min=1, help="Simulated pools per effect size.")] = 200,
    gain: Annotated[
        list[float] | None, typer.Option(help="Simulated effect of routing, in points (repeatable; default: 3).")
    ] = None,
    topics: Annotated[int, typer.Option(min=2, help="Topics that have the simulated effect.")] = 2,
    instances: Annotated[int, typer.Option(min=10, help="Instances per pool.")] = 500,
    tasks: Annotated[
        str | None, typer.Option(help="Embed these instances' problem statements; default: random embeddings.")
    ] = None,
    split: SplitOption = "test",
    permutations: Annotated[int, typer.Option(min=19, help="Permutations per pool.")] = 200,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the cross-fitting with new folds.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("results/replay/calibration.json"),
) -> None:
    """Check the false-positive rate and the power of the test that a policy beats the best single model.

    Example:

        polyswe lab calibrate --clusters 3 --gain 1 --gain 3 --gain 5
    """
    quiet_libraries()
    check_output(out, folder=False)
    check_policies([policy])
    from harness.lab.calibration import GAINS, Settings
    from harness.lab.calibration import calibrate as run

    embeddings = None
    if tasks is not None:
        from harness.data.embeddings import embed_texts
        from harness.data.instances import read_problem_statements

        embeddings = embed_texts(list(read_problem_statements(tasks, split=split).values()), show_bar=True)
    settings = Settings(
        policy=policy,
        params={} if clusters is None else {"n_clusters": clusters},
        pools=pools,
        gains=tuple(gain or GAINS),
        topics=topics,
        instances=instances,
        folds=folds,
        repeats=repeats,
        permutations=permutations,
        seed=seed,
        embeddings="random" if tasks is None else Path(tasks).name,
    )
    output(run(settings, embeddings, workers=workers, out=out, show_bar=True).render())
    say(f"settings and shares: {out}")


@lab.command()
def pools(
    data: Annotated[str, typer.Option(help="Recorded outcomes with costs, e.g. the site's leaderboards.json.")],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    split: SplitOption = "test",
    pools: Annotated[int, typer.Option(min=1, help="Number of random pools of 3 to 6 runs.")] = 100,
    agent: Annotated[
        str | None, typer.Option(help="Only runs whose agent's name contains this, e.g. 'mini-swe-agent 2'.")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="best-fixed, price-aware best-fixed or auto (repeatable; default: all).")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the cross-fitting with new folds.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of pools and folds.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder for pools.json and pools.md.")] = Path("results/replay/pools"),
) -> None:
    """Compare policies with the best single model on random pools of recorded runs. A stopped study continues.

    Example:

        polyswe lab pools --data leaderboards.json --tasks swebench_verified.jsonl --pools 100
    """
    quiet_libraries()
    check_output(out, folder=True)
    from harness.lab.pools import LABELS, study_pools
    from harness.lab.recorded import recorded
    from harness.lab.trials import Execution

    start = recorded([data], tasks, split=split, agent=agent)
    _say_all(start.notes)
    study = study_pools(
        start,
        pools=pools,
        folds=folds,
        repeats=repeats,
        seed=seed,
        policies=policy or LABELS,
        execution=Execution(workers=workers, out=out, show_bar=True),
    )
    output(study.render())
    say(f"pools and figures: {out}")


@lab.command()
def labels(
    data: Annotated[
        str, typer.Option(help="Recorded outcomes with costs; each run in turn is treated as the new model.")
    ],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    split: SplitOption = "test",
    agent: Annotated[
        str | None,
        typer.Option(help="Treat only runs whose agent's name contains this as new models; the others are known."),
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="More outcomes of other models on the same instances (repeatable).")
    ] = None,
    number: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of labelled instances (repeatable; default: 20 40 80 160).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random instances and folds.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder for labels.json and labels.md.")] = Path("results/replay/labels"),
) -> None:
    """Estimate a new model from few labels: the error of its rate and the regret of the router.

    Example:

        polyswe lab labels --data leaderboards.json --tasks swebench_verified.jsonl --agent "mini-swe-agent 2"
    """
    quiet_libraries()
    check_output(out, folder=True)
    from harness.lab.labels import COUNTS, study_labels
    from harness.lab.recorded import recorded
    from harness.lab.trials import Execution

    start = recorded([data], tasks, split=split, agent=agent, reference=reference or ())
    _say_all(start.notes)
    study = study_labels(
        start,
        counts=number or COUNTS,
        seed=seed,
        execution=Execution(workers=workers, out=out, show_bar=True),
    )
    output(study.render())
    say(f"newcomers and figures: {out}")


@lab.command()
def tables(
    data: Annotated[Path, typer.Option(help="Folder with outcomes/ and tasks/ (see harness/lab/tables.py).")],
    out: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("results/replay"),
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="s3, m12, hypernova, pools, pools-v2, labels, transfer or calibration (repeatable; default: all)."
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Policies of s3 and m12, by name or name:parameter=value (default: all that route)."),
    ] = None,
    pools: Annotated[int, typer.Option(min=1, help="Random pools.")] = 100,
    calibration_pools: Annotated[
        int | None, typer.Option(min=1, help="Simulated pools per effect size (default: cluster 200, auto 30).")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the cross-fitting with new folds.")] = 10,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make every part again, including unchanged parts.")] = False,
    null_sizes: Annotated[
        str | None,
        typer.Option(
            help="Cluster sizes of a published router, e.g. 120,80,…, drawn at random for s3; default: 7 equal ones."
        ),
    ] = None,
) -> None:
    """Write every table of results/replay and a README.md that summarizes them.

    Example:

        polyswe lab tables --data ../shared/data --out results/replay
    """
    quiet_libraries()
    check_output(out, folder=True)
    check_policies(policy or ())
    from harness.commands.replay import sizes_of
    from harness.lab.parts import PARTS, TableSettings
    from harness.lab.tables import write_tables

    settings = TableSettings(
        policies=policy,
        pools=pools,
        repeats=repeats,
        null_sizes=sizes_of(null_sizes),
        calibration_pools=calibration_pools,
    )
    output(write_tables(data, out, settings, parts=part or PARTS, workers=workers, fresh=fresh, progress=say))


@lab.command()
def clusters(
    corpus: Annotated[str, typer.Argument(help="Coding texts: a .jsonl file, a folder of them, or a hub name.")],
    out: Annotated[Path, typer.Option(help="File of centroids (.npz); its description goes to the .json beside it.")],
    clusters: Annotated[int, typer.Option(min=1, help="Number of clusters.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the clustering.")] = 0,
    embedder: Annotated[
        str, typer.Option(help="Any sentence-transformers model, by name or path.")
    ] = "all-MiniLM-L6-v2",
    tasks: Annotated[
        str | None, typer.Option(help="Instances that the texts must not reveal: a file or a Hugging Face name.")
    ] = None,
    split: SplitOption = "test",
    drop_leaks: DropLeaksOption = False,
    licence: Annotated[str, typer.Option(help="The texts' licences, for the description.")] = "",
) -> None:
    """Learn general clusters from coding texts, for the policy `hypernova`.

    Example:

        polyswe lab clusters ../shared/data/corpus --tasks verified --drop-leaks --out general.npz

        polyswe replay leaderboards.json --tasks verified --policy hypernova:centroids=general.npz
    """
    quiet_libraries()
    check_output(out, folder=False)
    from harness.lab.clusters import ClusterSettings, learn_clusters

    settings = ClusterSettings(
        clusters=clusters,
        seed=seed,
        embedder=embedder,
        tasks=tasks,
        split=split,
        drop_leaks=drop_leaks,
        licence=licence,
    )
    output(learn_clusters(corpus, out, settings))


@lab.command()
def transfer(
    outcomes: Annotated[list[str], typer.Argument(help="Recorded outcomes of the evaluation.")],
    tasks: Annotated[str, typer.Option(help="The evaluation's instances: a file or a Hugging Face name.")],
    other_tasks: Annotated[str, typer.Option(help="Instances of another benchmark.")],
    split: SplitOption = "test",
    other_split: Annotated[str, typer.Option(help="Split of --other-tasks.")] = "test",
    other: Annotated[
        list[str] | None, typer.Option(help="Their outcomes (repeatable; default: the same sources).")
    ] = None,
    pool: Annotated[list[str] | None, typer.Option(help="A model, by a unique part of its name (repeatable).")] = None,
    also_called: Annotated[
        list[str] | None,
        typer.Option(help="'NAME=OTHER': the name of a pool model in the other outcomes (repeatable)."),
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A policy (repeatable).")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the cross-fitting with new folds.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for transfer.json, transfer.md.")] = Path("results/replay/transfer"),
) -> None:
    """Compare each policy with and without another benchmark's instances and outcomes.

    Example:

        polyswe lab transfer leaderboards.json --tasks verified.jsonl --other-tasks multilingual.jsonl --pool "opus"
    """
    quiet_libraries()
    check_output(out, folder=True)
    check_policies(policy or ())
    from harness.lab.recorded import joint
    from harness.lab.transfer import POLICIES, study_transfer

    evaluated, transferred = joint(
        outcomes,
        tasks,
        other or outcomes,
        other_tasks,
        pool,
        also_called or (),
        split=split,
        other_split=other_split,
    )
    _say_all(evaluated.notes)
    study = study_transfer(
        evaluated,
        transferred,
        policies=policy or POLICIES,
        folds=folds,
        repeats=repeats,
        seed=seed,
        out=out,
    )
    output(study.render())
    say(f"figures: {out}")


@lab.command()
def signals(
    data: Annotated[Path, typer.Option(help="Folder with instances.csv, conv_per_instance.csv and the like.")],
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the cross-fitting with new folds.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of folds and intervals.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for signals.json and signals.md.")] = Path("results/replay/signals"),
) -> None:
    """Measure how well signals of one agent's finished attempts predict whether they are resolved.

    Example:

        polyswe lab signals --data signals/
    """
    quiet_libraries()
    check_output(out, folder=True)
    from harness.lab.signals import study_signals

    output(study_signals(data, out, folds=folds, repeats=repeats, seed=seed).render())
    say(f"results: {out}/signals.md, signals.json")


def _say_all(notes: Sequence[str]) -> None:
    for note in notes:
        say(note)


@lab.command()
def regression(
    data: Annotated[Path, typer.Option(help="Folder with outcomes/ and tasks/, as for `lab tables`.")],
    out: Annotated[Path, typer.Option(help="Folder for regression.json and README.md.")] = Path("results/regression"),
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
) -> None:
    """Measure smoke sets and the sequential gate on recorded runs and simulated reruns.

    Example:

        polyswe lab regression --data ../shared/data --out results/regression
    """
    quiet_libraries()
    check_output(out, folder=True)
    from harness.lab.regression import study_regression

    study_regression(data, out, seed=seed, progress=say)
    say(f"written to {out}")


@lab.command()
def costs(
    data: Annotated[Path, typer.Option(help="Folder with outcomes/ and tasks/, as for `lab tables`.")],
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the cross-fitting with new folds.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for costs.json and README.md.")] = Path("results/costs"),
) -> None:
    """Measure on recorded runs what it is worth to spend a budget where the dearer model is predicted to be cheap.

    Example:

        polyswe lab costs --data ../shared/data --out results/costs
    """
    quiet_libraries()
    check_output(out, folder=True)
    from harness.lab.costs.study import study_costs

    study_costs(data, out, repeats=repeats, seed=seed, progress=say)
    say(f"written to {out}")


@lab.command()
def selection(
    data: Annotated[Path, typer.Option(help="Folder of finished attempts with generated tests.")],
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the cross-fitting with new folds.")] = 10,
    permutations: Annotated[int, typer.Option(min=19, help="Permutations of the null test.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of folds, permutations and simulations.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for selection.json and README.md.")] = Path("results/selection"),
) -> None:
    """Measure what choosing among finished attempts by their tests is worth. A stopped study continues.

    Example:

        polyswe lab selection --data ../shared/data/finished --out results/selection
    """
    quiet_libraries()
    check_output(out, folder=True)
    from harness.lab.selection import SelectionSettings, study_selection

    settings = SelectionSettings(repeats=repeats, permutations=permutations, seed=seed)
    study = study_selection(data, out, settings, show_bar=True)
    found = study["held_out"]
    output(
        f"{found['pools']} pools of {found['members']}, held out: {found['delta']:+.1f} "
        f"[{found['ci95'][0]:+.1f}, {found['ci95'][1]:+.1f}] instances against the best member in hindsight"
    )
    say(f"results: {out}/README.md, selection.json")
