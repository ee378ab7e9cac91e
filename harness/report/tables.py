"""One table of results, as terminal text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.evaluation.formats import NONE, count, p_value, signed
from harness.evaluation.schema import Recommendation, Results, Row, VsBestSingle
from harness.evaluation.verdict import best_single, reads_attempts
from harness.files import write_atomic
from harness.report.repeats_table import HEADER as REPEATS_HEADER
from harness.report.repeats_table import NOTE as REPEATS_NOTE
from harness.report.repeats_table import repeats_lines
from harness.report.row_labels import against_constants
from harness.text import counted, csv_text, line, markdown

WIDTH = 120
AGAINST_CONSTANTS = "vs constants [95 %]"
HEADER = (
    *("", "resolved", "rate", "95 % interval", "$/instance"),
    *("Δ vs best [95 %]", AGAINST_CONSTANTS, "p (Δ)", "p (text)"),
)
CONSTANTS = (
    "vs constants: difference to the mixture of single models that costs as much; on hull: no such mixture is better."
)
P_DELTA = "p (Δ): is the difference to the best single model more than chance? Two-sided."
P_TEXT = "p (text): does reading the issue text help"
P_ATTEMPTS = ", or (select, cascade) what is read of finished attempts"
"""The two tests of the table, in words; the second one also where it is not of the text."""
LEFT_OUT_FIRST = (
    *("95 % interval", "p (text)", "p (Δ)", AGAINST_CONSTANTS),
    *("$/instance", "pretended $", "simulated $"),
)
"""Columns that a narrow terminal does not show, the first ones first; the difference keeps its interval."""
REPEATS_LEFT_OUT_FIRST = ("resolved in each", "instances", "flips", "attempts")
"""The same for the table of repeats."""
LEAST_NAME = 24
"""Columns of the terminal for names, below which a column of numbers is left out."""
SHORT_LABELS = {"in-sample, not held-out": "in-sample", "any model resolves": "any model"}
"""What a label's words become where they do not fit."""
SHARES_SHOWN = 4

CSV_COLUMNS = (
    *("name", "kind", "evaluation", "n", "resolved", "rate", "rate_low", "rate_high"),
    *("cost_per_instance", "seconds_per_instance"),
    *("delta_vs_best", "delta_low", "delta_high", "p_value"),
    *("area", "qnc", "aiq"),
    *("random_clusters_mean", "random_clusters_sd", "routing_share", "p_text", "p_text_holm"),
    *("cost_at_least", "unpriced_share"),
    *("delta_vs_constants", "constants_low", "constants_high", "constants_resolved", "constants_mixture"),
)
"""In the order of results.csv, which scripts read by name."""


def render_terminal(results: Results, width: int = WIDTH) -> str:
    """Plain aligned text of at most `width` columns: the recommendation first, then the table, the verdict last."""
    results = _harmless(results)
    paragraphs = [_answer(results, width), *_table(results, width)]
    if shares := _shares(results):
        paragraphs.append("\n".join(["Routing share", *(_wrapped(f"  {share}", width) for share in shares)]))
    if results.repeated:
        table, _ = _fitted(REPEATS_HEADER, repeats_lines(results, intervals=False), width, REPEATS_LEFT_OUT_FIRST)
        paragraphs += ["\n".join(["Repeats", *table]), _wrapped(REPEATS_NOTE, width)]
    paragraphs.append(_wrapped(_complementarity(results), width))
    if results.failures:
        endings = [_wrapped(f"  {ending}", width) for ending in _failures(results)]
        paragraphs.append("\n".join(["How cells ended that have no plain verdict", *endings]))
    if results.notes:
        paragraphs.append("\n".join(["Notes", *(_wrapped(f"  - {note}", width) for note in results.notes)]))
    paragraphs.append(_wrapped(results.verdict, width))
    return "\n\n".join(paragraphs) + "\n"


