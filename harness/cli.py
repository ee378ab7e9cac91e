"""The command line's front door: which commands there are and how errors end; they live in `harness/commands/`."""

from __future__ import annotations

import os
import sqlite3
import sys

import typer

from harness.commands.common import say
from harness.commands.compare import compare
from harness.commands.doctor import doctor
from harness.commands.evaluate import evaluate, results
from harness.commands.lab import lab
from harness.commands.onboard import onboard
from harness.commands.pool import pool
from harness.commands.replay import figures, replay
from harness.commands.report import report
from harness.commands.router import explain, fit, route
from harness.commands.serve import serve
from harness.commands.submit import submit
from harness.errors import EXIT_ENVIRONMENT, EXIT_INTERRUPTED, PolysweError

app = typer.Typer(
    name="polyswe",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Does routing each SWE-bench instance to a different model beat your best single model? "
    "Measured live or on recorded outcomes, held out, with intervals and a null test.",
)

# in the order --help lists them
for command in (
    evaluate,
    replay,
    report,
    figures,
    results,
    fit,
    route,
    explain,
    submit,
    compare,
    onboard,
    pool,
    serve,
    doctor,
):
    app.command()(command)
app.add_typer(lab, name="lab")


def main() -> None:
    """Entry point: known errors are one line on stderr and an exit code, never a traceback."""
    try:
        app()
    except PolysweError as error:
        say(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `polyswe … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_INTERRUPTED)
    except sqlite3.Error as error:  # disk full, read-only, locked by another program
        say(f"the outcome store cannot be used ({error}); what was recorded before is kept")
        sys.exit(EXIT_ENVIRONMENT)
    except OSError as error:
        say(f"{error}; what was recorded before is kept")  # names the file: permission denied, disk full, …
        sys.exit(EXIT_ENVIRONMENT)
