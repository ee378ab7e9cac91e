"""A dry run says what is left to do and on what its figures rest, and touches nothing."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from agents.attempt import Attempt
from agents.rating import QUESTIONS
from harness.cli import app
from harness.config import Config, find_config, load_config, with_overrides
from harness.data.instances import Dataset, load_dataset
from harness.data.ratings import RatingRow, issue_key
from harness.errors import ConfigError, InputError
from harness.grading.verdict import Grade, Verdict
from harness.importers import load_outcomes, write_outcomes_csv
from harness.run.expected import Expected, interval
from harness.run.forecast import forecast, render
from harness.run.plan import plan
from harness.run.records import KNOWN_COSTS
from harness.store.matrix import matrix_of_run
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store


@pytest.fixture(scope="module")
def config() -> Config:
    """The sample with models of one's own: nothing is recorded of them."""
    config = load_config(find_config("sample"))
    return with_overrides(config, {f"pool.{model.name}.api_base": "http://127.0.0.1:9/v1" for model in config.pool})


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return load_dataset(config.dataset)


def attempt(cell: Cell, cost: float) -> Attempt:
    return Attempt(
        instance_id=cell.instance_id, model=cell.model, patch="p", exit_status="Submitted", cost_usd=cost, api_calls=3,
        prompt_tokens=10, completion_tokens=5, cached_tokens=2, failed_calls=0, seconds=40.0, trajectory=Path("t"),
        unsubmitted_patch="", scripted=True,
    )  # fmt: skip


