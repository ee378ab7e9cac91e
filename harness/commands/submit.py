"""Leaderboard submissions: `polyswe submit`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say
from harness.commands.env_file import EnvFileOption
from harness.errors import EXIT_FINDINGS, EXIT_INTERNAL, EXIT_OK, InputError
from harness.text import one_line


def submit(
    run: Annotated[
        Path, typer.Argument(help="A finished run's folder; with --check, a package or a folder of entries.")
    ],
    system: Annotated[str | None, typer.Option(help="The system's name on the leaderboard.")] = None,
    model: Annotated[str | None, typer.Option(help="Submit this model's attempts (a part of its name).")] = None,
    attempt: Annotated[
        int, typer.Option(min=1, help="Which attempt of a run with repeats; choose it before you see the verdicts.")
    ] = 1,
    routed: Annotated[bool, typer.Option("--routed", help="Submit the routed system, under one name.")] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Router fitted on other instances, for --routed on a full matrix.")
    ] = None,
    about: Annotated[Path | None, typer.Option(help="YAML file with site, report, authors, org, …")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the package (default: RUN/submission/<id>).")] = None,
    split: Annotated[
        str | None, typer.Option(help="Name of the folder under evaluation/ (default: the dataset's).")
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Allow a package of some of the instances; it is marked as not submittable."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing package.")] = False,
    accept: Annotated[
        list[str] | None, typer.Option(help="Accept this file although a text in it looks like a secret (repeatable).")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check an existing package; write nothing.")] = False,
    dataset: Annotated[
        str | None, typer.Option(help="Instances to check against (default: those of the split).")
    ] = None,
    env_file: EnvFileOption = None,
) -> None:
    """Write and check a package for SWE-bench/experiments and sb-cli; or --check any existing package.

    Examples:

        polyswe submit results/verified --system "My Agent" --model opus --about about.yaml

        polyswe submit results/verified-routed --system "My Router" --routed --about about.yaml

        polyswe submit --check results/verified/submission/20260901_My-Agent

    Exit code 0: written, or no fault was found; 1: refused, or faults were found; 2: bad input; 3: the dataset
    cannot be reached; 70: no fault was found, but polyswe itself failed on a package.
    """
    quiet_libraries()
    if check:
        raise typer.Exit(_check(run, dataset, accept or []))
    if system is None:
        raise InputError("--system NAME is missing: the name the leaderboard is to show")
    if out is not None:
        check_output(out, folder=True)
    from harness.submission.submit import submit as write

    done = write(
        run,
        system,
        model=model,
        attempt=attempt,
        routed=routed,
        checkpoint=checkpoint,
        about=about,
        out=out,
        split=split,
        partial=partial,
        accepted=tuple(accept or ()),
        overwrite=overwrite,
    )
    checked = done.checked
    output(f"{done.path}: {checked.resolved} resolved, {checked.regraded} verdicts derived again from the logs")
    if done.attempt:
        say(f"the package holds {done.attempt}; --attempt takes another, chosen before the verdicts are known")
    for line in checked.findings.lines():
        say(line)
    if checked.findings.gaps:
        say(f"{len(checked.findings.gaps)} gaps to fill before the entry is opened; check again with --check")


def _check(path: Path, dataset: str | None, accepted: list[str]) -> int:
    from harness.submission.check import check_packages
    from harness.submission.packages import Datasets, find_packages

    packages = find_packages(path)
    faulty, failed = 0, 0
    shared: Counter[str] = Counter()
    for checked in check_packages(packages, Datasets(dataset), accepted=accepted):
        findings = checked.findings
        faulty += bool(findings.faults)
        failed += bool(findings.errors)
        verdict = "FAULTY" if findings.faults else "ERROR" if findings.errors else "sound"
        resolved = "–" if checked.resolved is None else checked.resolved
        output(f"{verdict:<7} {one_line(checked.name)}: {resolved} resolved, {checked.regraded} verdicts derived again")
        for line in findings.lines():
            if len(packages) == 1 or line.startswith(("fault", "error")):
                output(f"        {line}")
            else:
                shared[line] += 1
    if len(packages) > 1:
        output(f"{len(packages)} packages, {faulty} with faults")
        for line, times in shared.most_common():  # what most of them lack is said once
            output(f"  {times} × {line}")
    return EXIT_FINDINGS if faulty else EXIT_INTERNAL if failed else EXIT_OK
