"""A look at the product within seconds: `polyswe demo`."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import check_output, output, quiet_libraries, say, terminal_width
from harness.commands.compare import compare

if TYPE_CHECKING:
    from harness.evaluation.schema import Results
    from harness.lab.demo import SimulatedBenchmark

SEED = 16
"""Of the simulation: one where a cheap model resolves nearly as much as the best."""
FOLDS, REPEATS, PERMUTATIONS = 5, 2, 39
"""Fewer than a replay's, so that it is done within seconds."""


def demo(out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("results/demo")) -> None:
    """Show a report and a failed comparison, made from simulated outcomes. Needs no Docker, key or network.

    500 instances with 12 models are simulated, evaluated like a replay, and written as a report. Then one model gets
    worse, and `polyswe compare` finds it. No number was measured: everything is marked as simulated.

    Example:

        polyswe demo --out /tmp/demo
    """
    quiet_libraries()
    from harness.importers import write_outcomes_csv
    from harness.lab.demo import degraded, simulated_benchmark
    from harness.replay import write_replay
    from harness.report.html import write_report
    from harness.report.tables import render_answer

    check_output(out, folder=True)
    # their names label the comparison, which reads outcomes alone
    base, worse = out / "simulated-base", out / "simulated-degraded"
    say("simulated data: no model is run, and no number below was measured")
    benchmark = simulated_benchmark(SEED)
    results = _evaluated(benchmark)
    write_replay(results, benchmark.outcomes, base)
    output(render_answer(results, terminal_width()))
    say(f"report, simulated: {write_report(base, results)}")
    assert results.recommendation is not None  # every simulated cell has a verdict
    assert results.recommendation.use is not None
    model = results.recommendation.use.name
    write_outcomes_csv(degraded(benchmark, model, SEED), worse / "outcomes.csv")
    say(f"now {model} gets worse (simulated), and the gate compares the two sets:")
    code = _gate(base / "outcomes.csv", worse / "outcomes.csv", out / "comparison")
    say(
        f"the gate ended with exit code {code}, which stops a CI job (0: no rule is broken, 1: one is, 2: bad input); "
        "the demo itself ends with 0"
    )


def _evaluated(benchmark: SimulatedBenchmark) -> Results:
    """The results document, marked as simulated."""
    from harness.evaluation.annotate import described
    from harness.evaluation.results import build_results
    from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
    from harness.lab.demo import TITLE

    inputs = EvaluationInputs(
        outcomes=benchmark.outcomes,
        embeddings=benchmark.embeddings,
        dataset=TITLE,
        simulated=True,
    )
    settings = EvaluationSettings(policies=("cluster", "auto"), folds=FOLDS, repeats=REPEATS, permutations=PERMUTATIONS)
    return described(
        build_results(inputs, settings),
        benchmark.outcomes,
        {},
        {"repository": benchmark.repositories, "difficulty": benchmark.difficulties},
    )


def _gate(base: Path, new: Path, out: Path) -> int:
    """Run `polyswe compare` as a CI job would; returns its exit code. Of what it prints, the headline is shown."""
    say(f"polyswe compare {base} {new} --out {out}")
    printed, code = io.StringIO(), 0
    with contextlib.redirect_stdout(printed):
        try:
            compare(str(base), str(new), out=out)
        except typer.Exit as end:
            code = end.exit_code
    output("\n".join(line for line in printed.getvalue().splitlines() if line.startswith(">"))[:2000])
    return code
