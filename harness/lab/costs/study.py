"""`polyswe lab costs`: everything in results/costs from recorded runs, by one command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from harness.data.embeddings import embed_texts
from harness.data.instances import read_problem_statements, repository_of
from harness.errors import InputError
from harness.files import write_atomic
from harness.importers import load_outcomes, outcome_matrix
from harness.lab.costs.difficulty import DifficultyRow, difficulty_rows, shared_ratings
from harness.lab.costs.forecasts import TRIALS, ForecastRow, forecast_rows
from harness.lab.costs.pairs import LEAST_RATE, LEAST_RATIO, OrderRow, Pair, held_out_costs, order_row, pairs_of
from harness.lab.costs.pools import RANDOM_POOLS, PoolRow, RandomPools, pool_rows, random_pools
from harness.lab.costs.text import render
from router.arrays import FloatArray
from router.clustering import one_thread
from router.lab.crossfit import Folds, folds, group_folds
from router.outcomes import OutcomeMatrix

SOURCES = ("outcomes/leaderboards-2025-12-10.json", "outcomes/leaderboards-2026-02-26.json")
"""In the data folder."""
TASKS = "tasks/swebench_verified.jsonl"
RATINGS = "routing2026/llm_judge_features.csv"
"""A language model's ratings of the issues, where the data folder has them."""
RATED = 15
"""The first columns of the ratings, made from the issue's text alone."""
FOLDS = 10
"""Of the cross-fitting by instance."""
SHUFFLES = 10
"""Of the texts among the instances: what the method gains by chance."""
PUBLISHED: dict[tuple[str, str], float] = {
    ("MiniMax M2.5 (high reasoning)", "Claude 4.5 Opus (high reasoning)"): 4.635,
    ("GPT-5 mini (2025-08-07) (medium reasoning)", "Claude 4.5 Opus (high reasoning)"): 3.453,
    ("DeepSeek V3.2 Reasoner", "Claude 4.5 Opus (high reasoning)"): 6.36,
    ("Kimi K2.5 (high reasoning)", "Claude 4.5 Opus (high reasoning)"): 3.728,
    ("GPT-5 Mini", "Claude 4.5 Opus (high reasoning)"): 5.43,
    ("Gemini 3 Pro Preview (2025-11-18)", "Claude 4.5 Opus (high reasoning)"): 3.982,
}
"""Gains by instance that the study of 27 pairs found, for those of its pairs whose costs are in these records."""


@dataclass(frozen=True, eq=False)
class Records:
    """What the study starts from."""

    outcomes: OutcomeMatrix
    """(n, m) complete, with all costs."""
    text: FloatArray
    """(n, d) embeddings."""
    repositories: tuple[str, ...]
    """(n,)"""
    agents: tuple[str, ...]
    """(m,) agent and version."""
    ratings: FloatArray | None = None
    """(n, r) standardised."""
    rating_names: tuple[str, ...] = ()
    """(r,)"""


def read_records(data: Path) -> Records:
    """Every sound run of `SOURCES` that knows verdict and cost of every instance.

    Raises:
        InputError: a file is missing or damaged.
    """
    for name in (*SOURCES, TASKS):
        if not (data / name).is_file():
            raise InputError(f"{data / name}: no such file; the study needs it in the data folder")
    statements = read_problem_statements(str(data / TASKS))
    ids = list(statements)
    runs = [
        run
        for run in load_outcomes([data / name for name in SOURCES]).runs
        if run.fault is None and all(i in run.cells and run.cells[i].cost_usd is not None for i in ids)
    ]
    if not runs:
        raise InputError(f"{data}: no recorded run has a cost for every instance")
    outcomes, _ = outcome_matrix(runs, None, ids)
    agents = {run.name: run.agent or "" for run in runs}
    ratings, rating_names = _ratings(data / RATINGS, outcomes.instances)
    return Records(
        outcomes=outcomes,
        text=np.asarray(embed_texts([statements[i] for i in outcomes.instances], show_bar=True), dtype=np.float64),
        repositories=tuple(map(repository_of, outcomes.instances)),
        agents=tuple(agents[name] for name in outcomes.models),
        ratings=ratings,
        rating_names=rating_names,
    )


