"""A cascade rollouts out live on the sample: real agents, real containers, only the cells it asks for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.attempt import Attempt
from agents.signals import extract
from harness.config import find_config, load_config, with_overrides
from harness.data.embeddings import embed_texts
from harness.data.instances import Dataset, load_dataset
from harness.errors import ConfigError
from harness.files import write_atomic
from harness.run.forecast import forecast
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.run.plan import plan, routing_notes
from harness.run.rollout import Rollout, roll_out
from harness.store.rows import Cell, State
from harness.store.run_folder import PATCH_FILE, RunFolder
from harness.store.store import Store
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

MODELS = ("scripted-small", "scripted-medium", "scripted-large")
ROWS = 400
RIGHT, EMPTY = "polyswe__tabula-101", "polyswe__spanset-303"
"""What the small stand-in hands in there."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade that has learned that the cheap model is right unless it hands in nothing."""
    rng = np.random.default_rng(0)
    present = np.ones((ROWS, 3))
    present[:, 0] = rng.random(ROWS) < 0.7
    right = np.stack([present[:, 0], rng.random(ROWS) < 0.5, rng.random(ROWS) < 0.95], axis=1)
    outcomes = OutcomeMatrix.build(
        [f"r__{i}" for i in range(ROWS)], MODELS, right, np.tile([0.001, 0.01, 0.004], (ROWS, 1)),
        signals={"patch_present": present},
    )  # fmt: skip
    embedder = Embedder()
    # without a prior the cascade does not read the texts: their embeddings only have to be of the right width
    X = np.repeat(embed_texts(["issue"]), ROWS, axis=0)
    path = tmp_path_factory.mktemp("router") / "cascade.safetensors"
    Router(make_policy("cascade", cost_weight=1.0).fit(X, outcomes), MODELS, embedder).save(path)
    return path