def render_answer(results: Results, width: int = WIDTH) -> str:
    """The title and the recommendation alone, as plain text."""
    return _answer(_harmless(results), width) + "\n"


def render_markdown(results: Results) -> str:
    """The same as a Markdown document with nothing shortened."""
    (_, *heads), lines = _header_and_lines(results)
    table = ["| " + " | ".join(["model or policy", *heads]) + " |", "|---" + "|---:" * len(heads) + "|"]
    for label, *cells in lines:
        table.append("| " + " | ".join([markdown(label.strip()), *cells]) + " |")
    parts = [
        f"# {markdown(results.dataset)}",
        f"{counted(results.instances, 'instance')}, {counted(len(results.pool), 'model')}{_how(results)}.",
        *_recommendation_markdown(results),
        "\n".join(table),
        _meaning(results, heads),
        f"> {markdown(results.verdict)}",
    ]
    if shares := _shares(results):
        parts.append("\n".join(["## Routing share", "", *(f"- {markdown(share)}" for share in shares)]))
    if results.repeated:
        parts += ["## Repeats", _repeats_markdown(results), REPEATS_NOTE]
    pairs = ["| a | b | both | only a | only b | neither |", "|---|---|---:|---:|---:|---:|"]
    pairs += [
        f"| {markdown(p.a)} | {markdown(p.b)} | {p.both} | {p.a_only} | {p.b_only} | {p.neither} |"
        for p in results.complementarity.pairs
    ]
    parts.append("\n".join(["## Complementarity", "", markdown(_complementarity(results, with_pairs=False))]))
    if results.complementarity.pairs:
        parts.append("\n".join(pairs))
    if results.failures:
        parts += ["## Failures", _failure_table(results)]
    if results.notes:
        parts.append("\n".join(["## Notes", "", *(f"- {markdown(note)}" for note in results.notes)]))
    return "\n\n".join(parts) + "\n"


def render_csv(results: Results) -> str:
    """One line per row, numbers unrounded, blank where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in results.rows:
        vs, null = row.vs_best_single, row.null
        share, constants = _shares_text(row.routing_share), row.vs_constants
        against = (vs.delta, *vs.ci95, vs.p_value) if vs else (None,) * 4
        random = (null.mean, null.sd) if null else (None, None)
        head = (csv_text(line(row.name)), row.kind, row.evaluation, row.n, row.resolved, row.rate, *row.rate_ci95)
        money = (row.cost_per_instance, row.seconds_per_instance)
        text = (vs.p_text, vs.p_text_holm) if vs else (None, None)
        bound = (row.cost_at_least, row.unpriced_share)
        mixed: tuple[float | str | None, ...] = (None,) * 5
        if constants is not None:
            mixed = (constants.delta, *constants.ci95, constants.resolved, _shares_text(constants.mixture))
        writer.writerow([*head, *money, *against, row.area, row.qnc, row.aiq, *random, share, *text, *bound, *mixed])
    return buffer.getvalue()


def write_results(results: Results, out_dir: Path) -> None:
    """Write results.json, results.csv and results.md into a folder; each file is replaced whole."""
    write_atomic(out_dir / "results.csv", render_csv(results))
    write_atomic(out_dir / "results.md", render_markdown(results))
    write_atomic(out_dir / "results.json", results.to_json())


def _shares_text(shares: Mapping[str, float] | None) -> str:
    return csv_text("; ".join(f"{line(model)}={share:.4f}" for model, share in (shares or {}).items()))


def _harmless(results: Results) -> Results:
    """Every text of the document on one line, without what steers a terminal."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, str):
            return line(value)
        if isinstance(value, dict):
            return {cleaned(key): cleaned(part) for key, part in value.items()}
        return [cleaned(part) for part in value] if isinstance(value, list | tuple) else value

    return Results.model_validate(cleaned(results.model_dump()))