def _ratings(path: Path, instances: Sequence[str]) -> tuple[FloatArray | None, tuple[str, ...]]:
    """(n, r) and the ratings' names; None without a file."""
    if not path.is_file():
        return None, ()
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row.pop("instance_id"): row for row in csv.DictReader(file)}
    names = tuple(next(iter(rows.values())))[:RATED]
    table = np.array([[float(rows[instance][name]) for name in names] for instance in instances])
    return np.asarray((table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-9)), names


@dataclass(frozen=True)
class CostStudy:
    """What `costs.json` holds; gains in resolved instances of all `instances`."""

    gain: float
    """Of the published order over all pairs, by instance."""
    gain_ci95: tuple[float, float]
    pairs: int
    pairs_positive: int
    gain_unseen_repositories: float
    gain_unseen_repositories_ci95: tuple[float, float]
    gain_shuffled: float
    gain_true_cost: float
    gain_true_cost_ci95: tuple[float, float]
    gain_leader: float
    """Over the pairs whose dear model resolves most of all runs."""
    gain_leader_ci95: tuple[float, float]
    instances: int
    runs: int
    settings: dict[str, object]
    orders: tuple[OrderRow, ...]
    gain_by_advantage: float
    """Correlation over all pairs: of the gain with how many more the dear model resolves."""
    published: dict[str, float]
    """Gain by pair in the earlier study."""
    reproduced: dict[str, float]
    """And in this one."""
    pools: tuple[PoolRow, ...]
    random_pools: tuple[RandomPools, ...]
    forecasts: tuple[ForecastRow, ...]
    difficulty: tuple[DifficultyRow, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def study_costs(
    data: Path,
    out: Path,
    *,
    repeats: int = 10,
    random: int = RANDOM_POOLS,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> CostStudy:
    """Measure all there is and write costs.json and README.md to `out`.

    Args:
        data: Folder with `SOURCES` and `TASKS`.
        out: Folder to write.
        repeats: How often the folds by instance are drawn.
        random: Number of random pools.
        seed: Of folds, shuffles and intervals.
        progress: Called before each part.

    Raises:
        InputError: a file is missing or damaged.
    """
    records = read_records(data)
    with one_thread():
        study = measure(records, repeats=repeats, random=random, seed=seed, progress=progress)
    write_atomic(out / "costs.json", study.to_json())
    write_atomic(out / "README.md", render(json.loads(study.to_json())))
    return study


def measure(
    records: Records,
    *,
    repeats: int = 10,
    random: int = RANDOM_POOLS,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> CostStudy:
    """The study of some records, without reading or writing a file."""
    outcomes, n = records.outcomes, len(records.outcomes)
    pairs = pairs_of(outcomes)
    if not pairs:
        raise InputError(f"no two of {len(outcomes.models)} runs are a cheap and a dear model")
    leader = int(outcomes.resolved.sum(axis=0).argmax())
    column = {name: k for k, name in enumerate(outcomes.models)}
    again = [Pair(column[a], column[b]) for a, b in PUBLISHED if a in column and b in column]
    groups = {"all pairs": pairs, "the dear model is the leader": [pair for pair in pairs if pair.dear == leader]}
    by_instance = folds(n, FOLDS, repeats, seed)
    by_repository = group_folds(records.repositories)
    rows: list[OrderRow] = []

    def rows_of(order: str, split: str, predicted: FloatArray, *, own: bool = False) -> None:
        """`predicted` (repeats, n, m) USD; `own`: the cheap model's predicted cost is subtracted."""
        for group, some in groups.items():
            if some:
                rows.append(
                    order_row(
                        outcomes,
                        some,
                        lambda pair: predicted[:, :, pair.dear] - (predicted[:, :, pair.cheap] if own else 0.0),
                        predicted=predicted,
                        name=(order, split, group),
                        seed=seed,
                    )
                )

    text: FloatArray | None = None
    for order, split, X, splits in _feature_sets(records, by_instance, by_repository):
        progress(f"{order}, {split}")
        predicted = held_out_costs(X, outcomes.cost, splits)
        rows_of(order, split, predicted)
        if order == "issue text":
            rows_of("issue text, extra cost over the cheap model", split, predicted, own=True)
            apart = held_out_costs(X, outcomes.cost, splits, level=False)
            rows_of("issue text, each fold at its training mean", split, apart)
            text = predicted if text is None else text
    assert text is not None
    progress("shuffled texts")
    rng = np.random.default_rng([seed, 1])
    shuffled = [
        held_out_costs(records.text[rng.permutation(n)], outcomes.cost, by_instance[:1])[0] for _ in range(SHUFFLES)
    ]
    rows_of("text of another instance", "by instance", np.array(shuffled))
    rows_of("true cost", "known", outcomes.cost[None])
    progress("pools")
    split_by = {"by instance": by_instance, "by repository": by_repository}
    pools = tuple(pool_rows(records.text, outcomes, records.agents, split_by, seed=seed))
    able = sorted({model for pair in pairs for model in (pair.cheap, pair.dear)})
    drawn = tuple(random_pools(records.text, outcomes, able, by_instance, number=random, seed=seed))
    progress("forecasts")
    five = None if records.ratings is None else shared_ratings(records.ratings, records.rating_names)
    forecasts = tuple(
        forecast_rows(records.text, five, records.repositories, outcomes, able, trials=min(repeats, TRIALS), seed=seed)
    )
    progress("ratings")
    difficulty = tuple(
        difficulty_rows(records.text, records.ratings, records.rating_names, outcomes, able, split_by, seed=seed)
    )
    found = {(row.order, row.split, row.group): row for row in rows}
    main = found["issue text", "by instance", "all pairs"]
    unseen = found["issue text", "by repository", "all pairs"]
    true = found["true cost", "known", "all pairs"]
    led = found.get(("issue text", "by instance", "the dear model is the leader"), main)
    same = (
        order_row(outcomes, again, lambda pair: text[:, :, pair.dear], name=("", "", ""), seed=seed) if again else None
    )
    count = outcomes.resolved.sum(axis=0)
    advantage = [count[pair.dear] - count[pair.cheap] for pair in pairs]
    names = [f"{outcomes.models[pair.cheap]} → {outcomes.models[pair.dear]}" for pair in again]
    return CostStudy(
        gain=main.gain,
        gain_ci95=main.gain_ci95,
        pairs=main.pairs,
        pairs_positive=main.pairs_positive,
        gain_unseen_repositories=unseen.gain,
        gain_unseen_repositories_ci95=unseen.gain_ci95,
        gain_shuffled=found["text of another instance", "by instance", "all pairs"].gain,
        gain_true_cost=true.gain,
        gain_true_cost_ci95=true.gain_ci95,
        gain_leader=led.gain,
        gain_leader_ci95=led.gain_ci95,
        instances=n,
        runs=len(outcomes.models),
        settings={
            "sources": list(SOURCES),
            "least_rate": LEAST_RATE,
            "least_cost_ratio": LEAST_RATIO,
            "folds": FOLDS,
            "repeats": repeats,
            "shuffles": SHUFFLES,
            "seed": seed,
            "leader": outcomes.models[leader],
        },
        orders=tuple(rows),
        gain_by_advantage=round(float(np.corrcoef(main.by_pair, advantage)[0, 1]), 2),
        published={
            f"{cheap} → {dear}": round(gain, 1)
            for (cheap, dear), gain in PUBLISHED.items()
            if {cheap, dear} <= set(column)
        },
        reproduced={} if same is None else dict(zip(names, same.by_pair, strict=True)),
        pools=pools,
        random_pools=drawn,
        forecasts=forecasts,
        difficulty=difficulty,
    )


def _feature_sets(
    records: Records, by_instance: Folds, by_repository: Folds
) -> Iterator[tuple[str, str, FloatArray, Folds]]:
    """Order, split, features (n, d) and folds; a repository's own history is only there where it is not held out."""
    names = sorted(set(records.repositories))
    repository = np.array([[float(own == name) for name in names] for own in records.repositories])
    sets: Mapping[str, FloatArray | None] = {"issue text": records.text, "ratings of the issue": records.ratings}
    for order, X in sets.items():
        if X is not None:
            yield order, "by instance", X, by_instance
            yield order, "by repository", X, by_repository
    yield "issue text and repository", "by instance", np.column_stack([records.text, repository]), by_instance
    yield "repository alone", "by instance", repository, by_instance
