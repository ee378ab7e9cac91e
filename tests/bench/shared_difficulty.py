"""Measure the item-response router on recorded runs: cost–quality against single models, and rates from few labels.

    python tests/bench/shared_difficulty.py ../shared/data [--embeddings FILE.npz] [--folds 10] [--repeats 10]

Pools: S3 and M12. Auxiliary: every other sound run of the boards and of SWE-bench/experiments, repeats left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter

import numpy as np

from harness.importers import load_outcomes, outcome_matrix
from router.auxiliary import without_repeats
from router.clustering import one_thread
from router.decision import decide
from router.lab.anchors import ReferenceRuns
from router.lab.crossfit import DEFAULT_COST_WEIGHTS, fit_features, folds
from router.lab.curves import aiq, best_point, cost_ratio_at, hull, hull_gain, qnc
from router.outcomes import OutcomeMatrix
from router.policies import make_policy

S3 = ["Claude 4.5 Opus medium (20251101)", "Gemini 3 Pro Preview (2025-11-18)", "Claude 4.5 Sonnet (20250929)"]


def read(data: Path) -> tuple[list[str], list[str], OutcomeMatrix, list[str]]:
    """Instance ids, statements, every sound run on all of them, and the names of M12."""
    rows = [json.loads(line) for line in (data / "tasks" / "swebench_verified.jsonl").read_text().splitlines()]
    ids = [row["instance_id"] for row in rows]
    boards = [data / "outcomes" / f"leaderboards-{date}.json" for date in ("2026-02-26", "2025-12-10")]
    runs = [run for run in load_outcomes(boards).runs if run.fault is None and len(run.cells.keys() & set(ids)) == 500]
    matrix, _ = outcome_matrix(runs, [run.name for run in runs], ids)
    recorded = sorted((data / "outcomes" / "experiments" / "evaluation" / "verified").glob("*/results/results.json"))
    solved = [set(json.loads(path.read_text())["resolved"]) for path in recorded]
    unknown = np.full((len(ids), len(solved)), np.nan)
    everything = OutcomeMatrix.build(
        ids,
        [*matrix.models, *(path.parts[-3] for path in recorded)],
        np.hstack([matrix.resolved, [[float(i in run) for run in solved] for i in ids]]),
        np.hstack([matrix.cost, unknown]),
        np.hstack([matrix.calls, unknown]),
    )
    m12 = [run.name for run in runs if (run.agent or "").endswith("2.0.0")]
    return ids, [row["problem_statement"] for row in rows], everything, m12


def routing(label: str, pool: list[str], everything: OutcomeMatrix, X, splits, draws: int) -> None:
    outcomes = everything.pool(pool)
    others = everything.pool([name for name in everything.models if name not in pool])
    auxiliary, dropped = without_repeats(others, outcomes)
    n, weights = len(outcomes), DEFAULT_COST_WEIGHTS
    resolved, cost = np.zeros((len(weights), n)), np.zeros((len(weights), n))
    started = perf_counter()
    policy = make_policy("shared-difficulty")
    with one_thread():
        for parts, policies in zip(splits, fit_features(policy, X, splits), strict=True):
            for (train, test), fold_policy in zip(parts, policies, strict=True):
                fold_policy.fit_outcomes(outcomes.take(train), auxiliary.take(train))
                brought = decide(fold_policy, X, outcomes, test, weights)[1]
                resolved[:, test] += brought[0] / len(splits)
                cost[:, test] += brought[1] / len(splits)
    seconds = perf_counter() - started

    means = outcomes.cost.mean(axis=0), outcomes.resolved.mean(axis=0)
    best, cheapest = best_point(*means), int(np.argmin(means[0]))

    def figures(rows) -> tuple[float, float, float, float]:
        singles = outcomes.cost[rows].mean(axis=0), outcomes.resolved[rows].mean(axis=0)
        curve = cost[:, rows].mean(axis=1), resolved[:, rows].mean(axis=1)
        # the best single stays the same in every draw: a comparison with one model, not with each draw's luckiest
        low, high, goal = singles[0][cheapest], singles[0][best], singles[1][best]
        return (
            n * (curve[1][0] - goal),
            n * (aiq(*curve, low, high) - aiq(*singles, low, high)),
            qnc(*hull(*curve), high, goal),
            qnc(*hull(*curve), high, 0.99 * goal),
        )

    rng = np.random.default_rng(0)
    boot = np.array([figures(rng.integers(n, size=n)) for _ in range(draws)])
    print(f"\n{label}: {len(pool)} models, {len(auxiliary.models)} auxiliary runs (repeats left out: {dropped})")
    print(f"  best single {outcomes.resolved[:, best].sum():.0f} at ${means[0][best]:.3f}; {seconds:.1f} s")
    point = figures(np.arange(n))
    curve = cost.mean(axis=1), resolved.mean(axis=1)
    assert np.isclose(point[1], n * hull_gain(*curve, *means))
    assert point[2] == cost_ratio_at(*curve, *means)
    print(f"  lambda 0: {resolved[0].sum():.1f} resolved at {cost[0].mean() / means[0][best]:.2f} x its cost")
    for k, name in enumerate(("gain at lambda 0", "hull gain", "parity", "99 % at")):
        low, high = np.quantile(boot[:, k], [0.025, 0.975], method="nearest")
        share = f", P(<= 0) {np.mean(boot[:, k] <= 0):.3f}" if k < 2 else ""
        print(f"  {name:17} {point[k]:+.2f} [{low:+.2f}, {high:+.2f}]{share}")


def few_labels(pool: list[str], everything: OutcomeMatrix, repeats: int) -> None:
    print("\nrate of a new model, leave-one-model-out: mean |error| (bias), points; coverage of the 95 % interval")
    errors: dict[tuple[int, str], list[float]] = {}
    covered: dict[tuple[int, str], list[bool]] = {}
    for number, name in enumerate(pool):
        alone = everything.pool([name])
        others, _ = without_repeats(everything.pool([m for m in everything.models if m != name]), alone)
        reference, y = ReferenceRuns(others.resolved), alone.resolved[:, 0]
        for n in (20, 40, 80, 160):
            rng = np.random.default_rng([number, n])
            draws = [("random", rng.choice(len(y), n, replace=False)) for _ in range(repeats)]
            for kind, rows in [*draws, ("anchors", reference.choose_anchors(n))]:
                labels = np.full(len(y), np.nan)
                labels[rows] = y[rows]
                found = reference.estimate(labels)
                errors.setdefault((n, kind), []).append(100 * (found.rate - y.mean()))
                covered.setdefault((n, kind), []).append(found.low <= y.mean() <= found.high)
                if kind == "random":
                    errors.setdefault((n, "random, plain mean"), []).append(100 * (y[rows].mean() - y.mean()))
    for (n, kind), values in errors.items():
        inside = f"{np.mean(covered[n, kind]):.2f}" if (n, kind) in covered else "-"
        print(f"  n={n:<4}{kind:20} {np.abs(values).mean():.2f} ({np.mean(values):+.2f})  {inside}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--embeddings", type=Path, help=".npz with X (500, d), in the order of the tasks")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", choices=["routing", "few-labels"])
    args = parser.parse_args()
    ids, texts, everything, m12 = read(args.data)
    if args.only != "few-labels":
        if args.embeddings:
            X = np.load(args.embeddings)["X"]
        else:
            from router.embedding import Embedder

            X = Embedder().encode(texts)
        splits = folds(len(ids), args.folds, args.repeats)
        routing("S3", S3, everything, X.astype(np.float64), splits, args.draws)
        routing("M12", m12, everything, X.astype(np.float64), splits, args.draws)
    if args.only != "routing":
        few_labels(m12, everything, 50)


if __name__ == "__main__":
    main()