def _header(results: Results) -> tuple[str, ...]:
    """The table's heading; costs that nobody pays are called so."""
    price = f"{results.money_kind}$" if results.money_kind else "$/instance"
    return tuple(price if name == "$/instance" else name for name in HEADER)


def _header_and_lines(results: Results) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The table; without the column of constants where no row has the comparison."""
    header, lines = _header(results), _lines(results)
    if any(row.vs_constants is not None for row in results.rows):
        return header, lines
    left = [place for place, head in enumerate(HEADER) if head != AGAINST_CONSTANTS]
    return [header[place] for place in left], [[cells[place] for place in left] for cells in lines]


def _lines(results: Results) -> list[tuple[str, ...]]:
    """The table's cells; every in-sample row is followed by its null."""
    lines: list[tuple[str, ...]] = []
    best = best_single(results.rows)
    for row in results.rows:
        vs = row.vs_best_single
        is_best = row is best
        delta = f"{signed(vs.delta)} [{signed(vs.ci95[0])}, {signed(vs.ci95[1])}]" if vs else NONE
        lines.append(
            (
                _label(row, results),
                f"{count(row.resolved)}/{row.n}",
                f"{row.rate:.1%}",
                f"{row.rate_ci95[0]:.1%} – {row.rate_ci95[1]:.1%}",
                _cost(row),
                "best single" if is_best else delta,
                against_constants(row),
                NONE if is_best or vs is None else p_value(vs.p_value),
                NONE if vs is None else _p_text(vs),
            )
        )
        if row.cost_at_least is not None:
            label = f"  {row.unpriced_share:.0%} of its choices have no cost"
            lines.append((label, *[NONE] * (len(HEADER) - 1)))
        if row.bounds is not None:
            low, high = row.bounds
            whole = row.n + row.missing
            resolved = f"{count(low)} – {count(high)}/{whole}"
            label = f"  {row.missing} missing: worst – best case"
            lines.append((label, resolved, NONE, f"{low / whole:.1%} – {high / whole:.1%}", *[NONE] * 5))
        if row.null is not None:
            reached = f"{count(row.null.mean)} ± {row.null.sd:.1f}"
            lines.append(("  random clusters reach", reached, f"{row.null.mean / row.n:.1%}", *[NONE] * 6))
    return lines


def _cost(row: Row) -> str:
    if row.cost_per_instance is not None:
        return f"{row.cost_per_instance:.4f}"
    return NONE if row.cost_at_least is None else f"≥ {row.cost_at_least:.4f}"


def _label(row: Row, results: Results) -> str:
    if row.evaluation == "in-sample":
        return f"{row.name} (in-sample, not held-out)"
    if row.evaluation == "leave-one-repository-out":
        return f"{row.name} (unseen repositories)"
    if row.evaluation == "cross-fitted":
        return f"{row.name} (cross-fitted)"
    if row.kind == "single" and results.scripted and "scripted" not in row.name.casefold():
        return f"{row.name} (scripted)"
    return {"random": "random (expectation)", "oracle": "oracle (any model resolves)"}.get(row.kind, row.name)


def _how(results: Results) -> str:
    fitted = any(row.evaluation == "cross-fitted" for row in results.rows)
    how = f", {results.folds} folds × {results.repeats} repeats, seed {results.seed}" if fitted else ""
    made = ", simulated" if results.simulated else ", scripted stand-in models" if results.scripted else ""
    return how + made


def _shares(results: Results) -> list[str]:
    lines = []
    for row in results.rows:
        if row.kind == "single" or not row.routing_share:
            continue
        ordered = sorted(row.routing_share.items(), key=lambda item: -item[1])
        shown = [f"{model} {share:.0%}" for model, share in ordered[:SHARES_SHOWN]]
        rest = sum(share for _, share in ordered[SHARES_SHOWN:])
        more = [f"{counted(len(ordered) - SHARES_SHOWN, 'other')} {rest:.0%}"] if len(ordered) > SHARES_SHOWN else []
        lines.append(f"{_label(row, results)}: {', '.join(shown + more)}")
    return lines


