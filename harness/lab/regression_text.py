"""results/regression/README.md, from the JSON beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HEAD = """# What smoke sets and the sequential gate are worth

Written by `polyswe lab regression --data DIR --out results/regression` from recorded runs of SWE-bench Verified.
"Points" are percentage points of all 500 instances. The method was developed on {developed}.
{confirmed} was looked at when the method was settled. Three things
changed afterwards. Because of simulated models, intervals became wider, and the gate no longer gives up while a trend
could decide. Then the estimate of a rate changed: its correction now comes from reference runs of about the same rate,
and unexpected verdicts no longer change what is expected of other instances. Both are the best choice on the first
record. The second record's errors, which fell too, were in view at that time: they are no untouched test of this step.

**What is recorded and what is simulated.** Errors of estimated rates and the pairs of models come from recorded
verdicts. Drops are simulated: models whose verdicts flip between two runs as often as those of the recorded repeats
({flips}), and versions of them that are worse by a known share, either by lower ability
(*shift*: what is lost is what was within reach) or by losing each resolved instance with the same probability (*lapse*:
a broken tool). Real changes may be of either kind.
"""


def render(study: dict[str, Any]) -> str:
    """Markdown of a study's JSON."""
    flips = "; ".join(f"{name}: {100 * found['share']:.1f} %" for name, found in study["flips"].items())
    settings = study["settings"]
    parts = [HEAD.format(developed=study["developed_on"], confirmed=study["confirmed_on"], flips=flips)]
    parts += [_goals(study), "## The rate over all instances, from a subset\n"]
    parts.append(
        "Each able run in turn is the new model. The mean error is that of the estimated rate; beside it stands that "
        "of the plain mean of as many random instances.\n"
    )
    for name, rows in study["subsets"].items():
        parts.append(f"**{name}**, {rows[0]['models']} models:\n")
        parts.append(
            "| instances | mean error | random, plain mean | 95 % interval contains the rate | half-width | cost |\n"
            "|---:|---:|---:|---:|---:|---:|"
        )
        parts += [
            f"| {r['size']} | {r['error']:.1f} | {r['random_error']:.1f} | {r['covered']:.0%} | "
            f"±{r['half_width']:.1f} | "
            f"{r['cost_share']:.0%} (random {r['random_cost_share']:.0%}) |"
            for r in rows
        ]
        parts.append("")
    parts.append("## The smallest drop that a subset shows\n")
    parts.append("With 80 % power, McNemar's exact test at 5 %, a base that resolves 75 %:\n")
    parts.append("| instances | shape of the drop | chosen | random | ratio |\n|---:|---|---:|---:|---:|")
    for r in study["drops"]:
        chosen, drawn = r["chosen"], r["random"]
        ratio = f"{drawn / chosen:.2f}" if chosen and drawn else "–"
        parts.append(f"| {r['size']} | {r['shape']} | {_drop(chosen)} | {_drop(drawn)} | {ratio} |")
    parts.append("\n## The sequential gate\n")
    parts.append(
        f"It asks whether the new side is worse, at α = {settings['alpha']}, and whether it is not worse by "
        f"{100 * settings['drop']:.0f} points or more. It looks after every 10 instances, in the order that says "
        "most per dollar, and stops when it is decided or hopeless. The last column is McNemar's test after all "
        "instances, at the full cost.\n"
    )
    parts.append(
        "| true drop | shape | comparisons | worse | not worse | hopeless | share of the full cost "
        "| fixed test: worse |\n"
        "|---:|---|---:|---:|---:|---:|---:|---:|"
    )
    parts += [
        f"| {r['drop']:.0f} | {r['shape'] if r['drop'] else '–'} | {r['comparisons']} | {r['worse']:.1%} | "
        f"{r['not_worse']:.1%} | {r['hopeless']:.1%} | {r['cost_share']:.0%} | {r['fixed_worse']:.1%} |"
        for r in study["gate"]
    ]
    parts.append("\n**Nothing changed.** False alarms, also if no test had been stopped as hopeless:\n")
    parts.append("| what | comparisons | worse | at any look | share of the full cost |\n|---|---:|---:|---:|---:|")
    parts += [
        f"| {r['what']} | {r['comparisons']} | {r['false_alarms']:.1%} | {r['alarms_if_never_stopped']:.1%} | "
        f"{r['cost_share']:.0%} |"
        for r in study["nulls"]
    ]
    parts.append(
        "\n**Recorded pairs of models**, one as the base and one as its new version. "
        "Both are among the runs that made the order:\n"
    )
    for name, rows in study["pairs"].items():
        parts.append(f"{name}:\n")
        parts.append(
            "| gap in points | pairs | worse | not worse | hopeless | wrong | share of the full cost |\n"
            "|---|---:|---:|---:|---:|---:|---:|"
        )
        parts += [
            f"| {r['gap']} | {r['pairs']} | {r['worse']:.0%} | {r['not_worse']:.0%} | {r['hopeless']:.0%} | "
            f"{r['wrong']:.1%} | {r['cost_share']:.0%} |"
            for r in rows
        ]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _goals(study: dict[str, Any]) -> str:
    """What was aimed at beside what came out."""
    confirmed = study["subsets"][study["confirmed_on"]]
    developed = study["subsets"][study["developed_on"]]
    rows = [
        (
            f"mean error at {size} chosen instances, points",
            f"≤ {goal}",
            f"{first:.2f} on the first record, {second:.2f} on the second",
            [first <= goal, second <= goal],
        )
        for size, goal in ((50, 2.0), (100, 1.1))
        for first, second in [(_sized(developed, size)["error"], _sized(confirmed, size)["error"])]
    ]
    measured = [row for row in [*confirmed, *developed] if row["size"] in (50, 100)]
    intervals = sum(row["models"] for row in measured)
    held = sum(round(row["covered"] * row["models"]) for row in measured)
    rows.append(
        (
            "95 % intervals contain the rate, at 50 and 100 instances",
            "93–97 %",
            f"{held} of {intervals} ({held / intervals:.0%})",
            [0.93 <= held / intervals <= 0.97],
        )
    )
    for shape in ("shift", "lapse"):
        found = next(row for row in study["drops"] if (row["size"], row["shape"]) == (100, shape))
        ratio = found["random"] / found["chosen"] if found["random"] and found["chosen"] else float("nan")
        name = f"smallest drop of 100 random instances by that of 100 chosen, {shape}"
        rows.append((name, "≥ 1.5", f"{ratio:.2f}", [ratio >= 1.5]))
    for drop, goal in ((10, 0.15), (5, 0.40)):
        for shape in ("shift", "lapse"):
            share = next(r["cost_share"] for r in study["gate"] if (r["drop"], r["shape"]) == (drop, shape))
            name = f"share of the full cost at a drop of {drop} points, {shape}"
            rows.append((name, f"≤ {goal:.0%}", f"{share:.0%}", [share <= goal]))
    unchanged = next(row["cost_share"] for row in study["gate"] if not row["drop"])
    rows.append(("the same where nothing changed", "≤ 50%", f"{unchanged:.0%}", [unchanged <= 0.5]))
    alarms = max(row["alarms_if_never_stopped"] for row in study["nulls"])
    rows.append(("false alarms at any look, the worst row below", "≤ 5%", f"{alarms:.1%}", [alarms <= 0.05]))
    lines = [
        "## Goals\n",
        "Set before the study was made:\n",
        "| what | goal | measured | met |\n|---|---:|---:|---|",
    ]
    for what, aim, value, met in rows:
        lines.append(f"| {what} | {aim} | {value} | {'yes' if all(met) else 'partly' if any(met) else 'no'} |")
    return "\n".join(lines) + "\n"


def _sized(rows: Sequence[dict[str, Any]], size: int) -> dict[str, Any]:
    return next(row for row in rows if row["size"] == size)


def _drop(points: float | None) -> str:
    return "none up to 40" if points is None else f"{points:.1f}"
