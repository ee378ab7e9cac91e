"""README.md of results/replay: what came out, computed from the JSON files that are there."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError
from harness.lab.parts import CALIBRATIONS, GROUPS, SECOND_VERSION


@dataclass(frozen=True)
class Line:
    """A line of the summary."""

    what: str
    measured: str
    interval: str = "–"


def render_summary(out: Path, stale: Sequence[str] = ()) -> str:
    """The text of README.md.

    Args:
        out: The folder of the parts.
        stale: Parts that would be made otherwise now; the summary says so.

    Raises:
        InputError: a damaged file.
    """
    lines: list[Line] = []
    lines += _replay_lines(read_document(out / "s3/results.json"), "S3", null=True)
    lines += _replay_lines(read_document(out / "m12/results.json"), "M12")
    for name in GROUPS["hypernova"]:
        alone = _replay_lines(
            read_document(out / name / "results.json"), name.removeprefix("hypernova-").upper(), null=True
        )
        lines += [line for line in alone if "hypernova" in line.what]
    lines += _pool_lines(read_document(out / "pools/pools.json"), "all runs")
    lines += _pool_lines(read_document(out / "pools-v2/pools.json"), f"runs of {SECOND_VERSION}")
    lines += _label_lines(read_document(out / "labels/labels.json"))
    lines += _transfer_lines(read_document(out / "transfer/transfer.json"))
    for policy in CALIBRATIONS:
        lines += _calibration_lines(read_document(out / f"calibration-{policy}/calibration.json"))
    table = [f"| {line.what} | {line.measured} | {line.interval} |" for line in lines]
    return "\n".join(
        [
            "# What routing is worth on recorded outcomes",
            "",
            "Written by `polyswe lab tables --data DIR --out results/replay` (`make tables DATA=DIR`) from the JSON "
            "files beside it; every number is held out unless it says in-sample. Hull gain: mean resolved count over "
            "cost, up to the best single model's cost, minus that of mixtures of single models, in instances. Parity: "
            "least share of the best single model's cost at which its resolved count is reached. The best row among "
            "several policies is picked in hindsight: its p value is corrected for that by Holm's method. Intervals "
            "are 95 %, by bootstrap over instances (pools, newcomers, simulated pools: over those). Δ resolved "
            "is the difference to the best single model in hindsight, vs constants that to the mixture of single "
            "models that costs as much; p (text) tests whether reading the issue text, or "
            "(cascade) the finished attempt, helps (permutation null). A calibrated claim is: one policy, raw p (text) "
            "< 0.05, a positive difference.",
            "",
            *([f"Made with other settings, data or version than now: {', '.join(stale)}.", ""] if stale else []),
            "| what | measured | interval |",
            "|---|---|---|",
            *table,
            "",
        ]
    )


def read_document(path: Path) -> Any:
    """A JSON file of the results; None where there is none.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: damaged ({error.msg}); remove it and make it again") from None


def _replay_lines(document: Any, name: str, *, null: bool = False) -> list[Line]:
    if document is None:
        return []
    singles = [row for row in document["rows"] if row["kind"] == "single" and row["cost_per_instance"]]
    rows = [
        row
        for row in document["rows"]
        if row["kind"] == "policy" and row["evaluation"] == "cross-fitted" and row.get("trade_off")
    ]
    prices = np.array([row["cost_per_instance"] for row in singles])
    rates = np.array([row["rate"] for row in singles])
    best = singles[int(np.lexsort((prices, -rates))[0])]
    lines = []
    for row in rows:
        traded, delta = row["trade_off"], row["vs_best_single"]
        p = "" if delta["p_text"] is None else f", p (text) {delta['p_text']:.3f}"
        p += "" if delta["p_text_holm"] is None else f" (Holm {delta['p_text_holm']:.3f})"
        measured = (
            f"resolved {row['resolved']:.1f} at {row['cost_per_instance'] / best['cost_per_instance']:.2f} ×; "
            f"hull gain {traded['hull_gain']:+.1f}; parity {_ratio(traded['parity'])}; "
            f"99 % at {_ratio(traded['at_99_percent'])}"
        )
        low, high = traded["hull_gain_ci95"]
        interval = (
            f"Δ resolved {delta['delta']:+.1f} [{delta['ci95'][0]:+.1f}, {delta['ci95'][1]:+.1f}]{p}; "
            f"{_against_constants(row)}hull gain "
            f"[{low:+.1f}, {high:+.1f}]; parity {_ratios(traded['parity_ci95'])}; "
            f"99 % at {_ratios(traded['at_99_percent_ci95'])}"
        )
        lines.append(Line(f"{name}, {row['name']}", measured, interval))
    for row in document["rows"]:
        if null and row["evaluation"] == "in-sample" and row.get("null"):
            what = f"{name}, {row['name']} in-sample, beside random clusters of its sizes"
            beside = f"{row['resolved']:.0f} beside {row['null']['mean']:.1f} ± {row['null']['sd']:.1f}"
            lines.append(Line(what, beside))
    of_sizes = document.get("null_of_sizes")
    if null and of_sizes is not None:
        reached, sizes = of_sizes["in_sample_random_clusters"], of_sizes["sizes"]
        of = "equal sizes" if max(sizes) - min(sizes) <= 1 else "the sizes given"
        lines.append(
            Line(
                f"{name}, {len(sizes)} random clusters of {of}, in-sample",
                f"{reached['mean']:.1f} ± {reached['sd']:.1f}",
            )
        )
    oracle = document["complementarity"]
    repeatable = oracle.get("repeatable_oracle")
    if repeatable is not None:
        low, high = repeatable.get("resolved_ci95") or (math.nan, math.nan)
        lines.append(
            Line(
                f"{name}, repeatable oracle (any-model oracle {oracle['oracle']})",
                f"{repeatable['resolved']:.1f}, {repeatable['repeatable_share']:.0%} of the interaction repeats",
                f"[{low:.1f}, {high:.1f}]",
            )
        )
    return lines