def _failures(results: Results) -> list[str]:
    lines = []
    for failure in results.failures:
        ended = ", ".join(f"{count} {model}" for model, count in failure.cells.items())
        earlier = sum(failure.earlier.values())
        again = f"{earlier} × before a later try" if earlier else ""
        how = "counted as not resolved" if failure.scored else f"the {failure.whose}'s, without verdict"
        lines.append(f"{failure.kind} ({how}): {'; '.join(part for part in (ended, again) if part)}")
    return lines


def _failure_table(results: Results) -> str:
    """Kind × model: cells that ended so, and behind + how often it struck before a later try."""

    def endings(ended: int, earlier: int) -> str:
        return "" if not ended + earlier else f"{ended}" + (f" + {earlier}" if earlier else "")

    lines = [
        "Cells that ended so; behind +, how often it happened before a later try of the cell.",
        "",
        "| kind | whose | scored | " + " | ".join(map(markdown, results.pool)) + " | tried again |",
        "|---|---|---|" + "---:|" * len(results.pool) + "---|",
    ]
    for failure in results.failures:
        cells = [endings(failure.cells.get(model, 0), failure.earlier.get(model, 0)) for model in results.pool]
        scored = "as not resolved" if failure.scored else "never"
        kind, retried = markdown(failure.kind), markdown(failure.retried)
        lines.append(f"| {kind} | {failure.whose} | {scored} | {' | '.join(cells)} | {retried} |")
    return "\n".join(lines)


def _complementarity(results: Results, with_pairs: bool = True) -> str:
    overlap = results.complementarity
    some = counted(overlap.oracle, "instance")
    text = f"{some} {'was' if overlap.oracle == 1 else 'were'} resolved by at least one model."
    if overlap.repeatable_oracle is not None:
        repeatable = overlap.repeatable_oracle
        low, high = repeatable.resolved_ci95 or (None, None)
        interval = "" if low is None else f", 95 % interval {low:.0f} to {high:.0f}"
        text += (
            f" Repeatable: {repeatable.resolved:.1f}{interval}, as {repeatable.repeatable_share:.0%} of what models do "
            f"differently repeats ({repeatable.method})."
        )
    if with_pairs and 0 < len(overlap.pairs) <= 6:
        overlaps = (f"{pair.a_only} {pair.a} but not {pair.b}, {pair.b_only} the reverse" for pair in overlap.pairs)
        text += f" Resolved by {'; '.join(overlaps)}."
    return text


def _table(results: Results, width: int) -> list[str]:
    """The table of results, and what its columns mean or which ones are left out."""
    header, lines = _header_and_lines(results)
    rows, shown = _fitted(header, lines, width, LEFT_OUT_FIRST)
    rows.insert(1, "─" * max(map(len, rows)))
    missing = [head for head in header if head not in shown]
    notes = [f"Left out on a terminal this narrow: {', '.join(missing)}."] if missing else []
    if meaning := _meaning(results, shown):
        notes.append(meaning)
    return ["\n".join(rows), _wrapped(" ".join(notes), width)]


def _fitted(
    header: Sequence[str], lines: Sequence[Sequence[str]], width: int, left_out_first: Sequence[str]
) -> tuple[list[str], list[str]]:
    """An aligned table of at most `width` columns.

    Where it is too wide, whole columns of numbers are left out, then names are cut.

    Returns:
        Its lines, and the heads of the columns that are left.
    """
    columns = {head: [head, *values] for head, values in zip(header, zip(*lines, strict=True), strict=True)}
    names = columns.pop(header[0])
    longest = max(map(len, names))

    def room() -> int:
        return width - sum(max(map(len, values)) + 2 for values in columns.values())

    for head in left_out_first:
        if room() < min(longest, LEAST_NAME):
            columns.pop(head, None)
    name_width = min(longest, room())
    tails = [max(map(len, values)) for values in columns.values()]
    rows = zip(names, *columns.values(), strict=True)
    return [_aligned(row, name_width, tails) for row in rows], [header[0], *columns]


