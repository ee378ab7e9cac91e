"""A new model for the pool: `polyswe onboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say
from harness.commands.env_file import EnvFileOption
from harness.commands.options import SplitOption
from harness.errors import InputError
from harness.text import counted_part


def onboard(
    model: Annotated[str, typer.Argument(help="The new model: its name in the configuration's pool or the record.")],
    budget: Annotated[int, typer.Option(min=1, help="Number of instances to run it on.")],
    reference: Annotated[list[str], typer.Option(help="Outcomes of the pool on these instances (repeatable).")],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    split: SplitOption = "test",
    config: Annotated[str | None, typer.Option(help="Run it live with this configuration.")] = None,
    from_: Annotated[
        list[str] | None, typer.Option("--from", help="Use its recorded outcomes instead of running it (repeatable).")
    ] = None,
    pool: Annotated[list[str] | None, typer.Option(help="A model of the pool, by a part of its name.")] = None,
    cost_weight: Annotated[float, typer.Option(min=0, help="λ: how many resolved instances one USD is worth.")] = 0.0,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="List the instances to run, most informative first, and stop.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for profile.json and outcomes.csv.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the clusters.")] = 0,
    env_file: EnvFileOption = None,
) -> None:
    """Estimate a new model from a few runs: its expected rate, and where the router would use it.

    Examples:

        polyswe onboard new-model --budget 40 --config my.yaml --reference results/verified/outcomes.csv
        --tasks verified

        polyswe onboard "gemini 3 flash" --budget 40 --reference leaderboards.json --from leaderboards.json
        --tasks tasks.jsonl
    """
    quiet_libraries()
    from harness.data.instances import read_problem_statements
    from harness.pool.onboard import (
        conclude,
        configured_name,
        live_labels,
        plan_onboarding,
        recorded_labels,
        recorded_name,
        render_profile,
        write_profile,
    )

    if out is not None:
        check_output(out, folder=True)
    if not plan_only and (config is None) == (from_ is None):
        raise InputError(
            "give either --config FILE to run the model live, or --from OUTCOMES to take recorded outcomes"
        )
    statements = read_problem_statements(tasks, split=split)
    if from_ is not None:
        model = recorded_name(model, from_, list(statements))
    elif config is not None:
        model = configured_name(model, config)
    plan = plan_onboarding(model, budget, reference, statements, pool=pool, seed=seed)
    for note in plan.notes:
        say(note)
    if plan_only:
        output("\n".join(plan.instances))
        return
    rate = None
    if from_ is not None:
        labelled, rate = recorded_labels(plan, from_)
    else:
        assert config is not None
        labelled, missing = live_labels(plan, config)
        if missing:
            say(
                f"left out: {counted_part(len(missing), len(plan.instances), 'instance', 'has', 'have')} no verdict; "
                f"the same command tries again: {', '.join(missing)}"
            )
    profile = conclude(
        plan, labelled, "live" if from_ is None else "recorded", cost_weight=cost_weight, recorded_rate=rate
    )
    output(render_profile(profile))
    if out is not None:
        write_profile(profile, plan, labelled, out)
        say(f"profile: {out}/profile.json; the pool with its few cells: {out}/outcomes.csv")
