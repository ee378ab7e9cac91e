"""What a configuration needs on this machine: `polyswe doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands.common import output, quiet_libraries
from harness.commands.env_file import EnvFileOption
from harness.commands.options import ModelOption, SelectOption, part_of
from harness.errors import EXIT_ENVIRONMENT


def doctor(
    config: Annotated[
        str, typer.Argument(help="A YAML file, or one that comes with polyswe: sample, sample-select, verified.")
    ] = "sample",
    select: SelectOption = None,
    model: ModelOption = None,
    env_file: EnvFileOption = None,
    ping: Annotated[
        bool,
        typer.Option(
            "--ping", help="Call each model once (you pay for it) to check key, id and tools, and show cost and time."
        ),
    ] = False,
) -> None:
    """Check this machine, and list what is missing and how to fix it. Nothing is changed.

    Examples:

        polyswe doctor my.yaml

        polyswe doctor my.yaml --ping         # a fraction of a cent for each model

    The exit code is 3 if a run with the configuration would fail.
    """
    quiet_libraries()
    from harness.config import find_config, load_config
    from harness.doctor import examine, render, terminal_columns

    settings = part_of(load_config(find_config(config)), select or (), model or ())
    findings = examine(settings, call_models=ping)
    output(render(findings, terminal_columns()))
    if any(finding.blocking for finding in findings):
        raise typer.Exit(EXIT_ENVIRONMENT)
