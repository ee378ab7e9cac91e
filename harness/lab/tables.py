"""Everything in results/replay from the recorded data, by one command; the summary is computed from the files written.

The data folder holds `outcomes/leaderboards-2025-12-10.json`, `outcomes/leaderboards-2026-02-26.json`,
`outcomes/experiments`, `outcomes/repeats_*.csv`, `tasks/swebench_verified.jsonl` and `swebench_multilingual.jsonl`.
Each part has its folder and a stamp in it (`harness.lab.stamps`): a part is kept while settings, data and code
are those it was made with, so that a stopped run goes on; else, and with `fresh`, it is made again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentUnavailableError, InputError
from harness.files import write_atomic
from harness.lab.stamps import differences, forget, keep, stamp

OLD, NEW = "outcomes/leaderboards-2025-12-10.json", "outcomes/leaderboards-2026-02-26.json"
TASKS, EXPERIMENTS = "tasks/swebench_verified.jsonl", "outcomes/experiments"
OTHER_TASKS = "tasks/swebench_multilingual.jsonl"
S3 = ("opus 4.5 medium", "gemini 3 pro", "claude 4.5 sonnet (20250929)")
SECOND_VERSION = "mini-swe-agent 2"
VARIANTS = ("cascade:prior=shared-difficulty",)
"""rows beside every policy by itself: item-response and cascade together"""
TRANSFERRED = ("cluster", "shared-difficulty")
TRANSFER_REPEATS = 2
ALSO_CALLED = {"MiniMax M2.5 (high reasoning)": "Minimax 2.5"}
"""models whose names on the two boards do not have the same words"""
NULL_CLUSTERS = 7
POOL_REPEATS = 1
CALIBRATIONS = {"cluster": ({"n_clusters": 3}, 200), "auto": ({}, 30)}
"""parameters and simulated pools per planted effect; a pool takes auto ten times as long"""
PARTS = ("s3", "labels", "transfer", "calibration-cluster", "pools", "pools-v2", "calibration-auto", "m12")
"""in the order they are made, the longest last"""
GROUPS = {"calibration": ("calibration-cluster", "calibration-auto")}


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
    calibration_pools: int | None = None,
    progress: Callable[[str], None] = print,
) -> str:
    """Make the parts that are missing or made otherwise, then README.md of all that is there. Returns the summary.

    Args:
        data: see above.
        out: folder of the parts.
        parts: of PARTS or GROUPS.
        policies: of s3 and m12; None takes all that route, and VARIANTS.
        pools: random pools.
        repeats: of the folds of s3 and m12; random pools have POOL_REPEATS, as their number does the same.
        workers: processes.
        fresh: make parts again that are there.
        null_sizes: a published router's cluster sizes for s3; its random counterpart is then in the results. Empty:
            NULL_CLUSTERS clusters of equal sizes.
        calibration_pools: simulated pools per planted effect; None takes those of CALIBRATIONS.
        progress: told each part.

    Raises:
        InputError: a file of `data` is missing, or a part has no such name.
    """
    if unknown := [part for part in parts if part not in PARTS and part not in GROUPS]:
        raise InputError(f"tables: no part {unknown[0]!r}; choose of {', '.join((*PARTS, *GROUPS))}")
    asked = [name for part in parts for name in GROUPS.get(part, (part,))]
    for name in (OLD, NEW, TASKS, *([OTHER_TASKS] if "transfer" in asked else [])):
        if not (data / name).is_file():
            raise InputError(f"{data / name}: no such file; the data folder is described in harness/lab/tables.py")
    makers = _makers(data, out, policies, pools, repeats, workers, null_sizes, calibration_pools, progress)
    stale = []
    for part, (settings, files, make) in makers.items():
        folder, wanted = out / part, stamp(settings, [data / name for name in files])
        changed = differences(folder, wanted)
        if part not in asked:
            if changed != [] and any(folder.glob("*.json")):
                stale.append(part)
        elif fresh or changed != []:
            progress(f"tables: {part}" + (f" (anew: other {', '.join(changed)})" if changed else ""))
            forget(folder)
            make()
            keep(folder, wanted)
        else:
            progress(f"tables: {part} is there, made with the same settings, data and code")
    summary = render_summary(out, stale)
    write_atomic(out / "README.md", summary)
    return summary


Maker = tuple[dict[str, Any], tuple[str, ...], Callable[[], object]]
"""settings, files of the data folder, and what makes the part of them"""


def _makers(
    data: Path,
    out: Path,
    policies: Sequence[str] | None,
    pools: int,
    repeats: int,
    workers: int,
    null_sizes: Sequence[int],
    calibration_pools: int | None,
    progress: Callable[[str], None],
) -> dict[str, Maker]:
    from router.policies import POLICIES, RECORDED_ONLY

    # the slowest first, so that no process is left alone with it
    routed = [*VARIANTS, *(name for name in POLICIES if name not in {*RECORDED_ONLY, "random"})]
    chosen = list(policies or routed)
    repeated = tuple(sorted(str(path.relative_to(data)) for path in (data / "outcomes").glob("repeats_*.csv")))
    # what may inform s3 is older than the second record anyway
    known = {"s3": (OLD, EXPERIMENTS), "m12": (OLD, NEW, EXPERIMENTS)}
    replayed = {"policies": chosen, "repeats": repeats}
    makers: dict[str, Maker] = {
        "s3": (
            {**replayed, "pool": S3, "null_sizes": list(null_sizes)},
            (*known["s3"], TASKS, *repeated),
            lambda: _replay(data, out / "s3", OLD, known["s3"], repeated, chosen, repeats, progress, null_sizes),
        ),
        "m12": (
            {**replayed, "pool": SECOND_VERSION},
            (*known["m12"], TASKS, *repeated),
            lambda: _replay(data, out / "m12", NEW, known["m12"], repeated, chosen, repeats, progress),
        ),
        "pools": (
            {"pools": pools, "repeats": POOL_REPEATS},
            (NEW, TASKS),
            lambda: _pools(data, out / "pools", None, pools, workers),
        ),
        "pools-v2": (
            {"pools": pools, "repeats": POOL_REPEATS, "agent": SECOND_VERSION},
            (NEW, TASKS),
            lambda: _pools(data, out / "pools-v2", SECOND_VERSION, pools, workers),
        ),
        "labels": (
            {"agent": SECOND_VERSION},
            (NEW, EXPERIMENTS, TASKS),
            lambda: _labels(data, out / "labels", workers),
        ),
        "transfer": (
            {"policies": TRANSFERRED, "repeats": TRANSFER_REPEATS, "also_called": ALSO_CALLED},
            (NEW, TASKS, OTHER_TASKS),
            lambda: _transfer(data, out / "transfer"),
        ),
    }
    for policy, (params, count) in CALIBRATIONS.items():
        number, folder = calibration_pools or count, out / f"calibration-{policy}"
        makers[folder.name] = (
            {"policy": policy, "params": params, "pools": number},
            (),
            lambda policy=policy, params=params, number=number, folder=folder: _calibrate(  # type: ignore[misc]
                folder, policy, params, number, workers
            ),
        )
    return makers


def _replay(
    data: Path,
    out: Path,
    source: str,
    known: Sequence[str],
    repeated: Sequence[str],
    policies: Sequence[str],
    repeats: int,
    progress: Callable[[str], None],
    null_sizes: Sequence[int] = (),
) -> None:
    from harness.data.instances import read_problem_statements
    from harness.importers import load_outcomes
    from harness.replay import replay
    from harness.report.figures import write_figures

    pool: list[str] = list(S3)
    if source == NEW:
        runs = load_outcomes([data / source]).runs
        pool = [run.name for run in runs if SECOND_VERSION in (run.agent or "") and run.board == "bash-only"]
    elif not null_sizes:
        n = len(read_problem_statements(data / TASKS))
        null_sizes = [n // NULL_CLUSTERS + (k < n % NULL_CLUSTERS) for k in range(NULL_CLUSTERS)]
    results = replay(
        [data / source], data / TASKS, pool=pool, policies=policies, repeats=repeats, out=out,
        auxiliary=[data / name for name in known if (data / name).exists()],
        repeats_from=[data / name for name in repeated], null_sizes=null_sizes, progress=progress, words=False,
    )  # fmt: skip
    try:
        write_figures(results, out / "figures")
    except EnvironmentUnavailableError as fault:
        progress(f"no figures: {fault}")


def _pools(data: Path, out: Path, agent: str | None, pools: int, workers: int) -> None:
    from harness.lab.pools import study_pools
    from harness.lab.recorded import recorded

    found = recorded([str(data / NEW)], str(data / TASKS), agent=agent)
    study_pools(
        found.outcomes, found.embeddings, data=found.name, pools=pools, repeats=POOL_REPEATS, workers=workers, out=out,
        show_bar=True,
    )  # fmt: skip


def _labels(data: Path, out: Path, workers: int) -> None:
    from harness.lab.labels import study_labels
    from harness.lab.recorded import recorded

    reference = [str(data / EXPERIMENTS)] if (data / EXPERIMENTS).is_dir() else []
    found = recorded([str(data / NEW)], str(data / TASKS), agent=SECOND_VERSION, reference=reference)
    study_labels(
        found.outcomes, found.reference, found.embeddings, data=found.name, known_before=found.known_before,
        workers=workers, out=out, show_bar=True,
    )  # fmt: skip


def _transfer(data: Path, out: Path) -> None:
    """m12 with what is recorded of the same models on the other benchmark."""
    from harness.importers import load_outcomes
    from harness.importers.same_model import model_words
    from harness.lab.recorded import joint
    from harness.lab.transfer import study_transfer

    runs = [run for run in load_outcomes([data / NEW]).runs if run.fault is None]
    pool = [run.name for run in runs if SECOND_VERSION in (run.agent or "") and run.board == "bash-only"]
    elsewhere = [run.name for run in runs if run.board == "Multilingual"]
    named = dict(ALSO_CALLED)
    for own in pool:
        for other in elsewhere:
            if model_words(own) == model_words(other):
                named.setdefault(own, other)
    pairs = [f"{own}={other}" for own, other in named.items() if own != other]
    here, there = joint([str(data / NEW)], str(data / TASKS), [str(data / NEW)], str(data / OTHER_TASKS), pool, pairs)
    study_transfer(
        here.outcomes, here.embeddings, there.outcomes, there.embeddings, policies=TRANSFERRED,
        repeats=TRANSFER_REPEATS, out=out,
    )  # fmt: skip


def _calibrate(folder: Path, policy: str, params: dict[str, Any], pools: int, workers: int) -> None:
    from harness.lab.calibration import Settings, calibrate

    calibrate(Settings(policy, params, pools=pools), workers=workers, out=folder / "calibration.json", show_bar=True)


def render_summary(out: Path, stale: Sequence[str] = ()) -> str:
    """README.md of the folder: what was to be shown and what came out, from the JSON files that are there.

    `stale` are parts that would be made otherwise now; the summary says so.
    """
    lines: list[Goal] = []
    lines += _replay_goals(_load(out / "s3/results.json"), "S3", 4.0, 0.64, None, null=True)
    lines += _replay_goals(_load(out / "m12/results.json"), "M12", 6.0, 0.25, 0.12, together=(392.0, 1.0))
    lines += _pool_goals(_load(out / "pools/pools.json"), "all runs")
    lines += _pool_goals(_load(out / "pools-v2/pools.json"), f"runs of {SECOND_VERSION}")
    lines += _label_goals(_load(out / "labels/labels.json"))
    lines += _transfer_goals(_load(out / "transfer/transfer.json"))
    for policy in CALIBRATIONS:
        lines += _calibration_goals(_load(out / f"calibration-{policy}/calibration.json"))
    table = [f"| {line.what} | {line.goal} | {line.measured} | {line.interval} |" for line in lines]
    return "\n".join(
        [
            "# What routing is worth on recorded outcomes",
            "",
            "Written by `polyswe lab tables --data DIR --out results/replay` (`make tables DATA=DIR`) from the JSON "
            "files beside it; every number is held out unless it says in-sample. Hull gain: mean resolved count over "
            "cost, up to the best single model's cost, minus that of mixtures of single models, in instances. Parity: "
            "least share of the best single model's cost at which its resolved count is reached. The best row among "
            "several policies is picked in hindsight: its p value is corrected for that by Holm's method. Intervals "
            "are 95 %, by bootstrap over instances (pools, newcomers, simulated pools: over those); p and Holm's p "
            "belong to Δ resolved, the difference to the best single model in hindsight. A calibrated claim is: one "
            "policy, raw p < 0.05 of its permutation null and a positive difference.",
            "",
            *([f"Made with other settings, data or code than now: {', '.join(stale)}.", ""] if stale else []),
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
    if document is None:
        return []
    singles = [row for row in document["rows"] if row["kind"] == "single" and row["cost_per_instance"]]
    rows = [
        row
        for row in document["rows"]
        if row["kind"] == "policy" and row["evaluation"] == "cross-fitted" and row.get("trade_off")
    ]
    import numpy as np

    prices = np.array([row["cost_per_instance"] for row in singles])
    rates = np.array([row["rate"] for row in singles])
    best = singles[int(np.lexsort((prices, -rates))[0])]
    goals = []
    for row in rows:
        traded, delta = row["trade_off"], row["vs_best_single"]
        p = "" if delta["p_value"] is None else f", p {delta['p_value']:.3f}"
        p += "" if delta.get("p_holm") is None else f" (Holm {delta['p_holm']:.3f})"
        measured = (
            f"resolved {row['resolved']:.1f} at {row['cost_per_instance'] / best['cost_per_instance']:.2f} ×; "
            f"hull gain {traded['hull_gain']:+.1f}; parity {_ratio(traded['parity'])}; "
            f"99 % at {_ratio(traded['at_99_percent'])}"
        )
        goal = f"hull gain ≥ {gain:+g}, parity ≤ {parity:g}" + ("" if share is None else f", 99 % at ≤ {share:g}")
        if row["name"] == VARIANTS[0] and together is not None:
            goal = f"≥ {together[0]:g} at ≤ {together[1]:g} ×"
        shown = goal if row["name"] in ("shared-difficulty", "cascade", *VARIANTS) else "–"
        low, high = traded["hull_gain_ci95"]
        interval = (
            f"Δ resolved {delta['delta']:+.1f} [{delta['ci95'][0]:+.1f}, {delta['ci95'][1]:+.1f}]{p}; hull gain "
            f"[{low:+.1f}, {high:+.1f}]; parity {_ratios(traded['parity_ci95'])}; "
            f"99 % at {_ratios(traded['at_99_percent_ci95'])}"
        )
        goals.append(Goal(f"{name}, {row['name']}", shown, measured, interval))
    for row in document["rows"]:
        if null and row["evaluation"] == "in-sample" and row.get("null"):
            what = f"{name}, {row['name']} in-sample, beside random clusters of its sizes"
            beside = f"{row['resolved']:.0f} beside {row['null']['mean']:.1f} ± {row['null']['sd']:.1f}"
            goals.append(Goal(what, "–", beside))
    found = document.get("null_of_sizes")
    if null and found is not None:
        reached, sizes = found["in_sample_random_clusters"], found["sizes"]
        of = "equal sizes" if max(sizes) - min(sizes) <= 1 else "the sizes given"
        goals.append(
            Goal(
                f"{name}, {len(sizes)} random clusters of {of}, in-sample",
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


def _transfer_goals(document: Any) -> list[Goal]:
    if document is None:
        return []
    return [
        Goal(
            f"M12, {row['policy']} with {document['transferred']} instances of another benchmark in training",
            "–",
            f"resolved {row['resolved_with']:.1f}, without {row['resolved_without']:.1f}: {row['verdict']}",
            f"difference {row['difference']:+.1f} [{row['difference_ci95'][0]:+.1f}, {row['difference_ci95'][1]:+.1f}]",
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


def _ratio(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"


def _ratios(interval: Sequence[float | None]) -> str:
    return f"[{', '.join(map(_ratio, interval))}]"
