"""Repeated attempts: the estimators against brute force, what is taken where attempts are missing, and who uses it."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compare.load import load_side
from harness.compare.noise import BUILT_IN, LEAST_REPEATED, noise_from, own_noise
from harness.errors import InputError
from harness.evaluation.repeats import pass_at, pass_hat, repeated_attempts
from harness.evaluation.schema import RepeatedAttempts
from harness.evaluation.settings import EvaluationSettings
from harness.importers import load_outcomes
from harness.importers.repeats import RepeatedModel, repeated_model
from harness.replay import RecordedSources, replay_sources, write_replay
from harness.report.tables import render_markdown, render_terminal
from tests.harness.test_replay import CountingEmbedder

TABLES = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=8)
)


def model_of(table: list[list[bool]]) -> RepeatedModel:
    """A model whose attempts are the columns of a table."""
    attempts: list[dict[str, bool | None]] = [
        {f"i{i}": row[attempt] for i, row in enumerate(table)} for attempt in range(len(table[0]))
    ]
    found = repeated_model("ant", attempts)
    assert found is not None
    return found


def statistics(table: list[list[bool]]) -> RepeatedAttempts:
    (found,) = repeated_attempts([model_of(table)])
    return found


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_the_estimators_are_means_over_all_choices_of_k_attempts(attempts: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(attempts)))
    chosen = list(combinations(attempts, k))
    n, resolved = len(attempts), sum(attempts)
    assert pass_at(n, resolved, k) == pytest.approx(np.mean([any(some) for some in chosen]))
    assert pass_hat(n, resolved, k) == pytest.approx(np.mean([all(some) for some in chosen]))


@given(TABLES)
def test_a_models_statistics_are_what_its_table_says(table: list[list[bool]]) -> None:
    found = statistics(table)
    verdicts = np.array(table, dtype=float)
    k = verdicts.shape[1]
    assert found.resolved == verdicts.sum(axis=0).tolist()
    assert found.mean == pytest.approx(verdicts.sum() / k)
    assert found.sd == pytest.approx(np.sqrt(verdicts.var(axis=1, ddof=1).sum()))
    differ = [(verdicts[:, a] != verdicts[:, b]).mean() for a, b in combinations(range(k), 2)]
    assert found.flip_rate == pytest.approx(np.mean(differ))
    assert found.pass_at[0] == pytest.approx(verdicts.mean()) == found.pass_hat[0]
    assert found.pass_at[-1] == pytest.approx(verdicts.any(axis=1).mean())
    assert found.pass_hat[-1] == pytest.approx(verdicts.all(axis=1).mean())
    assert found.pass_at == sorted(found.pass_at)
    assert found.pass_hat == sorted(found.pass_hat, reverse=True)
    for share, (low, high) in ((found.pass_at[-1], found.pass_at_ci95), (found.pass_hat[-1], found.pass_hat_ci95)):
        assert low <= share + 1e-9
        assert share <= high + 1e-9


def test_the_spread_is_that_of_the_runs() -> None:
    """Of independent verdicts: counts of whole runs scatter as the statistic says."""
    chances = np.random.default_rng(0).random(200)
    runs = np.random.default_rng(1).random((200, 400)) < chances[:, None]
    assert statistics(runs.tolist()).sd == pytest.approx(runs.sum(axis=0).std(ddof=1), rel=0.1)


def test_missing_attempts_are_counted_and_not_guessed() -> None:
    """A third attempt that has only just begun does not throw the second ones away."""
    first: dict[str, bool | None] = {f"i{k}": k % 2 == 0 for k in range(10)}
    second: dict[str, bool | None] = first | {"i8": None, "i9": None}
    third: dict[str, bool | None] = {"i0": False, "i9": True}
    two = repeated_model("ant", [first, second, third])
    assert two is not None
    assert (two.runs.models, len(two.runs), two.left_out) == (("attempt 1", "attempt 2"), 8, 2)
    three = repeated_model("ant", [first, second, dict.fromkeys([f"i{k}" for k in range(8)], True)])
    assert three is not None
    assert (len(three.runs.models), three.left_out) == (3, 2)
    assert repeated_model("ant", [first]) is None
    assert repeated_model("ant", [first, dict.fromkeys(first)]) is None


@pytest.fixture
def sources(tmp_path: Path) -> RecordedSources:
    """Two models with three attempts at 120 instances each, of which some flip."""
    tasks, record = tmp_path / "tasks.jsonl", tmp_path / "record.csv"
    rng = np.random.default_rng(0)
    easy = rng.random((120, 1)) * 0.6 + rng.random((120, 2)) * 0.4
    lines = ["instance_id,model,resolved,cost_usd,attempt"]
    for attempt in (1, 2, 3):
        for i in range(120):
            for model, name in enumerate(("ant", "bee")):
                lines.append(f"i{i},{name},{int(rng.random() < easy[i, model])},0.5,{attempt}")
    record.write_text("\n".join(lines) + "\n")
    rows = [{"instance_id": f"i{k}", "problem_statement": "ab"[k % 2] * (k + 3)} for k in range(120)]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RecordedSources([record], tasks)


def test_a_replay_reads_repeats_and_routes_by_the_first_attempts(sources: RecordedSources, tmp_path: Path) -> None:
    settings = EvaluationSettings(policies=["best-fixed"], folds=2, repeats=1, permutations=9)
    results, outcomes = replay_sources(sources, settings, embedder=CountingEmbedder())
    assert [(one.model, one.attempts, one.instances) for one in results.repeated] == [("ant", 3, 120), ("bee", 3, 120)]
    singles = {row.name: row.resolved for row in results.rows if row.kind == "single"}
    assert singles == {one.model: one.resolved[0] for one in results.repeated}
    oracle = results.complementarity.repeatable_oracle
    assert oracle is not None
    assert oracle.resolved < results.complementarity.oracle
    for text in (render_terminal(results), render_markdown(results)):
        ant = results.repeated[0]
        assert f"{', '.join(map(str, ant.resolved))}" in text
        assert f"± {ant.sd:.1f}" in text
    once = tmp_path / "once"
    write_replay(results, outcomes, once)  # a replay writes the outcomes it was computed from: the first attempts
    again, _ = replay_sources(RecordedSources([once], sources.tasks), settings, embedder=CountingEmbedder())
    assert (again.repeated, again.rows) == ([], results.rows)


def test_the_gate_takes_its_noise_from_the_runs_own_repeats(sources: RecordedSources) -> None:
    (record,) = map(str, sources.outcomes)
    side = load_side(record)
    assert [model.name for model in side.repeated] == ["ant", "bee"]
    own = own_noise(side.repeated)
    assert own.source.startswith("these runs' own repeats: 3 runs of ant on 120 instances")
    assert own.share == noise_from([record]).share != BUILT_IN.share
    few = own_noise([model_of([[True, False]] * (LEAST_REPEATED - 1))])
    assert few.share == BUILT_IN.share
    assert f"{LEAST_REPEATED} are needed" in few.source
    assert own_noise([]) is BUILT_IN


@pytest.mark.parametrize("attempt", ["0", "1.5", "two", "-1", "1001", "9" * 5000])
def test_a_damaged_number_of_an_attempt_is_named(tmp_path: Path, attempt: str) -> None:
    path = tmp_path / "record.csv"
    path.write_text(f"instance_id,model,resolved,attempt\ni0,ant,1,1\ni0,ant,1,{attempt}\n")
    with pytest.raises(InputError, match="line 3: attempt is"):
        load_outcomes([path])
