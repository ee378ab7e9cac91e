"""A regression test that stops as soon as it knows: `polyswe regress`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import output, quiet_libraries, say
from harness.commands.env_file import EnvFileOption
from harness.commands.options import ModelOption, OutOption, SelectOption, part_of
from harness.commands.subset import AgentOption, RepeatsFromOption
from harness.errors import EXIT_INTERRUPTED, InputError

if TYPE_CHECKING:
    from harness.regression.plan import Plan

MOST_DROP = 50
"""points"""
_DROP = re.compile(r"(\d+(?:\.\d+)?)\s*(?:pt|points?|%)?")


def regress(
    base: Annotated[str, typer.Argument(help="The old side: a run folder, or outcomes, or FILE::NAME for one model.")],
    new: Annotated[str, typer.Argument(help="The new side: a configuration.")],
    from_: Annotated[
        list[str] | None,
        typer.Option(
            "--from", help="More recorded outcomes, to find the instances that distinguish models (repeatable)."
        ),
    ] = None,
    drop: Annotated[
        str, typer.Option(help="The smallest drop that matters, in percentage points of all instances.")
    ] = "3pt",
    alpha: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Chance of a false alarm, over all looks.")] = 0.05,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="USD; once they are spent, the test ends undecided.")
    ] = None,
    select: SelectOption = None,
    model: ModelOption = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run folder (default: regress-NEW).")] = None,
    out: OutOption = None,
    summary: Annotated[Path | None, typer.Option(help="Also append the Markdown summary to this file.")] = None,
    agent: AgentOption = "mini-swe-agent",
    repeats_from: RepeatsFromOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Put the folder's earlier test aside, and start anew.")
    ] = False,
    plan_only: Annotated[
        bool,
        typer.Option(
            "--plan", "--dry-run", help="List the instances in their order and estimate the cost; run nothing."
        ),
    ] = False,
    env_file: EnvFileOption = None,
) -> None:
    """Test whether a new version is worse, at a fraction of a full run's cost. The same command continues the test.

    Examples:

        polyswe regress results/before new.yaml --from leaderboards.json --max-cost 30

        polyswe regress "leaderboards.json::opus medium" new.yaml --model opus --drop 5pt

    Exit code 0: no model is worse by the drop or more; 1: a model is worse; 2: bad input; 3: something is missing
    on this machine; 4: undecided; 130: interrupted.
    """
    quiet_libraries()
    from harness.compare.load import load_side
    from harness.config import find_config, load_config, with_overrides
    from harness.data.instances import load_dataset
    from harness.regression.answer import conclude, render, write_result
    from harness.regression.differences import other_settings
    from harness.regression.gate import NO_MORE, StopWhenDecided, is_decided, is_outdated, read_progress, rows_of
    from harness.regression.narrow import only_compared
    from harness.regression.plan import paired_models, plan_regression, reference_for
    from harness.run.interrupt import stop_on_signals
    from harness.run.pipeline import evaluate, run_folder
    from harness.run.plan import plan as plan_cells
    from router.lab.sequential import GateSettings

    path = find_config(new)
    config = part_of(load_config(path), select or (), model or ())
    changes = {
        "out.run_id": run_id or config.out.run_id or f"regress-{path.stem}",
        "out.root": out,
        "run.max_cost": max_cost,
    }
    config = with_overrides(config, {key: value for key, value in changes.items() if value is not None})
    settings = GateSettings(drop=_points(drop) / 100, alpha=alpha)
    side = load_side(base, trust_embedder=config.router.trust_embedder)
    dataset = load_dataset(config.dataset)
    pairs = paired_models(config, side)
    reference = reference_for(side, list(pairs.values()), from_ or (), agent=agent, repeats_from=repeats_from or ())
    plan = plan_regression(config, side, reference, dataset.instances, settings)
    plan = replace(plan, notes=(*other_settings(Path(base.partition("::")[0]), config), *plan.notes))
    for note in (*reference.notes, *plan.notes):
        say(note)
    if plan_only:
        output("\n".join(plan.instances))
        say(_estimate(plan, config.run.max_cost))
        return
    folder = run_folder(config, path)
    config, repeated = only_compared(config, plan, dataset.instances)
    if repeated:
        say(repeated)
    dataset = load_dataset(config.dataset)
    stopped = NO_MORE
    # verdicts of an earlier version of the new side say nothing of this one: the run refuses its folder
    rows = rows_of(folder)
    outdated = bool(rows) and is_outdated(rows, plan_cells(config, dataset, rows, folder))
    if fresh or outdated or not is_decided(plan, folder):
        with stop_on_signals(folder.label, StopWhenDecided(plan, folder)) as stop:
            end = evaluate(config, folder, stop=stop, fresh=fresh, say=say, order=plan.instances)
        stopped = end.stopped or "every instance was run"
    result = conclude(plan, read_progress(plan, folder), stopped)
    written = write_result(result, folder.path)
    text = render(result)
    output(text)
    if summary is not None:
        with summary.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    say(f"written: {written}; everything else of the run: {folder.path}")
    if stopped == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _estimate(plan: Plan, max_cost: float | None) -> str:
    """What the plan costs, from the recorded costs of able models."""
    every = len(plan.instances)
    if not plan.cost(every) > 0:
        costs = "no recorded costs to estimate from"
    else:
        marks = [*(n for n in (50, 100) if n < every), every]
        shown = [f"the first {n} about ${plan.cost(n):,.2f}" for n in marks[:-1]]
        costs = ", ".join([*shown, f"all {every}, the worst case, about ${plan.cost(every):,.2f}"])
        costs = f"at the costs of the recorded models: {costs}"
    limit = "" if max_cost is None else f"; --max-cost ends it at ${max_cost:g}"
    return f"{every} instances × {len(plan.comparisons)} models; {costs}{limit}"


def _points(text: str) -> float:
    match = _DROP.fullmatch(text.strip())
    if match is None or not 0 < float(match[1]) <= MOST_DROP:
        raise InputError(f"--drop {text}: give a number of points above 0 and up to {MOST_DROP}, such as 3pt")
    return float(match[1])