def test_without_any_record_the_tokens_are_assumed_and_named(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    seen = forecast(config, dataset, RunFolder(tmp_path / "run"))
    assert [(m.planned, m.to_attempt) for m in seen.models] == [(15, 15)] * 3
    small = seen.models[0]
    assert small.cost == pytest.approx(15 * (600_000 * 0.25e-6 + 12_000 * 2e-6))
    assert seen.models[2].cost == pytest.approx(15 * 1.0), "a cell is stopped at its cost limit"
    assert "assumed" in small.basis
    assert (small.agent_seconds, small.test_seconds) == (15 * 300, 15 * 60)
    assert list(tmp_path.iterdir()) == []


def test_a_runs_own_cells_tell_more(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    cells = plan(config, dataset)
    small = [cell for cell in cells if cell.model == "scripted-small"]
    with Store(folder.store_path) as store:
        store.plan(cells)
        for number, cell in enumerate(small[:5]):
            store.agent_done(cell, attempt(cell, 0.1 + 0.01 * number))
        for cell in small[:4]:
            store.graded(cell, Grade(Verdict.RESOLVED, seconds=200.0, test_seconds=10.0))
        store.failed(small[6], "provider: timeout", "…", 0.5)
    limited = config.model_copy(update={"run": config.run.model_copy(update={"max_cost": 1.0})})
    seen = forecast(limited, dataset, folder)
    model = seen.models[0]
    assert (model.graded, model.to_grade, model.to_attempt) == (4, 1, 10)
    assert model.cost == pytest.approx(10 * 0.12)
    assert model.cost_range is not None
    assert 1.0 < model.cost_range[0] < 1.2 < model.cost_range[1] < 1.4
    assert seen.cost_range is None, "nothing is known of the other models"
    assert model.agent_seconds == pytest.approx(400)
    assert model.test_seconds == pytest.approx(11 * 10.0), "the wait for other instances' tests is none of it"
    assert seen.spent == pytest.approx(0.6 + 0.5)
    assert seen.grading_hours == pytest.approx((11 * 10 + 30 * 60 + 41 * 2) / 2 / 3600)
    text = " ".join(render(seen, folder.path).split())
    assert "at which no further cell starts" in text
    assert "at worst $5.00" in text


def test_another_grading_is_forecast_as_gradings_alone(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    cells = plan(config, dataset)
    with Store(folder.store_path) as store:
        store.plan(cells)
        for cell in cells:
            store.agent_done(cell, attempt(cell, 0.1))
            store.graded(cell, Grade(Verdict.RESOLVED, test_seconds=1.0))
    longer = with_overrides(config, {"run.grading_timeout": 240})
    seen = forecast(longer, dataset, folder)
    assert (seen.cost, seen.agent_hours) == (0, 0)
    assert seen.grading_hours > 0
    assert any("45 finished attempts are graded again" in note for note in seen.notes)


def test_the_sample_knows_what_it_takes(dataset: Dataset, tmp_path: Path) -> None:
    """A newcomer's first look ahead: the recorded cost of the stand-ins, not what a real model would cost."""
    seen = forecast(load_config(find_config("sample")), dataset, RunFolder(tmp_path / "run"))
    assert seen.cost == pytest.approx(5.28, rel=0.05)
    assert seen.hours < 0.1
    assert "15 recorded cells" in seen.models[0].basis


def test_a_run_as_history_knows_its_tests(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    earlier = RunFolder(tmp_path / "earlier")
    earlier.path.mkdir()
    cells = plan(config, dataset)
    first = dataset.instances[0].instance_id
    with Store(earlier.store_path) as store:
        store.plan(cells)
        for cell in cells:
            store.agent_done(cell, attempt(cell, 0.1))
            seconds = 50.0 if cell.instance_id == first else 2.0
            store.graded(cell, Grade(Verdict.RESOLVED, seconds=300.0, test_seconds=seconds))
        rows = store.rows()
    write_outcomes_csv(
        matrix_of_run(rows, [i.instance_id for i in dataset.instances], [m.name for m in config.pool]),
        earlier.path / "outcomes.csv",
    )
    seen = forecast(config, dataset, RunFolder(tmp_path / "run"), [str(earlier.path)])
    assert [model.test_seconds for model in seen.models] == [pytest.approx(50 + 14 * 2)] * 3
    assert [model.agent_seconds for model in seen.models] == [pytest.approx(15 * 40)] * 3


def test_recorded_outcomes_of_the_pools_names_are_used(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    ids = [instance.instance_id for instance in dataset.instances]
    lines = [f"{name},scripted-small,1,{0.2 if n else 2.0},30" for n, name in enumerate(ids[:10])]
    history = tmp_path / "history.csv"
    history.write_text("instance_id,model,resolved,cost_usd,seconds\n" + "\n".join(lines) + "\n")
    seen = forecast(config, dataset, RunFolder(tmp_path / "run"), [str(history)])
    assert seen.models[0].cost == pytest.approx(2.0 + 9 * 0.2 + 5 * 0.38)
    assert "10 recorded cells" in seen.models[0].basis
    history.write_text(history.read_text().replace("scripted-small", "Somebody Else (high effort)"))
    with pytest.raises(InputError, match="named like a model of the pool"):
        forecast(config, dataset, RunFolder(tmp_path / "run"), [str(history)])
    named = with_overrides(config, {"pool.scripted-small.record": "somebody else"})
    again = forecast(named, dataset, RunFolder(tmp_path / "run"), [str(history)])
    assert again.models[0].cost == seen.models[0].cost
    nobody = with_overrides(config, {"pool.scripted-small.record": "nobody"})
    with pytest.raises(InputError, match="'record' of model scripted-small"):
        forecast(nobody, dataset, RunFolder(tmp_path / "run"), [str(history)])


def many(dataset: Dataset, number: int) -> Dataset:
    """The sample's instances over and over, under other names."""
    sources = [dataset.instances[k % len(dataset.instances)] for k in range(number)]
    return replace(
        dataset, instances=tuple(replace(source, instance_id=f"owner__repo-{k}") for k, source in enumerate(sources))
    )


def history_of(path: Path, costs: dict[str, dict[int, float]]) -> str:
    lines = [f"owner__repo-{k},{model},1,{cost},30" for model, known in costs.items() for k, cost in known.items()]
    path.write_text("instance_id,model,resolved,cost_usd,seconds\n" + "\n".join(lines) + "\n")
    return str(path)


def test_what_other_models_cost_predicts_single_instances(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    """60 of 90 costs of the model are known; most of the others are dear, as another model shows."""
    rng = np.random.default_rng(0)
    effort = np.sort(np.exp(rng.normal(size=90)))
    effort = np.concatenate([effort[:45], effort[47::3], np.delete(effort[45:], np.arange(2, 45, 3))])
    own, other = (effort * np.exp(rng.normal(scale=0.2, size=90)) * price for price in (0.1, 0.01))
    known = {"scripted-small": dict(enumerate(own[:60])), "Somebody Else": dict(enumerate(other))}
    folder, larger = RunFolder(tmp_path / "run"), many(dataset, 90)
    plain = history_of(tmp_path / "alone.csv", {"scripted-small": known["scripted-small"]})
    constant = forecast(config, larger, folder, [plain]).models[0]
    seen = forecast(config, larger, folder, [history_of(tmp_path / "both.csv", known)])
    small = seen.models[0]
    truth = own.sum()
    assert constant.cost < 0.85 * truth, "the mean of the cheap ones is too low"
    assert abs(small.cost - truth) < abs(constant.cost - truth) / 2
    assert "60 recorded cells, costs predicted by instance (r 0.9" in small.basis
    assert not constant.predicted
    assert set(small.predicted) == {f"owner__repo-{k}" for k in range(90)}
    assert small.predicted["owner__repo-3"] == pytest.approx(own[3]), "its own record"
    assert small.predicted["owner__repo-89"] > constant.cost / 90
    dearest = " ".join(render(seen, folder.path).split("dearest")[1].split()[:10])
    assert dearest.count("owner__repo-") == 5
    assert {f"owner__repo-{k}" for k in range(60, 90)} & set(dearest.split())


def test_the_range_holds_totals_of_predicted_costs(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    held, larger = 0, many(dataset, 90)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        effort = np.exp(rng.normal(size=90))
        own, other = (effort * np.exp(rng.normal(scale=0.5, size=90)) * price for price in (0.1, 0.01))
        known = {"scripted-small": dict(enumerate(own[:60])), "Somebody Else": dict(enumerate(other))}
        history = history_of(tmp_path / "history.csv", known)
        small = forecast(config, larger, RunFolder(tmp_path / "run"), [history]).models[0]
        assert small.cost_range is not None
        held += small.cost_range[0] < own.sum() < small.cost_range[1]
    assert held >= 17


def test_costs_are_not_predicted_from_few_records_or_from_costs_of_other_instances(
    config: Config, dataset: Dataset, tmp_path: Path
) -> None:
    rng, folder, larger = np.random.default_rng(1), RunFolder(tmp_path / "run"), many(dataset, 90)
    costs = dict(enumerate(rng.uniform(0.1, 2.0, size=90)))
    few = {"scripted-small": {k: costs[k] for k in range(49)}, "Somebody Else": costs}
    elsewhere = {"scripted-small": {k: costs[k] for k in range(60)}, "Somebody Else": {k: costs[k] for k in range(60)}}
    for name, known in (("few", few), ("elsewhere", elsewhere)):
        seen = forecast(config, larger, folder, [history_of(tmp_path / f"{name}.csv", known)])
        assert not seen.models[0].predicted
        assert "dearest" not in render(seen, folder.path)


def test_ratings_predict_costs_too(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    rng, larger = np.random.default_rng(2), many(dataset, 90)
    scope = rng.integers(0, 11, size=90)
    own = 0.1 * np.exp(0.3 * scope + rng.normal(scale=0.2, size=90))
    history = history_of(tmp_path / "own.csv", {"scripted-small": dict(enumerate(own[:60]))})
    ratings = {}
    for instance, value in zip(larger.instances, scope, strict=True):
        name, text = instance.instance_id, issue_key(instance.problem_statement)
        ratings[name] = RatingRow(name, text, "rater", 0.0, dict.fromkeys(QUESTIONS, 5.0) | {"scope": float(value)})
    seen = forecast(config, larger, RunFolder(tmp_path / "run"), [history], ratings=ratings)
    predicted = [seen.models[0].predicted[f"owner__repo-{k}"] for k in range(60, 90)]
    assert np.corrcoef(np.log(predicted), np.log(own[60:]))[0, 1] > 0.9
    assert len(seen.hardest) == 9
    assert {ratings[name].ratings["scope"] for name in seen.hardest} <= {9.0, 10.0}
    text = " ".join(render(seen, tmp_path).split())
    assert f"these are the likeliest to fail: {seen.hardest[0]}," in text
    assert "and 4 more" in text
    other = {name: replace(row, issue="another text") for name, row in ratings.items()}
    changed = forecast(config, larger, RunFolder(tmp_path / "run"), [history], ratings=other)
    assert not changed.hardest
    assert not changed.models[0].predicted
    assert "90 ratings are of another text of the issue and are not used" in changed.notes


def test_an_unknown_price_is_refused(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    nameless = {"input_cost_per_token": None, "output_cost_per_token": None, "model": "openai/nobody-knows-it"}
    pool = [config.pool[0].model_copy(update=nameless)]
    with pytest.raises(ConfigError, match="price of model scripted-small"):
        forecast(config.model_copy(update={"pool": pool}), dataset, RunFolder(tmp_path))


def test_the_text_fits_100_columns_and_names_each_basis_once(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    changes = {"run.max_cost": 1500.0, "pool.scripted-small.record": "Haiku", "pool.scripted-large.rpm": 1}
    pool = [model.model_copy(update={"name": f"{model.name}, with a name of many words"}) for model in config.pool]
    seen = forecast(with_overrides(config, changes), dataset, RunFolder(tmp_path / "run"))
    longer = forecast(config.model_copy(update={"pool": pool}), dataset, RunFolder(tmp_path / "run"))
    for text in (render(seen, Path("results/x")), render(longer, Path("results/x"))):
        assert max(map(len, text.splitlines())) <= 100
        assert text.count("assumed: 600,000") == 1


def test_a_record_alone_gives_the_published_mean_with_its_range(
    config: Config, dataset: Dataset, tmp_path: Path
) -> None:
    known = with_overrides(config, {"pool.scripted-small.record": "4.5 haiku"})
    small = forecast(known, dataset, RunFolder(tmp_path / "run")).models[0]
    assert small.cost == pytest.approx(15 * 0.3309)
    assert small.cost_range is not None
    assert small.cost_range[0] < small.cost < small.cost_range[1] < 2 * small.cost
    assert "Claude 4.5 Haiku" in small.basis
    assert small.agent_seconds == pytest.approx(15 * 66.2 * 7.5)


def test_a_models_limits_decide_the_time(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    free = forecast(config, dataset, RunFolder(tmp_path / "run"))
    assert free.agent_hours == pytest.approx(45 * 300 / 4 / 3600)
    limited = forecast(with_overrides(config, {"pool.scripted-small.rpm": 2}), dataset, RunFolder(tmp_path / "run"))
    assert limited.agent_hours == pytest.approx(15 * 40 / 2 / 60)
    assert any("the limits of scripted-small" in note for note in limited.notes)


def test_the_published_means_are_those_of_the_leaderboard(shared_data: Path) -> None:
    board = load_outcomes([str(shared_data / "outcomes" / "leaderboards-2026-02-26.json")])
    runs = {run.name: run for run in board.runs if run.board == "bash-only"}
    for row in csv.DictReader(KNOWN_COSTS.open(encoding="utf-8", newline="")):
        cells = runs[row["model"]].cells.values()
        costs = [cell.cost_usd for cell in cells if cell.cost_usd is not None]
        calls = [cell.api_calls for cell in cells if cell.api_calls is not None]
        assert len(costs) == int(row["instances"])
        assert np.mean(costs) == pytest.approx(float(row["cost_usd"]), abs=1e-4)
        assert np.std(costs, ddof=1) == pytest.approx(float(row["cost_sd"]), abs=1e-4)
        assert np.mean(calls) == pytest.approx(float(row["calls"]), abs=0.05)


def test_the_range_of_a_sum_holds_what_happens(shared_data: Path) -> None:
    """On real costs: 40 cells known, 60 others of the same model to come; 95 % ranges hold nine sums of ten or more."""
    board = load_outcomes([str(shared_data / "outcomes" / "leaderboards-2026-02-26.json")])
    known = {row["model"] for row in csv.DictReader(KNOWN_COSTS.open(encoding="utf-8", newline=""))}
    rng, held, tries = np.random.default_rng(0), 0, 0
    for run in (run for run in board.runs if run.name in known and run.board == "bash-only"):
        costs = np.array([cell.cost_usd for cell in run.cells.values() if cell.cost_usd is not None])
        for _ in range(4):
            drawn = rng.permutation(costs)[:100]
            expected = Expected(own=list(drawn[:40]), past={}, assumed=0.0)
            draws = expected.draws([str(k) for k in range(60)], seed=tries)
            assert draws is not None
            low, high = interval(draws)
            held += low <= drawn[40:].sum() <= high
            tries += 1
    assert tries == 4 * len(known)
    assert 0.9 * tries <= held


def test_the_command_starts_and_writes_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "sample", "--dry-run", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "nothing was started or written" in done.output
    assert list(tmp_path.iterdir()) == []