def _against_constants(row: Any) -> str:
    """Empty in documents of earlier versions."""
    versus = row.get("vs_constants")
    if versus is None:
        return ""
    low, high = versus["ci95"]
    return f"vs constants {versus['delta']:+.1f} [{low:+.1f}, {high:+.1f}]; "


def _pool_lines(document: Any, name: str) -> list[Line]:
    if document is None:
        return []
    count, near = document["settings"]["pools"], document["near_equal_in_hindsight_cost_ratio"]
    return [
        Line(
            f"{count} random pools of {name}, {row['policy']}",
            f"Δ {row['mean_delta']:+.2f}, 5 % quantile {row['lowest_5_percent']:+.1f}, cost "
            f"{row['mean_cost_ratio']:.2f} × (near-equal single in hindsight {near:.2f} ×)",
            f"Δ [{row['mean_delta_ci95'][0]:+.2f}, {row['mean_delta_ci95'][1]:+.2f}], cost "
            f"[{row['mean_cost_ratio_ci95'][0]:.2f}, {row['mean_cost_ratio_ci95'][1]:.2f}]",
        )
        for row in document["rows"]
    ]


def _label_lines(document: Any) -> list[Line]:
    if document is None:
        return []
    return [
        Line(
            f"new model, {row['labels']} labels, error of its rate in points",
            f"{row['error']:.2f} (random instances {row['random_error']:.2f}); router's regret {row['regret']:+.1f}",
            f"[{row['error_ci95'][0]:.2f}, {row['error_ci95'][1]:.2f}]; regret "
            f"[{row['regret_ci95'][0]:+.1f}, {row['regret_ci95'][1]:+.1f}]",
        )
        for row in document["rows"]
    ]


def _transfer_lines(document: Any) -> list[Line]:
    if document is None:
        return []
    return [
        Line(
            f"M12, {row['policy']} with {document['transferred']} instances of another benchmark in training",
            f"resolved {row['resolved_with']:.1f}, without {row['resolved_without']:.1f}: {row['verdict']}",
            f"difference {row['difference']:+.1f} [{row['difference_ci95'][0]:+.1f}, {row['difference_ci95'][1]:+.1f}]",
        )
        for row in document["rows"]
    ]


def _calibration_lines(document: Any) -> list[Line]:
    if document is None:
        return []
    policy = document["settings"]["policy"]
    lines = []
    for row in document["shares"]:
        nothing = row["planted_points"] == 0
        what = "false claims" if nothing else f"power at {row['planted_points']:g} planted points"
        lines.append(
            Line(
                f"{policy}, {what}, {row['pools']} simulated pools",
                f"{row['share']:.1%}",
                f"[{row['ci95'][0]:.1%}, {row['ci95'][1]:.1%}]",
            )
        )
    return lines


def _ratio(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"


def _ratios(interval: Sequence[float | None]) -> str:
    return f"[{', '.join(map(_ratio, interval))}]"
