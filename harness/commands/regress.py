"""A regression test that stops as soon as it knows: `polyswe regress`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import output, quiet_libraries, say
from harness.commands.env_file import EnvFileOption
from harness.commands.options import ModelOption, SelectOption, part_of
from harness.commands.subset import AgentOption, RepeatsFromOption
from harness.errors import EXIT_INTERRUPTED, InputError

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
    out: Annotated[Path | None, typer.Option(help="Folder that holds the run folders (default: results).")] = None,
    summary: Annotated[Path | None, typer.Option(help="Also append the Markdown summary to this file.")] = None,
    agent: AgentOption = "mini-swe-agent",
    repeats_from: RepeatsFromOption = None,
    plan_only: Annotated[
        bool, typer.Option("--plan", "--dry-run", help="List the instances in their order, and start nothing.")
    ] = False,
    env_file: EnvFileOption = None,
) -> None:
    """Test whether a new version is worse, at a fraction of a full run's cost. The same command continues the test.

    Examples:

        polyswe regress results/before new.yaml --from leaderboards.json --max-cost 30

        polyswe regress "leaderboards.json::opus 4.5" new.yaml --model opus --drop 5pt

    Exit code 0: no model is worse by the drop or more; 1: a model is worse; 2: bad input; 3: something is missing
    on this machine; 4: undecided; 130: interrupted.
    """
    quiet_libraries()
    from harness.compare.load import load_side
    from harness.config import RouterConfig, find_config, load_config, with_overrides
    from harness.data.instances import load_dataset
    from harness.regression.gate import (
        StopWhenDecided,
        conclude,
        is_decided,
        plan_regression,
        read_progress,
        reference_for,
        render,
        write_result,
    )
    from harness.run.interrupt import stop_on_signals
    from harness.run.pipeline import evaluate, run_folder
    from router.lab.sequential import GateSettings

    path = find_config(new)
    config = part_of(load_config(path), select or (), model or ())
    changes = {
        "out.run_id": run_id or config.out.run_id or f"regress-{path.stem}",
        "out.root": out,
        "run.max_cost": max_cost,
    }
    config = with_overrides(config, {key: value for key, value in changes.items() if value is not None})
    if config.run.mode == "matrix":  # policies have nothing to say of a few instances
        config = config.model_copy(update={"router": RouterConfig(policy=["best-fixed"])})
    side = load_side(base)
    dataset = load_dataset(config.dataset)
    reference = reference_for(side, from_ or (), agent=agent, repeats_from=repeats_from or ())
    settings = GateSettings(drop=_points(drop) / 100, alpha=alpha)
    plan = plan_regression(config, side, reference, [i.instance_id for i in dataset.instances], settings)
    for note in (*reference.notes, *plan.notes):
        say(note)
    if plan_only:
        output("\n".join(plan.instances))
        return
    folder = run_folder(config, path)
    stopped = "decided"
    if not is_decided(plan, folder):
        with stop_on_signals(folder.label, StopWhenDecided(plan, folder)) as stop:
            end = evaluate(config, folder, stop=stop, say=say, order=plan.instances)
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


def _points(text: str) -> float:
    match = _DROP.fullmatch(text.strip())
    if match is None or not 0 < float(match[1]) < 100:
        raise InputError(f"--drop {text}: give points of all instances, such as 3pt")
    return float(match[1])