def test_a_model_the_pool_lacks_gives_way_to_the_next_best_and_a_cascade_does_not(
    sample: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    outcomes = OutcomeMatrix.build([f"r__{i}" for i in range(40)], MODELS, np.tile([0.0, 1.0, 1.0], (40, 1)),
                                   np.tile([0.001, 0.01, 0.004], (40, 1)))  # fmt: skip
    embedder = Embedder()
    X = np.repeat(embed_texts(["issue"]), 40, axis=0)
    path = tmp_path / "fixed.safetensors"
    Router(make_policy("cluster", n_clusters=2).fit(X, outcomes), MODELS, embedder).save(path)
    config = with_overrides(
        load_config(find_config("sample")),
        {"dataset.instances": [RIGHT], "run.mode": "routed", "router.checkpoint": path},
    )
    without = config.model_copy(update={"pool": [model for model in config.pool if model.name != MODELS[2]]})
    assert {cell.model for cell in plan(config, sample)} == {MODELS[2]}
    assert {cell.model for cell in plan(without, sample)} == {MODELS[1]}
    assert routing_notes(config) == []
    (note,) = routing_notes(without)
    assert f"knows {MODELS[2]}, not in the pool" in note
    cascade = without.model_copy(update={"router": without.router.model_copy(update={"checkpoint": checkpoint})})
    small = cascade.model_copy(update={"pool": cascade.pool[1:]})
    with pytest.raises(ConfigError, match=f"routes to {MODELS[0]}, not in the pool"):
        plan(small, sample)


@pytest.mark.docker
def test_a_cascade_escalates_live_and_pays_for_every_attempt(sample: Dataset, checkpoint: Path, tmp_path: Path) -> None:
    config = with_overrides(
        load_config(find_config("sample")),
        {"dataset.instances": [RIGHT, EMPTY], "run.mode": "routed", "router.checkpoint": checkpoint},
    )
    config = config.model_copy(update={"agent": config.agent.model_copy(update={"reviewer": MODELS[1]})})
    folder = RunFolder(tmp_path / "cascade")
    end = evaluate(config, folder, stop=Stop())
    assert end.missing == []
    asked = {(row.instance_id, row.model) for row in end.rows}
    assert asked == {(RIGHT, MODELS[0]), (EMPTY, MODELS[0]), (EMPTY, MODELS[2])}
    assert all(row.signals["patch_present"] == (row.verdict != "empty patch") for row in end.rows)
    assert {row.signals["review_score"] for row in end.rows if row.signals["patch_present"]} == {0.5}
    results = json.loads((folder.path / "results.json").read_text())
    (row,) = results["rows"]
    assert (row["name"], row["n"], row["resolved"]) == ("routed", 2, 2)
    assert row["cost_per_instance"] == pytest.approx(sum(cell.cost_usd or 0 for cell in end.rows) / 2)
    assert row["routing_share"] == {MODELS[0]: 0.5, MODELS[2]: 0.5}
    assert any("1 of 2 instances was attempted by more than one model" in note for note in results["notes"])
    assert "signal_own_tests_passed" in (folder.path / "outcomes.csv").read_text().splitlines()[0]

    before = (folder.path / "results.json").read_bytes()
    assert evaluate(config, folder, stop=Stop()).missing == []
    assert (folder.path / "results.json").read_bytes() == before, "the same command has nothing left to do"
    with Store(folder.store_path) as store:
        assert {row.state for row in store.rows()} == {State.GRADED}


def test_a_forecast_counts_the_escalations_that_finished_attempts_ask_for(checkpoint: Path, tmp_path: Path) -> None:
    config = with_overrides(
        load_config(find_config("sample")),
        {"dataset.instances": [RIGHT, EMPTY], "run.mode": "routed", "router.checkpoint": checkpoint},
    )
    dataset, folder = load_dataset(config.dataset), RunFolder(tmp_path / "cascade")
    folder.path.mkdir()
    with Store(folder.store_path) as store:
        store.plan(plan(config, dataset))
        for cell, patch in ((Cell(RIGHT, MODELS[0]), "diff --git a/x b/x\n"), (Cell(EMPTY, MODELS[0]), "")):
            write_atomic(folder.cell_dir(cell) / PATCH_FILE, patch)
            attempt = Attempt(
                instance_id=cell.instance_id, model=cell.model, patch=patch, exit_status="Submitted", cost_usd=0.1,
                api_calls=3, prompt_tokens=10, completion_tokens=5, cached_tokens=2, failed_calls=0, seconds=7.0,
                trajectory=tmp_path / "none", unsubmitted_patch="", scripted=True,
            )  # fmt: skip
            store.agent_done(cell, attempt)
            store.add_signals(cell, extract(attempt))
    seen = forecast(config, dataset, folder)
    assert {model.model: (model.to_grade, model.to_attempt) for model in seen.models} == {
        MODELS[0]: (2, 0), MODELS[1]: (0, 0), MODELS[2]: (0, 1),
    }  # fmt: skip


def test_a_selection_asks_for_all_its_models_at_once_and_pays_for_its_tests(sample: Dataset, tmp_path: Path) -> None:
    outcomes = OutcomeMatrix.build(
        [f"r__{i}" for i in range(40)],
        MODELS,
        np.tile([0.0, 1.0, 1.0], (40, 1)),
        np.tile([0.001, 0.01, 0.004], (40, 1)),
    )
    X = np.repeat(embed_texts(["issue"]), 40, axis=0)
    path = tmp_path / "select.safetensors"
    Router(make_policy("select", members=2).fit(X, outcomes), MODELS, Embedder()).save(path)
    config = with_overrides(
        load_config(find_config("sample")),
        {"dataset.instances": [RIGHT], "run.mode": "routed", "router.checkpoint": path},
    )
    dataset, folder = load_dataset(config.dataset), RunFolder(tmp_path / "run")
    folder.path.mkdir()
    router = Router.load(path)
    with Store(folder.store_path) as store:
        cells = plan(config, dataset)
        assert set(cells) == {Cell(RIGHT, MODELS[2]), Cell(RIGHT, MODELS[1])}
        store.plan(cells)
        for number, cell in enumerate(sorted(cells)):
            assert roll_out(router, dataset, store.rows(), folder)[RIGHT].accepted is None
            write_atomic(folder.cell_dir(cell) / PATCH_FILE, "diff --git a/x b/x\n")
            attempt = Attempt(
                instance_id=cell.instance_id, model=cell.model, patch="diff", exit_status="Submitted", cost_usd=0.1,
                api_calls=3, prompt_tokens=10, completion_tokens=5, cached_tokens=2, failed_calls=0, seconds=7.0,
                trajectory=tmp_path / "none", unsubmitted_patch="", scripted=True,
            )  # fmt: skip
            store.agent_done(cell, attempt)
            store.add_signals(cell, {"tests_fixed": number, "tests_cost_usd": 0.25})
        decided = roll_out(router, dataset, store.rows(), folder)[RIGHT]
    assert decided == Rollout((MODELS[2], MODELS[1]), MODELS[1], 0.25), "not the default: the one that fixes the test"


def test_signals_come_back_from_the_outcome_table(tmp_path: Path) -> None:
    from harness.importers import load_outcomes, outcome_matrix, write_outcomes_csv

    outcomes = OutcomeMatrix.build(
        ["a__1", "a__2"], ["m"], [[1], [0]], [[0.5], [np.nan]],
        signals={"own_tests_passed": [[1.0], [np.nan]], "patch_lines": [[3.0], [7.5]]},
    )  # fmt: skip
    write_outcomes_csv(outcomes, tmp_path / "outcomes.csv")
    again, _ = outcome_matrix(load_outcomes([tmp_path / "outcomes.csv"]).runs, None, ["a__1", "a__2"])
    assert again.signals.keys() == outcomes.signals.keys()
    for name, values in outcomes.signals.items():
        np.testing.assert_array_equal(again.signals[name], values)
