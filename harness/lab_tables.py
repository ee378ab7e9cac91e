"""Everything in results/replay from the recorded data, by one command; the summary is computed from the files written.

The data folder holds `outcomes/leaderboards-2025-12-10.json`, `outcomes/leaderboards-2026-02-26.json`,
`outcomes/experiments`, `outcomes/repeats_*.csv` and `tasks/swebench_verified.jsonl`. Parts that are there already are
kept unless `fresh` is asked for, so that a stopped run goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.files import write_atomic

OLD, NEW = "outcomes/leaderboards-2025-12-10.json", "outcomes/leaderboards-2026-02-26.json"
TASKS, EXPERIMENTS = "tasks/swebench_verified.jsonl", "outcomes/experiments"
S3 = ("opus 4.5 medium", "gemini 3 pro", "claude 4.5 sonnet (20250929)")
SECOND_VERSION = "mini-swe-agent 2"
PARTS = ("s3", "m12", "pools", "pools-v2", "labels")


@dataclass(frozen=True)
class Goal:
    """A line of the summary."""

    what: str
    goal: str
    measured: str
    interval: str = "–"


def write_tables(
    data: Path,
    out: Path,
    *,
    parts: Sequence[str] = PARTS,
    policies: Sequence[str] | None = None,
    pools: int = 100,
    repeats: int = 10,
    workers: int = 2,
    fresh: bool = False,
    null_sizes: Sequence[int] = (),
    progress: Callable[[str], None] = print,
) -> str:
    """Make the parts that are missing under `out`, then README.md of all that is there. Returns the summary.

    `null_sizes` are a published router's cluster sizes for s3, whose random counterpart is then in its results.

    Raises:
        InputError: a file of `data` is missing, or a part has no such name.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise InputError(f"tables: no part {unknown[0]!r}; choose of {', '.join(PARTS)}")
    for name in (OLD, NEW, TASKS):
        if not (data / name).is_file():
            raise InputError(f"{data / name}: no such file; the data folder is described in harness/lab_tables.py")
    makers: dict[str, tuple[str, Callable[[], object]]] = {
        "s3": ("results.json", lambda: _replay(data, out / "s3", OLD, policies, repeats, progress, null_sizes)),
        "m12": ("results.json", lambda: _replay(data, out / "m12", NEW, policies, repeats, progress)),
        "pools": ("pools.json", lambda: _pools(data, out / "pools", None, pools, repeats, workers)),
        "pools-v2": ("pools.json", lambda: _pools(data, out / "pools-v2", SECOND_VERSION, pools, repeats, workers)),
        "labels": ("labels.json", lambda: _labels(data, out / "labels", workers)),
    }
    for part in parts:
        name, make = makers[part]
        if fresh or not (out / part / name).is_file():
            progress(f"tables: {part}")
            make()
    summary = render_summary(out)
    write_atomic(out / "README.md", summary)
    return summary


def _replay(
    data: Path,
    out: Path,
    source: str,
    policies: Sequence[str] | None,
    repeats: int,
    progress: Callable[[str], None],
    null_sizes: Sequence[int] = (),
) -> None:
    from harness.importers import load_outcomes
    from harness.replay import replay
    from router.policies import POLICIES, RECORDED_ONLY

    pool: list[str] = list(S3)
    if source == NEW:
        runs = load_outcomes([data / source]).runs
        pool = [run.name for run in runs if SECOND_VERSION in (run.agent or "") and run.board == "bash-only"]
    routed = [name for name in POLICIES if name not in {*RECORDED_ONLY, "random"}]
    auxiliary = [data / OLD, data / NEW, *([data / EXPERIMENTS] if (data / EXPERIMENTS).is_dir() else [])]
    # an auxiliary run must not be later than the pool's: nobody could have known it
    auxiliary = auxiliary if source == NEW else [auxiliary[0], *auxiliary[2:]]
    replay(
        [data / source], data / TASKS, pool=pool, policies=policies or routed, repeats=repeats, out=out,
        auxiliary=auxiliary, repeats_from=sorted((data / "outcomes").glob("repeats_*.csv")),
        null_sizes=null_sizes, progress=progress, words=False,
    )  # fmt: skip


