"""What is on this machine: `polyswe doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands.common import output, quiet_libraries
from harness.errors import EXIT_ENVIRONMENT


def doctor(
    config: Annotated[str, typer.Argument(help="Check what this configuration needs.")] = "sample",
) -> None:
    """What is on this machine, and what each missing thing costs you. Exit code 3 when the configuration cannot run."""
    quiet_libraries()
    from harness.doctor import examine, render

    findings = examine(config)
    output(render(findings))
    if any(finding.blocking for finding in findings):
        raise typer.Exit(EXIT_ENVIRONMENT)
