"""A new model is judged for what it would resolve of everything, from the few instances that were run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.data.instances import read_problem_statements
from harness.data.rows import load_rows
from harness.errors import InputError
from harness.importers import write_outcomes_csv
from harness.pool.onboard import (
    Plan,
    conclude,
    configured_name,
    live_labels,
    plan_onboarding,
    recorded_labels,
    recorded_name,
    render_profile,
    write_profile,
)
from harness.store.matrix import matrix_of_run
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from router.lab.anchors import ReferenceRuns
from router.outcomes import OutcomeMatrix

if TYPE_CHECKING:
    from harness.data.instances import Dataset

MakeRun = Callable[..., RunFolder]
IDS = [str(row["instance_id"]) for row in load_rows("sample")]


def simulated(n: int = 200, m: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes (n, m) of models from weak to strong, and cluster labels (n,)."""
    rng = np.random.default_rng(seed)
    difficulty, ability = rng.normal(0, 1.5, n), np.linspace(-1.5, 2, m)
    p = 1 / (1 + np.exp(difficulty[:, None] - ability))
    return (rng.random((n, m)) < p).astype(float), rng.integers(0, 6, n)


def plan_of(resolved: np.ndarray, labels: np.ndarray, n: int) -> Plan:
    names = [f"i{k}" for k in range(len(resolved))]
    matrix = OutcomeMatrix.build(names, [f"m{k}" for k in range(resolved.shape[1])], resolved)
    runs = ReferenceRuns(resolved)
    return Plan("new", matrix, runs, labels, runs.choose_anchors(n, labels))


@pytest.mark.parametrize("n", [1, 5, 6, 40, 200])
def test_the_instances_are_spread_over_the_clusters_by_size(n: int) -> None:
    resolved, labels = simulated()
    anchors = plan_of(resolved, labels, n).anchors
    assert len(set(anchors.tolist())) == n
    exact = n * np.bincount(labels, minlength=6) / len(labels)
    assert (np.abs(np.bincount(labels[anchors], minlength=6) - exact) < 1).all()


def test_the_most_informative_come_first_and_beat_a_random_choice_of_them() -> None:
    resolved, labels = simulated()
    plan = plan_of(resolved, labels, 30)
    rates = resolved.mean(axis=1)
    undecided = rates[plan.anchors] * (1 - rates[plan.anchors])
    assert undecided.mean() > (rates * (1 - rates)).mean()
    assert undecided[:10].mean() > undecided[-10:].mean()


def test_the_estimate_is_of_all_instances_and_its_intervals_hold_the_truth() -> None:
    errors, inside, within = [], 0, []
    for k in range(5, 12):  # able newcomers, as the prior expects them
        resolved, labels = simulated()
        truth, rest = resolved[:, k], np.delete(resolved, k, axis=1)
        plan = plan_of(rest, labels, 40)
        found = conclude(plan, {plan.reference.instances[i]: (bool(truth[i]), 0.5) for i in plan.anchors}, "recorded")
        errors.append(abs(found.rate - truth.mean()))
        inside += found.ci95[0] <= truth.mean() <= found.ci95[1]
        within += [c.ci95[0] - 1e-9 <= truth[labels == c.cluster].mean() <= c.ci95[1] + 1e-9 for c in found.clusters]
        assert sum(c.size for c in found.clusters) == 200
        assert found.cost_usd == pytest.approx(0.5)
    assert np.mean(errors) < 0.06
    assert inside >= 5
    assert np.mean(within) > 0.8


def test_a_clearly_better_model_enters_the_table_and_a_hopeless_one_does_not() -> None:
    resolved, labels = simulated()
    plan = plan_of(resolved[:, :8], labels, 60)
    best = conclude(plan, {plan.reference.instances[i]: (True, None) for i in plan.anchors}, "recorded")
    worst = conclude(plan, {plan.reference.instances[i]: (False, None) for i in plan.anchors}, "recorded")
    assert (best.rank, worst.rank) == (1, 9)
    assert all(cluster.chosen for cluster in best.clusters)
    assert not any(cluster.chosen for cluster in worst.clusters)
    assert "6 of 6 clusters" in render_profile(best)
    assert "only " not in render_profile(best)


def test_few_labels_are_called_few() -> None:
    resolved, labels = simulated()
    plan = plan_of(resolved, labels, 2)
    truth = {plan.reference.instances[i]: (bool(resolved[i, 11]), 1.0) for i in plan.anchors}
    shown = render_profile(conclude(plan, truth, "recorded"))
    assert "only 2 labels: the rate rests mostly on the outcomes of the pool" in shown