def _pools(data: Path, out: Path, agent: str | None, pools: int, repeats: int, workers: int) -> None:
    from harness.lab_data import recorded
    from harness.lab_pools import study_pools

    found = recorded([str(data / NEW)], str(data / TASKS), agent=agent)
    study_pools(
        found.outcomes, found.embeddings, data=found.name, pools=pools, repeats=repeats, workers=workers, out=out,
        show_bar=True,
    )  # fmt: skip


def _labels(data: Path, out: Path, workers: int) -> None:
    from harness.lab_data import recorded
    from harness.lab_labels import study_labels

    reference = [str(data / EXPERIMENTS)] if (data / EXPERIMENTS).is_dir() else []
    found = recorded([str(data / NEW)], str(data / TASKS), agent=SECOND_VERSION, reference=reference)
    study_labels(
        found.outcomes, found.reference, found.embeddings, data=found.name, workers=workers, out=out, show_bar=True
    )


def render_summary(out: Path) -> str:
    """README.md of the folder: what was to be shown and what came out, from the JSON files that are there."""
    lines: list[Goal] = []
    lines += _replay_goals(_load(out / "s3/results.json"), "S3", 4.0, 0.64, None, null=True)
    lines += _replay_goals(_load(out / "m12/results.json"), "M12", 6.0, 0.25, 0.12, together=(392.0, 1.0))
    lines += _pool_goals(_load(out / "pools/pools.json"), "all runs")
    lines += _pool_goals(_load(out / "pools-v2/pools.json"), f"runs of {SECOND_VERSION}")
    lines += _label_goals(_load(out / "labels/labels.json"))
    for file in sorted(out.glob("calibration*.json")):
        lines += _calibration_goals(_load(file))
    table = [f"| {line.what} | {line.goal} | {line.measured} | {line.interval} |" for line in lines]
    return "\n".join(
        [
            "# What routing is worth on recorded outcomes",
            "",
            "Written by `polyswe lab tables --data DIR --out results/replay` (`make tables DATA=DIR`) from the JSON "
            "files beside it; every number is held out unless it says in-sample. Hull gain: mean resolved count over "
            "cost, up to the best single model's cost, minus that of mixtures of single models, in instances. Parity: "
            "least share of the best single model's cost at which its resolved count is reached. The best row among "
            "several policies is picked in hindsight: its p value is corrected for that by Holm's method.",
            "",
            "| what | goal | measured | interval |",
            "|---|---|---|---|",
            *table,
            "",
        ]
    )


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: damaged ({error.msg}); remove it and make it again") from None


