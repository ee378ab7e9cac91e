"""A comparison in at most 20 lines of Markdown, for a CI job's summary or a comment."""

from __future__ import annotations

import html
from collections.abc import Sequence

from harness.compare.compare import Comparison
from harness.compare.pairs import Compared
from harness.compare.render import headline
from harness.compare.rules import Broken
from harness.text import line, markdown

ROWS_SHOWN = 8
BROKEN_SHOWN = 3
FLIPS_SHOWN = 60
"""Of each model, gained and lost."""
_ORDER = ("regression", "improvement", "unclear", "other instances", "within noise")


def render_summary(comparison: Comparison, broken: Sequence[Broken], rules: Sequence[str], unjudged: str = "") -> str:
    """The headline, the rules, a row of each changed model, and the flips, folded.

    Args:
        comparison: What was found.
        broken: The rules that it breaks.
        rules: All of them.
        unjudged: Why the rules cannot be judged; empty where they can.
    """
    lines = [f"**{headline(comparison)}**", ""]
    if unjudged:
        lines.append(f"- the rules cannot be judged: {markdown(unjudged)}")
    lines += [f"- **broken**: {markdown(one.rule)}: {markdown(one.why)}" for one in broken[:BROKEN_SHOWN]]
    more = f" ({len(broken)} findings in all)" if len(broken) > BROKEN_SHOWN else ""
    kept = len([rule for rule in rules if rule not in {one.rule for one in broken}])
    if kept or more:
        lines.append(f"- {kept} of {len(rules)} rules kept{more}")
    changed = [row for row in comparison.rows if row.judgement != "identical"]
    changed.sort(key=lambda row: (_ORDER.index(row.judgement), row.delta))
    if changed:
        lines += ["", "| | n | base | new | Δ [95 %] | p (Holm) | |", "|---|---:|---:|---:|---:|---:|---|"]
        lines += [_row(row) for row in changed[:ROWS_SHOWN]]
        left = f" of the first {ROWS_SHOWN} of {len(changed)} rows" if len(changed) > ROWS_SHOWN else ""
        flips = "<br>".join(_flips(row) for row in changed[:ROWS_SHOWN])
        lines += ["", f"<details><summary>Flips{left}</summary>{flips}</details>"]
    return "\n".join(lines)


def _row(row: Compared) -> str:
    low, high = row.ci95
    cells = (
        markdown(_name(row)),
        str(row.n),
        f"{row.base_resolved:.4g}",
        f"{row.new_resolved:.4g}",
        f"{row.delta:+.3g} [{low:+.3g}, {high:+.3g}]",
        f"{row.p_value:.2g} ({row.p_holm:.2g})",
        row.judgement,
    )
    return "| " + " | ".join(cells) + " |"


def _flips(row: Compared) -> str:
    return f"<b>{html.escape(line(_name(row)))}</b>: gained {_listed(row.gained)}; lost {_listed(row.lost)}"


def _name(row: Compared) -> str:
    return row.name if row.name == row.new_name else f"{row.name} → {row.new_name}"


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - FLIPS_SHOWN} more" if len(ids) > FLIPS_SHOWN else ""
    return html.escape(line(", ".join(ids[:FLIPS_SHOWN]))) + more or "none"
