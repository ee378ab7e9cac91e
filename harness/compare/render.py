"""A comparison as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from harness.compare.compare import Comparison
from harness.compare.flags import flag_section, flag_sentence
from harness.compare.pairs import Change, Compared
from harness.compare.routed import BestSingles
from harness.compare.rules import Broken
from harness.evaluation.formats import NONE, count, signed
from harness.text import counted, markdown

SHOWN = 12


def headline(comparison: Comparison) -> str:
    """What changed, in a sentence."""
    models = [row for row in comparison.rows if row.kind == "model"]
    pool_changed = bool(comparison.only_base or comparison.only_new) and bool(models)
    if all(row.judgement == "identical" for row in comparison.rows) and not pool_changed:
        rows = counted(len(comparison.rows), "row is", "rows are")
        same = f"No difference: {rows} identical on {counted(comparison.common, 'common instance')}"
        return "; ".join([same, *_missing(models)]) + "."
    if not pool_changed:
        return "; ".join([*_judgements(comparison.rows), *_missing(models)]) + "."
    joined, left = (_number(names) for names in (comparison.only_new, comparison.only_base))
    parts = [f"{joined} joined, {left} left", *_judgements(models, of_pool=True)]
    parts += [_routed_change(row) for row in comparison.rows if row.kind == "routed"]
    if comparison.clusters and not comparison.no_routing:
        parts.append(f"{len(comparison.routing)} of {comparison.clusters} clusters re-assigned")
    parts += [_best_change(comparison.best)] if comparison.best is not None else []
    parts += _missing(models)
    if comparison.dropped:
        parts.append(f"{_number(comparison.dropped)} left out for want of verdicts")
    return "; ".join(parts) + "."


def _judgements(rows: Sequence[Compared], *, of_pool: bool = False) -> list[str]:
    """How the rows changed; `of_pool` says that they are all the models that both pools have."""
    by: dict[str, list[str]] = {}
    for row in rows:
        by.setdefault(row.judgement, []).append(f"{_name(row)} ({row.delta:+.3g})")
    if of_pool and set(by) == {"identical"}:
        return ["the common model is unchanged" if len(rows) == 1 else f"the {len(rows)} common models are unchanged"]
    parts = [
        f"{len(by[kind])} {word}: {', '.join(by[kind][:SHOWN])}"
        for kind, word in (("regression", "regressed"), ("improvement", "improved"), ("unclear", "unclear"))
        if kind in by
    ]
    if moved := by.get("other instances"):
        parts.append(f"{len(moved)} flipped more than re-running would, totals alike: {', '.join(moved[:SHOWN])}")
    if quiet := len(by.get("within noise", [])) + len(by.get("identical", [])):
        parts.append(f"{quiet} within what re-running the same model would show")
    return parts


def _missing(models: Sequence[Compared]) -> list[str]:
    missing = sum(row.missing for row in models)
    return [f"the new side lacks {counted(missing, 'verdict')} that the base has"] if missing else []


def _number(names: Sequence[str]) -> str:
    return "none" if not names else counted(len(names), "model")


def _routed_change(row: Compared) -> str:
    if row.judgement == "identical":
        return f"routed unchanged at {count(row.base_resolved)}"
    low, high = row.ci95
    change = f"{signed(row.delta)} [{signed(low)}, {signed(high)}], {row.judgement}"
    return f"routed {count(row.base_resolved)} → {count(row.new_resolved)} ({change})"


def _best_change(best: BestSingles) -> str:
    base, new = markdown(best.base_model), markdown(best.new_model)
    if (best.base_model, best.base_resolved) == (best.new_model, best.new_resolved):
        return f"best single unchanged: {base}, {best.base_resolved} of {best.n}"
    return f"best single {best.base_resolved} → {best.new_resolved} of {best.n} ({base} → {new})"


def render_markdown(comparison: Comparison, broken: Sequence[Broken] = (), rules: Sequence[str] = ()) -> str:
    """The whole comparison; flips are listed in full."""
    parts = [
        f"# {markdown(comparison.base)} → {markdown(comparison.new)}",
        f"> {headline(comparison)}",
        _warning(comparison),
        _gate(broken, rules),
        _table(comparison),
    ]
    noise = comparison.noise
    parts.append(
        f"Noise: two runs of the same model flip {noise.share:.2f} · 2p(1 − p) of the verdicts "
        f"({markdown(noise.source)}). "
        "A regression or improvement needs p < 0.05 (exact McNemar, Holm over the rows) and a difference of the totals "
        "beyond the 95 % band of such flips; one of the two alone is unclear."
    )
    if comparison.no_routed:
        parts.append(f"No routed row: {markdown(comparison.no_routed)}.")
    if comparison.dropped:
        parts.append(
            "Left out of the routed row and of the best single models, as they know too few of the common instances: "
            f"{', '.join(map(markdown, comparison.dropped))}."
        )
    if comparison.no_routing and comparison.clusters:
        parts.append(f"Changes of the routing are left out: {markdown(comparison.no_routing)}.")
    for title, names in (("Only in the base", comparison.only_base), ("Only in the new", comparison.only_new)):
        if names:
            parts.append(f"{title}: {', '.join(map(markdown, names))}.")
    if comparison.failing:
        lines = [
            f"- cluster {c.cluster} ({counted(c.size, 'instance')}), {markdown(c.model)}: "
            f"{c.base_resolved} → {c.new_resolved} "
            f"resolved, p {c.p_value:.2g} (Holm {c.p_holm:.2g}); lost {', '.join(map(markdown, c.lost))}"
            for c in comparison.failing
        ]
        parts.append(
            "## Newly failing clusters\n\nWorth a look; only those with Holm's p < 0.05 are more than the luck of many "
            "clusters, and only they break a rule.\n\n" + "\n".join(lines)
        )
    if comparison.routing:
        lines = [
            f"- cluster {c.cluster} ({counted(c.size, 'instance')}, e.g. {markdown(c.examples[0])}): "
            f"{markdown(c.base_model)} → "
            f"{markdown(c.new_model)}: {markdown(c.why)}"
            for c in comparison.routing
        ]
        parts.append(f"## Routing table: {len(lines)} of {comparison.clusters} clusters changed\n\n" + "\n".join(lines))
    flips = [row for row in comparison.rows if row.flips]
    if flips:
        parts.append("## Flips\n\n" + "\n\n".join(_flips(row) for row in flips))
    parts.append(flag_section(comparison.flagged))
    for title, failures in (("base", comparison.base_failures), ("new", comparison.new_failures)):
        if failures:
            shown = "\n".join(f"- {markdown(failure)}" for failure in failures[:SHOWN])
            parts.append(f"## Without a verdict in the {title}: {counted(len(failures), 'cell')}\n\n{shown}")
    if comparison.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {markdown(note)}" for note in comparison.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _warning(comparison: Comparison) -> str:
    sentence = flag_sentence(comparison.flagged, comparison.newly_resolved)
    return f"**{markdown(sentence)}.**" if sentence else ""


def _gate(broken: Sequence[Broken], rules: Sequence[str]) -> str:
    if not rules:
        return ""
    lines = [f"- **broken**: {markdown(one.rule)}: {markdown(one.why)}" for one in broken]
    kept = [rule for rule in rules if rule not in {one.rule for one in broken}]
    return "\n".join([*lines, *(f"- kept: {markdown(rule)}" for rule in kept)])


def _table(comparison: Comparison) -> str:
    head = ["", "n", "base", "new", "Δ [95 %]", "p (Holm)", "flips +/−", "re-running shows"]
    head += ["$/instance", "s/instance", ""]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    unchanged = [row for row in comparison.rows if _is_unchanged(row)]
    folded = unchanged if len(unchanged) > 1 else []
    if folded:
        sizes = sorted({row.n for row in folded})
        n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]}–{sizes[-1]}"
        lines.append("| " + " | ".join((counted(len(folded), "unchanged model"), n, *[NONE] * 8, "identical")) + " |")
    for row in comparison.rows:
        if row in folded:
            continue
        low, high = row.ci95
        expected = row.expected
        cells = (
            _name(row) + (f" ({markdown(row.how)})" if row.how else ""),
            str(row.n),
            f"{row.base_resolved:.4g}",
            f"{row.new_resolved:.4g}",
            f"{row.delta:+.3g} [{low:+.3g}, {high:+.3g}]",
            f"{row.p_value:.2g} ({row.p_holm:.2g})",
            f"{len(row.gained)}/{len(row.lost)}",
            f"{expected.mean:.0f} ± {expected.sd:.0f} flips, Δ ±{expected.band:.0f}",
            _change(row.cost),
            _change(row.seconds),
            row.judgement,
        )
        lines.append("| " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    names = ", ".join(_name(row) for row in folded)
    return f"{table}\n\nUnchanged, in every verdict and in cost: {names}." if folded else table


def _is_unchanged(row: Compared) -> bool:
    """A model of which every verdict is the same, and so are cost and seconds where they are known."""
    equal = all(change is None or change.base == change.new for change in (row.cost, row.seconds))
    return row.kind == "model" and row.judgement == "identical" and equal and not row.missing


def _name(row: Compared) -> str:
    name, new_name = markdown(row.name), markdown(row.new_name)
    return name if name == new_name else f"{name} → {new_name}"


def _change(change: Change | None) -> str:
    if change is None:
        return NONE
    if change.whole:
        percent = "" if change.percent is None else f" ({change.percent:+.0f} %)"
        return f"{change.base:.3g} → {change.new:.3g}{percent}"
    base, new = _bound(change.base, change.base_unknown), _bound(change.new, change.new_unknown)
    return f"{base} → {new}"


def _bound(value: float, unknown: float) -> str:
    return f"{value:.3g}" if unknown == 0 else f"≥ {value:.3g} (unknown of {unknown:.0%})"


def _flips(row: Compared) -> str:
    gained, lost = ", ".join(map(markdown, row.gained)), ", ".join(map(markdown, row.lost))
    return f"**{_name(row)}**\n\n- gained: {gained or 'none'}\n- lost: {lost or 'none'}"