def _replay_goals(
    document: Any,
    name: str,
    gain: float,
    parity: float,
    share: float | None,
    *,
    null: bool = False,
    together: tuple[float, float] | None = None,
) -> list[Goal]:
    from router.curves import cost_ratio_at, hull_gain

    if document is None:
        return []
    n = document["instances"]
    singles = [row for row in document["rows"] if row["kind"] == "single" and row["cost_per_instance"]]
    rows = [
        row
        for row in document["rows"]
        if row["kind"] == "policy" and row["evaluation"] == "cross-fitted" and row.get("curve")
    ]
    import numpy as np

    prices = np.array([row["cost_per_instance"] for row in singles])
    rates = np.array([row["rate"] for row in singles])
    best = singles[int(np.lexsort((prices, -rates))[0])]
    goals = []
    for row in rows:
        cost = np.array([point["cost"] for point in row["curve"]])
        rate = np.array([point["rate"] for point in row["curve"]])
        delta = row["vs_best_single"]
        p = "" if delta["p_value"] is None else f", p {delta['p_value']:.3f}"
        p += "" if delta.get("p_holm") is None else f" (Holm {delta['p_holm']:.3f})"
        added = n * hull_gain(cost, rate, prices, rates)
        par, nearly = (_ratio(cost_ratio_at(cost, rate, prices, rates, part)) for part in (1.0, 0.99))
        measured = (
            f"resolved {row['resolved']:.1f} at {row['cost_per_instance'] / best['cost_per_instance']:.2f} ×; "
            f"hull gain {added:+.1f}; parity {par}; 99 % at {nearly}"
        )
        goal = f"hull gain ≥ {gain:+g}, parity ≤ {parity:g}" + ("" if share is None else f", 99 % at ≤ {share:g}")
        if row["name"] == "cascade" and together is not None:
            goal = f"≥ {together[0]:g} at ≤ {together[1]:g} ×"
        shown = goal if row["name"] in ("shared-difficulty", "cascade") else "–"
        interval = f"Δ {delta['delta']:+.1f} [{delta['ci95'][0]:+.1f}, {delta['ci95'][1]:+.1f}]{p}"
        goals.append(Goal(f"{name}, {row['name']}", shown, measured, interval))
    for row in document["rows"]:
        if null and row["evaluation"] == "in-sample" and row.get("null"):
            what = f"{name}, {row['name']} in-sample, beside random clusters of its sizes"
            beside = f"{row['resolved']:.0f} beside {row['null']['mean']:.1f} ± {row['null']['sd']:.1f}"
            goals.append(Goal(what, "–", beside))
    found = document.get("null_of_sizes")
    if null and found is not None:
        reached = found["in_sample_random_clusters"]
        goals.append(
            Goal(
                f"{name}, {len(found['sizes'])} random clusters of the sizes given, in-sample",
                "378.8 ± 2.4",
                f"{reached['mean']:.1f} ± {reached['sd']:.1f}",
            )
        )
    oracle = document["complementarity"]
    repeatable = oracle.get("repeatable_oracle")
    if repeatable is not None:
        low, high = repeatable.get("resolved_ci95") or (math.nan, math.nan)
        goals.append(
            Goal(
                f"{name}, repeatable oracle (any-model oracle {oracle['oracle']})",
                "–",
                f"{repeatable['resolved']:.1f}, {repeatable['repeatable_share']:.0%} of the interaction repeats",
                f"[{low:.1f}, {high:.1f}]",
            )
        )
    return goals


def _pool_goals(document: Any, name: str) -> list[Goal]:
    if document is None:
        return []
    count, near = document["settings"]["pools"], document["near_equal_in_hindsight_cost_ratio"]
    return [
        Goal(
            f"{count} random pools of {name}, {row['policy']}",
            "Δ ≥ −1, 5 % of pools ≥ −5, cost ≤ 0.7 ×" if row["policy"] == "auto" else "–",
            f"Δ {row['mean_delta']:+.2f}, 5 % quantile {row['lowest_5_percent']:+.1f}, cost "
            f"{row['mean_cost_ratio']:.2f} × (near-equal single in hindsight {near:.2f} ×)",
            f"Δ [{row['mean_delta_ci95'][0]:+.2f}, {row['mean_delta_ci95'][1]:+.2f}], cost "
            f"[{row['mean_cost_ratio_ci95'][0]:.2f}, {row['mean_cost_ratio_ci95'][1]:.2f}]",
        )
        for row in document["rows"]
    ]


def _label_goals(document: Any) -> list[Goal]:
    if document is None:
        return []
    goals = document["goal_error_points"]
    return [
        Goal(
            f"new model, {row['labels']} labels, error of its rate in points",
            f"≤ {goals[str(row['labels'])]}" if str(row["labels"]) in goals else "–",
            f"{row['error']:.2f} (random instances {row['random_error']:.2f}); router's regret {row['regret']:+.1f}",
            f"[{row['error_ci95'][0]:.2f}, {row['error_ci95'][1]:.2f}]; regret "
            f"[{row['regret_ci95'][0]:+.1f}, {row['regret_ci95'][1]:+.1f}]",
        )
        for row in document["rows"]
    ]


def _calibration_goals(document: Any) -> list[Goal]:
    if document is None:
        return []
    policy, goals = document["settings"]["policy"], document["goals"]
    found = []
    for row in document["shares"]:
        nothing = row["planted_points"] == 0
        what = "false claims" if nothing else f"power at {row['planted_points']:g} planted points"
        limit = goals["false_claims_at_most"] if nothing else goals["found_at_least"]
        found.append(
            Goal(
                f"{policy}, {what}, {row['pools']} simulated pools",
                f"{'≤' if nothing else '≥'} {limit:.0%}",
                f"{row['share']:.1%}",
                f"[{row['ci95'][0]:.1%}, {row['ci95'][1]:.1%}]",
            )
        )
    return found


def _ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "never"
