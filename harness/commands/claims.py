"""`polyswe claims`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say, terminal_width


def claims(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data folder, as for `lab tables`: compute the figures of recorded runs again, with intervals."
        ),
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Folder of `lab tables`: show polyswe's own results of the same kind of router.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for claims.json and README.md.")] = None,
) -> None:
    """Compare public claims about routing with the single models of their own pools.

    Example:

        polyswe claims --data ../shared/data --replay results/replay --out results/claims
    """
    quiet_libraries()
    if out is not None:
        check_output(out, folder=True)
    from harness.files import write_atomic
    from harness.lab.claims import judged_claims
    from harness.lab.claims_text import render_markdown, render_terminal

    found = judged_claims(data, replay)
    output(render_terminal(found, terminal_width()), end="")
    if out is not None:
        write_atomic(out / "claims.json", found.to_json())
        write_atomic(out / "README.md", render_markdown(found))
        say(f"written to {out}")