def test_price_keeps_a_dear_model_out() -> None:
    resolved, labels = simulated()
    plan = plan_of(resolved, labels, 60)
    truth = {plan.reference.instances[i]: (bool(resolved[i, 11]), 9.0) for i in plan.anchors}
    assert not any(cluster.chosen for cluster in conclude(plan, truth, "recorded", cost_weight=1.0).clusters)


def test_what_cannot_be_onboarded_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    models = ["scripted-small", "scripted-medium", "scripted-large"]
    with Store(run.store_path) as store:
        matrix = matrix_of_run(store.rows(), IDS, models)
    write_outcomes_csv(matrix, tmp_path / "all.csv")
    write_outcomes_csv(matrix.pool(models[2:]), tmp_path / "self.csv")
    statements = read_problem_statements("sample")
    with pytest.raises(InputError, match="between 1 and 15"):
        plan_onboarding("scripted-large", 16, [str(tmp_path / "all.csv")], statements)
    with pytest.raises(InputError, match="nothing but 'scripted-large' itself"):
        plan_onboarding("scripted-large", 5, [str(tmp_path / "self.csv")], statements)
    with pytest.raises(InputError, match="no model is called 'huge'"):
        recorded_name("huge", [str(tmp_path / "all.csv")], IDS)
    plan = plan_onboarding("scripted-large", 5, [str(tmp_path / "all.csv")], statements)
    assert "scripted-large" not in plan.reference.models  # its own outcomes must not help to guess them
    with pytest.raises(InputError, match="none of the 5 chosen"):
        conclude(plan, {}, "recorded")
    with pytest.raises(InputError, match="no model is called"):
        live_labels(Plan("huge", plan.reference, plan.runs, plan.labels, plan.anchors), "sample", tmp_path)


def test_a_part_of_the_configured_name_keeps_the_models_own_outcomes_out() -> None:
    assert configured_name("large", "sample") == "scripted-large"
    with pytest.raises(InputError, match="scripted"):
        configured_name("scripted", "sample")


def test_labels_from_a_record_give_a_profile_and_a_pool_to_fit(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    models = ["scripted-small", "scripted-medium", "scripted-large"]
    record = tmp_path / "all.csv"
    with Store(run.store_path) as store:
        write_outcomes_csv(matrix_of_run(store.rows(), IDS, models), record)
    name = recorded_name("large", [str(record)], IDS)
    plan = plan_onboarding(name, 5, [str(record)], read_problem_statements("sample"))
    labelled, rate = recorded_labels(plan, [str(record)])
    assert set(labelled) == set(plan.instances)
    found = conclude(plan, labelled, "recorded", recorded_rate=rate)
    write_profile(found, plan, labelled, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "profile.json").read_text())
    assert document["recorded_rate"] == pytest.approx(11 / 15)
    lines = (tmp_path / "out" / "outcomes.csv").read_text().splitlines()
    known = [line for line in lines if ",scripted-large," in line and line.split(",")[2] != ""]
    assert len(known) == 5


@pytest.mark.docker
def test_a_live_onboarding_runs_the_chosen_instances_and_no_others(
    sample: Dataset, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    with Store(run.store_path) as store:
        write_outcomes_csv(
            matrix_of_run(store.rows(), IDS, ["scripted-small", "scripted-medium"]), tmp_path / "pool.csv"
        )
    plan = plan_onboarding("scripted-large", 2, [str(tmp_path / "pool.csv")], read_problem_statements("sample"))
    labelled: dict[str, tuple[bool, float | None]] = {}
    for _ in range(3):  # what the engine failed at is done at the next start
        try:
            labelled, missing = live_labels(plan, "sample-select", tmp_path / "live")
        except InputError as error:
            assert "run the command again" in str(error)  # noqa: PT017
            continue
        assert {*labelled, *(name.partition(":")[0] for name in missing)} == set(plan.instances)
        if not missing:
            break
    assert set(labelled) == set(plan.instances)
    folder = RunFolder(tmp_path / "live" / "onboard-scripted-large")
    assert not folder.tests.path.exists(), "tests of the attempts would be paid for, and are of no use here"
    with Store(folder.store_path) as store:
        assert {(row.instance_id, row.model) for row in store.rows()} == {(i, "scripted-large") for i in plan.instances}
