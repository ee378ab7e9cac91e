"""A smoke set: `polyswe subset`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say

FromOption = Annotated[
    list[str],
    typer.Option(
        "--from", help="Recorded outcomes or run folders, to find the instances that distinguish models (repeatable)."
    ),
]
AgentOption = Annotated[
    str, typer.Option(help="Runs of this agent count fully; other agents' runs only show how hard instances are.")
]
RepeatsFromOption = Annotated[
    list[str] | None,
    typer.Option(help="Records of repeated runs: how often verdicts flip, and on which instances (repeatable)."),
]


def subset(
    from_: FromOption,
    n: Annotated[int, typer.Option(min=1, help="Number of instances.")] = 100,
    out: Annotated[Path | None, typer.Option(help="File of ids for --select file= (default: smokeN.txt).")] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Only instances of this dataset: a file or a Hugging Face name.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.02, max=0.98, help="Share that the base resolves (default: the best run's).")
    ] = None,
    agent: AgentOption = "mini-swe-agent",
    repeats_from: RepeatsFromOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 0,
    estimate: Annotated[
        str | None, typer.Option(metavar="RUN", help="Estimate the rates of a run's models over all instances instead.")
    ] = None,
) -> None:
    """Choose the most informative instances per dollar, and state the smallest drop that they detect.

    Examples:

        polyswe subset --n 100 --from leaderboards.json --out smoke100.txt

        polyswe evaluate my.yaml --select file=smoke100.txt

        polyswe subset --from leaderboards.json --estimate results/my
    """
    quiet_libraries()
    path = out or Path(f"smoke{n}.txt")
    if estimate is None:
        check_output(path, folder=False)
    from harness.data.instances import read_problem_statements
    from harness.regression.reference import read_reference
    from harness.regression.subset import choose_smoke_set, estimate_rates, render, write_smoke_set

    instances = None if tasks is None else list(read_problem_statements(tasks))
    reference = read_reference(from_, instances=instances, agent=agent, repeats_from=repeats_from or ())
    for note in reference.notes:
        say(note)
    if estimate is not None:
        output("\n".join(estimate_rates(reference, estimate)))
        return
    found = choose_smoke_set(reference, n, rate=rate, seed=seed)
    output(render(found))
    beside = write_smoke_set(found, path)
    say(f"written: {path} (for --select file={path}) and {beside}")
