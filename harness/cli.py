"""The command line's front door: which commands there are and how errors end; they live in `harness/commands/`."""

from __future__ import annotations

import codecs
import io
import locale
import os
import re
import sqlite3
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness.commands.claims import claims
from harness.commands.common import check_packages, say, version
from harness.commands.compare import compare
from harness.commands.config import config
from harness.commands.dataset import dataset
from harness.commands.demo import demo
from harness.commands.doctor import doctor
from harness.commands.evaluate import evaluate, results
from harness.commands.export import export
from harness.commands.grade import grade
from harness.commands.init import init
from harness.commands.lab import lab
from harness.commands.onboard import onboard
from harness.commands.pool import pool
from harness.commands.regress import regress
from harness.commands.replay import figures, replay
from harness.commands.report import report
from harness.commands.router import explain, fit, route
from harness.commands.serve import serve
from harness.commands.status import cells, show, status
from harness.commands.submit import submit
from harness.commands.subset import subset
from harness.errors import EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED, PolysweError

_HOME = re.compile(r"^(--[a-z-]+=|)(~[^/]*/.*)$", re.DOTALL)


class Commands(TyperGroup):
    """Keeps exit code 1 for findings: click's code for a closed pipe and for input that ended is 1, too."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """The arguments, with `~` replaced where the shell leaves it: after `--out=`, say, or within quotes."""
        expanded = [_HOME.sub(lambda match: match[1] + os.path.expanduser(match[2]), arg) for arg in args]  # noqa: PTH111
        return super().parse_args(ctx, expanded)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """The command, with what it printed written out while an error can still be told from a finding."""
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:  # `polyswe … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except EOFError:
            raise typer.Exit(EXIT_INPUT) from None
        return result


app = typer.Typer(
    name="polyswe",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Does routing each SWE-bench instance to a different model beat your best single model? "
    "Measured live or on recorded outcomes, held out, with intervals and a null test.",
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"polyswe {version()}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


# in the order --help lists them
for command in (
    demo,
    init,
    evaluate,
    grade,
    status,
    cells,
    show,
    replay,
    claims,
    report,
    figures,
    results,
    fit,
    route,
    explain,
    submit,
    export,
    compare,
    subset,
    regress,
    onboard,
    pool,
    serve,
    doctor,
):
    app.command()(command)
app.add_typer(config, name="config")
app.add_typer(dataset, name="dataset")
app.add_typer(lab, name="lab")


def _read_files_as_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding.

    swebench reads datasets, patches and logs in the locale's encoding, which changes them or fails. The mode can be set
    only at the start of a process; its children inherit it. The terminal keeps its encoding.
    """
    is_utf8 = codecs.lookup(locale.getencoding()).name == "utf-8"
    if sys.flags.utf8_mode or is_utf8 or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    if sys.stdout is not None:
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
    os.execv(sys.executable, sys.orig_argv)


def _described(error: OSError) -> str:
    """The file and what is wrong with it: permission denied, disk full, …"""
    file = error.filename2 or error.filename
    if isinstance(file, str | bytes) and error.strerror:
        return f"{os.fsdecode(file)}: {error.strerror}"
    return error.strerror or str(error)


def main() -> None:
    """Entry point: known errors are one line on stderr and an exit code, never a traceback."""
    _read_files_as_utf8()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it was closed
            stream.reconfigure(errors="backslashreplace")  # no terminal's encoding ends a run
    try:
        check_packages()
        app()
    except PolysweError as error:
        say(str(error))
        sys.exit(error.exit_code)
    except sqlite3.Error as error:  # disk full, read-only, locked by another program
        say(f"the outcome store cannot be used ({error}); what was recorded before is kept")
        sys.exit(EXIT_ENVIRONMENT)
    except OSError as error:
        say(f"{_described(error)}; what was recorded before is kept")
        sys.exit(EXIT_ENVIRONMENT)
    except Exception:  # noqa: BLE001 - Python's own exit code for these is 1, which says "findings" here
        traceback.print_exc()
        say(f"an error in polyswe {version()} itself; please report it with the lines above")
        sys.exit(EXIT_INTERNAL)
