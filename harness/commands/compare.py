"""Regression testing: `polyswe compare`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.common import check_output, output, quiet_libraries, say
from harness.commands.options import SelectOption, SplitOption
from harness.errors import EXIT_FINDINGS, InputError

if TYPE_CHECKING:
    from harness.compare.load import RunOutcomes


def compare(
    base: Annotated[str, typer.Argument(help="A run folder, a file of outcomes, or FILE::NAME for one model of it.")],
    new: Annotated[str, typer.Argument(help="The run to judge, given in the same way.")],
    fail_if: Annotated[
        list[str] | None, typer.Option(help="A rule that fails the comparison (repeatable; default: any regression).")
    ] = None,
    match: Annotated[
        list[str] | None, typer.Option(help="BASE=NEW: compare these two models with each other (repeatable).")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "--pool", metavar="NAME", help="Only this model in both runs, as elsewhere (repeatable)."
        ),
    ] = None,
    select: SelectOption = None,
    tasks: Annotated[str | None, typer.Option(help="Problem statements, for clusters and routing.")] = None,
    split: SplitOption = "test",
    repeats_from: Annotated[
        list[str] | None,
        typer.Option(help="Repeated runs for the estimate of noise (default: the runs' own repeats, if any)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.md and comparison.json.")] = None,
    summary: Annotated[
        Path | None,
        typer.Option(help="Also append a summary of at most 20 lines of Markdown to this file."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of bootstrap, folds and clusters (default: 0, and a run's own folds).")
    ] = None,
    trust_embedder: Annotated[
        bool,
        typer.Option(
            "--trust-embedder", help="Load the embedder that a run's checkpoint names, even if it is not the default."
        ),
    ] = False,
) -> None:
    """Compare two runs and test whether the changes exceed noise. Prints Markdown.

    Examples:

        polyswe compare results/before results/after

        polyswe compare old.json new.json --match "opus medium=4.5 opus (high" --tasks tasks.jsonl

        polyswe compare results/before results/after --select repo=django/* --model sonnet

        polyswe compare results/before results/after --fail-if "routed drops by more than 1 pt with 95 % confidence"

    Exit code 0: no rule is broken; 1: a rule is broken; 2: bad input.
    """
    quiet_libraries()
    from harness.compare.compare import compare_sides
    from harness.compare.flags import flag_sentence
    from harness.compare.load import load_side
    from harness.compare.noise import noise_from, own_noise
    from harness.compare.part import restricted
    from harness.compare.render import render_markdown
    from harness.compare.rules import DEFAULT_RULES, broken, check_rule
    from harness.compare.short import render_summary
    from harness.files import write_atomic

    if out is not None:
        check_output(out, folder=True)
    rules = tuple(fail_if or DEFAULT_RULES)
    for rule in rules:
        check_rule(rule)
    pairs = [_pair(text) for text in match or []]
    chosen = model or ()
    sides = (
        load_side(base, chosen, trust_embedder=trust_embedder),
        load_side(new, chosen, trust_embedder=trust_embedder),
    )
    if select:
        sides = restricted(sides, select, _rows(tasks, split, sides))
    statements = _statements(tasks, split) if tasks else _own_statements(sides)
    own = [model for side in sides for model in side.repeated]
    noise = noise_from(repeats_from) if repeats_from else own_noise(own)
    comparison = compare_sides(*sides, noise, matches=pairs, statements=statements, seed=seed)
    unjudged: InputError | None = None
    try:
        wrong = broken(rules, comparison)
        text = render_markdown(comparison, wrong, rules)
    except InputError as error:  # the comparison is printed before the gate says that it cannot judge
        unjudged, wrong, text = error, [], render_markdown(comparison)
    output(text)
    if summary is not None:
        short = render_summary(comparison, wrong, rules if unjudged is None else (), str(unjudged or ""))
        with summary.open("a", encoding="utf-8") as file:
            file.write(short + "\n")
    if out is not None:
        write_atomic(out / "comparison.md", text)
        judged = {
            "rules": rules,
            "broken": [vars(one) for one in wrong],
            "cannot_be_judged": None if unjudged is None else str(unjudged),
        }
        document = comparison.to_json() | judged
        write_atomic(out / "comparison.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        say(f"comparison: {out}/comparison.md, comparison.json")
    if unjudged is not None:
        raise unjudged
    if sentence := flag_sentence(comparison.flagged, comparison.newly_resolved):
        say(sentence)
    for one in wrong:
        say(f"rule broken: {one.rule}: {one.why}")
    if wrong:
        raise typer.Exit(EXIT_FINDINGS)


def _pair(text: str) -> tuple[str, str]:
    base, sign, new = text.partition("=")
    if not sign or not base.strip() or not new.strip():
        raise InputError(f"--match {text!r}: expected BASE=NEW, a part of a name on either side of '='")
    return base.strip(), new.strip()


def _rows(tasks: str | None, split: str, sides: Sequence[RunOutcomes]) -> list[dict[str, Any]]:
    """The dataset's rows: of --tasks, else of the first place that the runs name and that can be read."""
    from harness.data.rows import load_rows
    from harness.errors import EnvironmentUnavailableError

    if tasks:
        return load_rows(tasks, split)
    for side in sides:
        copy = Path(side.label.partition("::")[0]) / "dataset.jsonl"
        for place in filter(None, (side.dataset, str(copy))):
            with suppress(InputError, EnvironmentUnavailableError):
                return load_rows(place, side.split)
    return []


def _own_statements(sides: Sequence[RunOutcomes]) -> dict[str, str] | None:
    """What the runs themselves name, the base's first; a file that has gone since is no reason to compare nothing."""
    statements = None
    for side in sides:
        if side.dataset is None or statements is not None:
            continue
        copy = Path(side.label.partition("::")[0]) / "dataset.jsonl"
        for place in (side.dataset, *([str(copy)] if copy.is_file() else [])):
            try:
                statements = statements or _statements(place, side.split)
            except InputError as error:
                say(f"{error}; --tasks names another place")
    if statements is None and any(side.dataset for side in sides):
        say("no clusters and no routed row of a matrix: the problem statements are not at hand")
    return statements


def _statements(tasks: str, split: str = "test") -> dict[str, str] | None:
    from harness.data.instances import read_problem_statements
    from harness.errors import EnvironmentUnavailableError

    try:
        return read_problem_statements(tasks, split=split)
    except EnvironmentUnavailableError as error:
        say(f"no clusters and no routed row: {error}")
        return None