def _repeats_markdown(results: Results) -> str:
    head = ["| " + " | ".join(REPEATS_HEADER) + " |", "|---" + "|---:" * (len(REPEATS_HEADER) - 1) + "|"]
    lines = repeats_lines(results, intervals=True)
    return "\n".join([*head, *("| " + " | ".join([markdown(name), *cells]) + " |" for name, *cells in lines)])


def _aligned(cells: tuple[str, ...], name_width: int, tails: list[int]) -> str:
    name = cells[0] if len(cells[0]) <= name_width else _shortened(cells[0], name_width)
    rest = "".join(f"  {cell:>{width}}" for cell, width in zip(cells[1:], tails, strict=True))
    return f"{name:<{name_width}}{rest}".rstrip()


def _shortened(name: str, width: int) -> str:
    """The label in fewer words, then the name cut: the label ("in-sample") must stay."""
    for words, fewer in SHORT_LABELS.items():
        name = name.replace(f" ({words})", f" ({fewer})")
    if len(name) <= width:
        return name
    match = re.search(r" \((in-sample|cross-fitted|unseen repositories|scripted)\)$", name)
    tail = match.group() if match else ""
    return name[: max(0, width - len(tail) - 1)].rstrip() + "…" + tail


def _wrapped(text: str, width: int) -> str:
    hanging = "    " if text.startswith("  ") else ""
    return textwrap.fill(text, width, subsequent_indent=hanging, break_on_hyphens=False)


def _p_text(vs: VsBestSingle) -> str:
    """Corrected for the policies tried, where it was."""
    return p_value(vs.p_text if vs.p_text_holm is None else vs.p_text_holm)


def _meaning(results: Results, heads: Sequence[str]) -> str:
    """What the columns with these heads mean, and for how many policies the second test is corrected."""
    tried = sum(row.vs_best_single is not None and row.vs_best_single.p_text_holm is not None for row in results.rows)
    parts = [CONSTANTS] if AGAINST_CONSTANTS in heads else []
    parts += [P_DELTA] if "p (Δ)" in heads else []
    if "p (text)" in heads:
        whose = P_TEXT + (P_ATTEMPTS if any(map(reads_attempts, results.rows)) else "")
        parts.append(f"{whose}? Permutation test" + (f", corrected for {tried} policies (Holm)." if tried > 1 else "."))
    if results.money_kind:
        parts.append(f"{results.money_kind.capitalize()}$: per instance, paid by nobody.")
    return " ".join(parts)


def _answer(results: Results, width: int) -> str:
    counts = f"{counted(results.instances, 'instance')}, {counted(len(results.pool), 'model')}"
    title = f"{results.dataset}: {counts}{_how(results)}"
    if results.recommendation is None:
        return _wrapped(title, width)
    return f"{_wrapped(title, width)}\n\n{_recommendation(results.recommendation, width)}"


def _recommendation(recommendation: Recommendation, width: int) -> str:
    """The headline, and the statements beside their labels."""
    labels = max((len(statement.label) for statement in recommendation.statements), default=0) + 2
    lines = [_wrapped(recommendation.headline, width)]
    for statement in recommendation.statements:
        head = f"{statement.label:<{labels}}"
        lines.append(
            textwrap.fill(
                statement.text,
                width,
                initial_indent=head,
                subsequent_indent=" " * labels,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def _recommendation_markdown(results: Results) -> list[str]:
    if results.recommendation is None:
        return []
    lines = [f"- {statement.label}: {markdown(statement.text)}" for statement in results.recommendation.statements]
    return [f"**{markdown(results.recommendation.headline)}**", *(["\n".join(lines)] if lines else [])]
