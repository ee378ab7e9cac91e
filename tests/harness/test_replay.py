"""Replay end to end: real embedder, real files; and the published numbers where the record is at hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from numpy.typing import NDArray

from harness.data.embeddings import embed
from harness.data.instances import read_problem_statements
from harness.data.rows import dataset_title
from harness.errors import InputError
from harness.evaluation.schema import Results, read_results
from harness.evaluation.settings import EvaluationSettings
from harness.importers import load_outcomes
from harness.replay import RecordedSources, replay_sources, write_replay
from harness.report.tables import render_terminal
from tests.harness.finished_folder import write_finished


def replay(sources: RecordedSources, settings: EvaluationSettings, out: Path | None = None, **more: Any) -> Results:
    results, outcomes = replay_sources(sources, settings, **more)
    if out is not None:
        write_replay(results, outcomes, out)
    return results


class CountingEmbedder:
    """A vector per text from its letters; counts the texts it was given."""

    fingerprint = "letters/1"

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        self.encoded += texts
        counts = np.array([[1 + text.count(letter) for letter in "abcdefgh"] for text in texts], dtype=np.float32)
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    rows = [{"instance_id": f"i{k}", "problem_statement": "ab"[k % 2] * (k + 3), "patch": "gold"} for k in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    path = tmp_path / "outcomes.csv"
    rows = [f"i{k},{model},{int(k % 2 == odd)},0.5" for k in range(11) for odd, model in enumerate(("ant", "bee"))]
    path.write_text("instance_id,model,resolved,cost_usd\n" + "\n".join(rows) + "\n")
    return path


def test_finished_attempts_are_chosen_by_their_tests_and_their_unknown_cost_is_not_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    resolved = (rng.random((60, 3)) < 0.5).astype(np.float64)
    folder = write_finished(tmp_path / "finished", resolved, resolved[None])  # a test passes with right patches alone
    tasks = tmp_path / "tasks.jsonl"
    ids = [f"repo{i % 3}__{i}" for i in range(60)]
    lines = [json.dumps({"instance_id": i, "problem_statement": f"text {i}", "patch": "gold"}) for i in ids]
    tasks.write_text("\n".join(lines))
    settings = EvaluationSettings(policies=("select",), repeats=1, permutations=9)
    results = replay(
        RecordedSources([folder], tasks), settings, tmp_path / "out", cache=tmp_path, embedder=CountingEmbedder()
    )
    row = next(row for row in results.rows if row.name == "select" and row.evaluation == "cross-fitted")
    assert row.resolved == resolved.max(axis=1).sum(), "of any right attempts one is handed in"
    assert row.cost_per_instance is None
    said = next(statement.text for statement in results.recommendation.statements if statement.label == "Selection")
    assert said.endswith("for several attempts per instance, whose cost is unknown.")
    again = replay(RecordedSources([tmp_path / "out"], tasks), settings, cache=tmp_path, embedder=CountingEmbedder())
    assert [r.resolved for r in again.rows] == [r.resolved for r in results.rows], "outcomes.csv keeps the signals"


def test_replay_writes_the_folder_and_repeats_itself(tasks: Path, outcomes: Path, tmp_path: Path):
    sources = RecordedSources([outcomes], tasks, pool=["ant", "bee"])
    settings = EvaluationSettings(repeats=2, permutations=9)
    arguments = {"cache": tmp_path / "cache", "embedder": CountingEmbedder()}
    first = replay(sources, settings, out=tmp_path / "one", **arguments)
    replay(sources, settings, out=tmp_path / "two", **arguments)
    files = ["outcomes.csv", "results.csv", "results.json", "results.md"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert read_results(tmp_path / "one") == first
    assert first.instances == 11
    assert any("1 of 12 instances has no outcome of the pool" in note for note in first.notes)
    # the written outcomes are an input again
    assert replay(replace(sources, outcomes=[tmp_path / "one"]), settings, **arguments).rows == first.rows


def test_a_selection_is_what_is_evaluated(tasks: Path, outcomes: Path):
    sources = RecordedSources([outcomes], tasks, select=["slice=2:9"])
    _, matrix = replay_sources(
        sources, EvaluationSettings(folds=2, repeats=1, permutations=9), embedder=CountingEmbedder()
    )
    assert matrix.instances == tuple(f"i{k}" for k in range(2, 9))
    with pytest.raises(InputError, match=r"id=z\* matches none of 11 instances"):
        replay_sources(replace(sources, select=["id=z*"]), embedder=CountingEmbedder())


def test_clusters_can_come_from_a_corpus_which_must_not_know_the_instances(
    tasks: Path, outcomes: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    texts = [{"id": "mine/1", "text": "cdcd"}, {"id": "mine/2", "text": "efef"}, {"id": "mine/3", "text": "AAA "}]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in texts))
    sources = RecordedSources([outcomes], tasks, corpus=str(corpus))
    settings = EvaluationSettings(
        policies=["hypernova", "cluster"],
        params={name: {"n_clusters": 2} for name in ("hypernova", "cluster")},
        folds=2,
        repeats=1,
        permutations=9,
    )
    with pytest.raises(InputError, match="mine/3 is the evaluation instance i0"):
        replay(sources, settings, embedder=CountingEmbedder())
    results = replay(replace(sources, drop_leaks=True), settings, embedder=CountingEmbedder())
    assert "clusters are learned from 2 texts of corpus.jsonl" in results.notes
    rows = {(row.name, row.evaluation): row for row in results.rows}
    assert rows["hypernova", "in-sample"].null is not None
    for evaluation in ("cross-fitted", "in-sample"):
        assert rows["hypernova", evaluation].resolved == rows["cluster", evaluation].resolved, "the same clusters"
    # the letters make vectors of 8 dimensions, which the centroids that come with polyswe do not fit
    with pytest.raises(InputError, match="centroids of 384 dimensions do not fit embeddings of 8"):
        replay(replace(sources, corpus=None), settings, embedder=CountingEmbedder())


def test_a_selection_without_tests_is_said_to_be_the_best_fixed_model_at_the_price_of_all(
    tasks: Path, outcomes: Path
) -> None:
    settings = EvaluationSettings(policies=["select:members=2"], folds=2, repeats=1, permutations=9)
    results = replay(RecordedSources([outcomes], tasks), settings, embedder=CountingEmbedder())
    rows = {row.name: row for row in results.rows if row.evaluation == "cross-fitted"}
    assert rows["select:members=2"].resolved == rows["best-fixed"].resolved
    assert rows["select:members=2"].cost_per_instance == 2 * rows["best-fixed"].cost_per_instance
    (note,) = (
        note for note in results.notes if note.startswith("select:members=2: no test of an attempt is on record")
    )
    assert "tests_fixed" in note
    with pytest.raises(InputError, match="carry=patch cannot be replayed"):
        replay(
            RecordedSources([outcomes], tasks),
            EvaluationSettings(policies=["cascade:carry=patch"], folds=2, repeats=1, permutations=9),
            embedder=CountingEmbedder(),
        )


def test_columns_that_a_router_must_not_see_are_not_read(tasks: Path):
    assert read_problem_statements(tasks)["i3"] == "bbbbbb"
    assert len(read_problem_statements(tasks)) == 12


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_tasks_come_as_json_or_parquet(tmp_path: Path, suffix: str):
    rows = pandas.DataFrame({"instance_id": ["a", "b"], "problem_statement": ["x", "y"], "n": [1, 2]})
    path = tmp_path / f"tasks.{suffix}"
    if suffix == "json":
        rows.to_json(path, orient="records")
    else:
        rows.to_parquet(path)
    assert read_problem_statements(path) == {"a": "x", "b": "y"}


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (['{"instance_id": "a", "problem_statement": "x"}'] * 2, "a more than once"),
        (['{"instance_id": "a", "problem_statement": " "}', '{"instance_id": "b"}'], "no problem_statement for a, b"),
        (['{"problem_statement": "x"}'], "no instance_id in row 1"),
        (['{"instance_id": "a", "problem_st'], "line 1"),
        ([], "no instances in it"),
    ],
)
def test_tasks_that_cannot_be_used_are_named(tmp_path: Path, lines: list[str], complaint: str):
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=complaint):
        read_problem_statements(path)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "/nowhere/tasks.parquet", "/nowhere/at-all", "plain-word", "a/b/c"])
def test_a_missing_file_is_not_sought_on_the_hub(name: str):
    with pytest.raises(InputError, match="no such file"):
        read_problem_statements(name)


def test_embeddings_are_made_once_per_text(tmp_path: Path):
    embedder = CountingEmbedder()
    first = embed(embedder, ["aa", "bb", "aa"], root=tmp_path)
    again = embed(embedder, ["cc", "aa", "bb"], root=tmp_path)
    assert embedder.encoded == ["aa", "bb", "cc"]
    np.testing.assert_array_equal(first[[0, 1]], again[[1, 2]])
    np.testing.assert_array_equal(again, CountingEmbedder().encode(["cc", "aa", "bb"]))


def test_another_model_has_another_shelf(tmp_path: Path):
    embed(CountingEmbedder(), ["aa"], root=tmp_path)
    other = CountingEmbedder()
    other.fingerprint = "letters/2"
    embed(other, ["aa"], root=tmp_path)
    assert other.encoded == ["aa"]


def test_a_damaged_cache_is_rebuilt(tmp_path: Path):
    embed(CountingEmbedder(), ["aa"], root=tmp_path)
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:40])
    again = CountingEmbedder()
    embed(again, ["aa"], root=tmp_path)
    assert again.encoded == ["aa"]
    assert embed(CountingEmbedder(), ["aa"], root=tmp_path).shape == (1, 8)


def test_the_cache_may_be_shared(tmp_path: Path):
    texts = [["ab" * k, "cd" * k, f"own {k}"] for k in range(1, 20)]
    with ThreadPoolExecutor(8) as workers:
        found = list(workers.map(lambda chunk: embed(CountingEmbedder(), chunk, root=tmp_path), texts))
    for chunk, vectors in zip(texts, found, strict=True):
        np.testing.assert_array_equal(vectors, CountingEmbedder().encode(chunk))
    late = CountingEmbedder()
    embed(late, [text for chunk in texts for text in chunk], root=tmp_path)
    assert late.encoded == []


def test_the_published_record(shared_data: Path, tmp_path: Path):
    """The numbers of the recorded pool, computed from the site's file as it is. Letters stand in for the embedder:
    singles, oracle and pairs do not depend on it."""
    sources = RecordedSources(
        [shared_data / "outcomes" / "leaderboards-2025-12-10.json"],
        shared_data / "tasks" / "swebench_verified.jsonl",
        pool=["opus medium", "gemini 3 pro", "4.5 sonnet"],
    )
    settings = EvaluationSettings(repeats=1, permutations=9)
    results = replay(sources, settings, embedder=CountingEmbedder(), cache=tmp_path)
    singles = [row for row in results.rows if row.kind == "single"]
    assert [row.resolved for row in singles] == [372, 371, 353]
    assert [round(row.cost_per_instance or 0, 3) for row in singles] == [0.721, 0.460, 0.558]
    assert [round(end, 3) for end in singles[0].rate_ci95] == [0.704, 0.780]
    assert results.complementarity.oracle == 414
    pair = next(pair for pair in results.complementarity.pairs if "Opus" in pair.a and "Sonnet" in pair.b)
    assert (pair.both, pair.a_only, pair.b_only, pair.neither) == (330, 42, 23, 105)
    assert results.null is not None
    assert results.null.in_sample_random_clusters.mean > 372 + 3 * results.null.in_sample_random_clusters.sd
    assert "random clusters reach" in render_terminal(results)


def test_without_a_pool_every_sound_run_is_taken(shared_data: Path):
    from harness.importers import outcome_matrix

    path = shared_data / "outcomes" / "leaderboards-2025-12-10.json"
    statements = read_problem_statements(shared_data / "tasks" / "swebench_verified.jsonl")
    matrix, _ = outcome_matrix(load_outcomes([path]).runs, None, list(statements))
    assert matrix.resolved.shape == (500, 24)
    assert not any("3.7 Sonnet" in model for model in matrix.models)


def test_auxiliary_runs_repeats_and_sizes_reach_the_document(tmp_path: Path):
    rng = np.random.default_rng(0)
    ids = [f"org__{'ab'[k % 2]}-{k}" for k in range(60)]
    rows = [{"instance_id": i, "problem_statement": "ab"[k % 2] * (k + 3)} for k, i in enumerate(ids)]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def record(name: str, *models: str) -> Path:
        lines = [f"{i},{model},{int(rng.random() < 0.6)},0.5" for model in models for i in ids]
        (tmp_path / name).write_text("instance_id,model,resolved,cost_usd\n" + "\n".join(lines) + "\n")
        return tmp_path / name

    pool = record("pool.csv", "ant", "bee")
    sources = RecordedSources(
        [pool],
        tmp_path / "tasks.jsonl",
        auxiliary=[record("more.csv", "cat"), pool],
        repeats_from=[record("again.csv", "dog run1", "dog run2")],
    )
    settings = EvaluationSettings(repeats=1, folds=3, permutations=19, null_sizes=[30, 20, 10])
    arguments = {"cache": tmp_path / "cache", "embedder": CountingEmbedder()}
    results = replay(sources, settings, **arguments)
    assert results.pool == ["ant", "bee"]
    assert results.auxiliary == ["cat"]
    assert results.complementarity.repeatable_oracle is not None
    assert "dog (2 runs × 60 instances)" in results.complementarity.repeatable_oracle.method
    assert results.null_of_sizes is not None
    assert results.null_of_sizes.sizes == [30, 20, 10]
    kinds = [(row.name, row.evaluation) for row in results.rows if row.kind == "policy"]
    assert ("cluster", "leave-one-repository-out") in kinds
    assert ("best-fixed", "cross-fitted") in kinds
    assert any("chosen in hindsight" in note for note in results.notes)
    with pytest.raises(InputError, match="null sizes: cluster sizes sum to 5"):
        replay(sources, replace(settings, null_sizes=[5]), **arguments)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("verified", "SWE-bench Verified"),
        ("SWE-bench/SWE-bench_Lite", "SWE-bench Lite"),
        ("../data/tasks/swebench_verified.jsonl", "swebench_verified"),
        (Path("/data/my tasks.parquet"), "my tasks"),
        ("/data/verified-copy", "verified-copy"),
        ("sample", "sample"),
    ],
)
def test_a_title_is_a_name_and_no_path(name: str | Path, title: str):
    assert dataset_title(name) == title
