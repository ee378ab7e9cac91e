"""Submissions' folders, official reports and several sources at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import InputError
from harness.importers import RecordedCell, RecordedRun, auxiliary_matrix, latest_date, load_outcomes, outcome_matrix
from harness.importers.duplicates import same_verdicts
from harness.importers.same_model import may_be_of, model_words, run_date

IDS = [f"org__lib-{k}" for k in range(200)]


def submission(root: Path, name: str, resolved: list[str], title: str | None = None, **lists: list[str]) -> None:
    results = root / "evaluation" / "verified" / name / "results"
    results.mkdir(parents=True)
    (results / "results.json").write_text(
        json.dumps({"resolved": resolved, "no_generation": [], "no_logs": []} | lists)
    )
    if title:
        (results.parent / "metadata.yaml").write_text(f"info:\n  name: {title}\n")


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, title in (("20250101_a", "Agent A"), ("20250202_b", "Agent B")):
        submission(tmp_path, name, [i for i in IDS if rng.random() < 0.6], title)
    return tmp_path


def table(path: Path, name: str, resolved: Any, cost: float = 0.5) -> Path:
    rows = [f"{i},{name},{int(r)},{cost}" for i, r in zip(IDS, resolved, strict=True)]
    path.write_text("instance_id,model,resolved,cost_usd\n" + "\n".join(rows) + "\n")
    return path


def column(folder: Path, name: str) -> np.ndarray:
    listed = json.loads((folder / "evaluation/verified" / name / "results/results.json").read_text())["resolved"]
    return np.array([float(i in listed) for i in IDS])


def test_a_submission_failed_where_it_lists_nothing_and_states_no_cost(experiments: Path):
    for place in (experiments, experiments / "evaluation", experiments / "evaluation" / "verified"):
        matrix, _ = outcome_matrix(load_outcomes([place]).runs, ["agent a", "agent b"], IDS)
        assert len(matrix) == 200
        assert np.array_equal(matrix.resolved[:, 0], column(experiments, "20250101_a"))
        assert np.isnan(matrix.cost).all()


def test_another_benchmarks_instances_did_not_fail(experiments: Path):
    """Of Lite's 300 instances a Verified submission speaks of those in Verified only."""
    universe = column(experiments, "20250101_a") + column(experiments, "20250202_b") > 0
    half = [*IDS[:100], "other__repo-1", "other__repo-2"]
    matrix, _ = outcome_matrix(load_outcomes([experiments]).runs, ["agent a"], half)
    assert matrix.instances == tuple(i for i, known in zip(IDS[:100], universe, strict=False) if known)


def test_damaged_and_empty_submissions_are_refused(tmp_path: Path):
    submission(tmp_path, "20250101_none", [])
    submission(tmp_path, "20250102_both", ["a", "b"], no_generation=["a"])
    submission(tmp_path, "20250103_good", ["a"])
    runs = load_outcomes([tmp_path]).runs
    with pytest.raises(InputError, match="listed as resolved and as without a patch"):
        outcome_matrix(runs, ["both"], ["a", "b"])
    assert outcome_matrix(runs, None, ["a", "b"])[0].models == ("20250103_good",)
    (tmp_path / "evaluation/verified/20250103_good/results/results.json").write_text('{"resolved": "a"}')
    with pytest.raises(InputError, match="'resolved' is not a list"):
        load_outcomes([tmp_path])


def report(path: Path, **lists: Any) -> Path:
    path.write_text(json.dumps({"schema_version": 2, "resolved_ids": [], "unresolved_ids": []} | lists))
    return path


def test_an_official_report_counts_empty_patches_as_failed_and_errors_as_unknown(tmp_path: Path):
    path = report(
        tmp_path / "opus-4.5.run7.json",
        resolved_ids=["a"], unresolved_ids=["b", "f"], empty_patch_ids=["c"], error_ids=["d"], incomplete_ids=["e"],
    )  # fmt: skip
    matrix, notes = outcome_matrix(load_outcomes([path]).runs, ["opus"], list("abcdef"))
    assert matrix.models == ("opus-4.5",)
    assert dict(zip(matrix.instances, matrix.resolved[:, 0].tolist(), strict=True)) == {"a": 1, "b": 0, "c": 0, "f": 0}
    assert any("2 instances ended in an error or never ran" in note for note in notes)


def test_an_infrastructure_failure_is_not_the_models(tmp_path: Path):
    path = report(tmp_path / "m.r.json", resolved_ids=["a"], unresolved_ids=["b"], infra_failure_ids=["b"])
    assert load_outcomes([path]).runs[0].cells["b"].resolved is None


@pytest.mark.parametrize(
    ("lists", "complaint"),
    [
        ({"schema_version": 1}, "schema_version 1, expected 2"),
        ({"resolved_ids": ["a"], "unresolved_ids": ["a"]}, "a is listed as resolved and as failed"),
        ({"resolved_ids": {"a": 1}}, "'resolved_ids' is not a list"),
        ({}, "no instance is listed"),
        ({"resolved_ids": ["a"], "resolved_instances": 2}, "resolved_instances is 2, but resolved_ids lists 1"),
        ({"unresolved_ids": ["a"], "error_ids": ["a"]}, "a is listed as failed and as an error"),
        ({"resolved_ids": ["a"], "incomplete_ids": ["a"]}, "a is listed as resolved and as an error or incomplete"),
        ({"resolved_ids": ["a", "a"]}, "lists a twice"),
        ({"resolved_ids": ["a", "b"], "total_instances": 1}, "resolved_ids lists 2 of 1 instances"),
        ({"resolved_ids": ["a"], "submitted_ids": ["b"]}, "a has an outcome, but was not submitted"),
    ],
)
def test_a_damaged_report_is_named(tmp_path: Path, lists: dict[str, Any], complaint: str):
    with pytest.raises(InputError, match=complaint):
        load_outcomes([report(tmp_path / "m.r.json", **lists)])


def test_what_a_report_does_not_list_is_counted(tmp_path: Path):
    lists = {"resolved_ids": ["a"], "submitted_ids": ["a", "b"], "total_instances": 5}
    notes = load_outcomes([report(tmp_path / "m.r.json", **lists)]).runs[0].notes
    assert any("1 submitted instance is in no list of outcomes, e.g. b" in note for note in notes)
    assert any("the report is of 5 instances and lists 1" in note for note in notes)


DETAILS = {"a": {"resolved": True, "cost": 0.5, "api_calls": 9}, "b": {"resolved": False, "cost": 0.25, "api_calls": 3}}


def test_costs_of_a_submission_are_read_beside_its_lists(tmp_path: Path):
    submission(tmp_path, "20250101_a", ["a"])
    submission(tmp_path, "20250102_b", ["b"])
    (tmp_path / "evaluation/verified/20250101_a/per_instance_details.json").write_text(json.dumps(DETAILS))
    loaded = load_outcomes([tmp_path])
    matrix, _ = outcome_matrix(loaded.runs, None, ["a", "b"])
    assert matrix.resolved.tolist() == [[1, 0], [0, 1]]
    assert matrix.cost[:, 0].tolist() == [0.5, 0.25]
    assert np.isnan(matrix.cost[:, 1]).all()
    assert matrix.calls[0, 0] == 9
    assert any("1 of 2 submissions state no costs" in note for note in loaded.notes)


def test_a_submission_with_details_alone_and_the_file_itself_are_read(tmp_path: Path):
    folder = tmp_path / "evaluation/multilingual/20260101_c"
    folder.mkdir(parents=True)
    (folder / "per_instance_details.json").write_text(json.dumps(DETAILS))
    for place in (tmp_path, folder, folder / "per_instance_details.json"):
        (run,) = load_outcomes([place]).runs
        assert (run.name, run.cell("a").cost_usd, run.cell("b").resolved) == ("20260101_c", 0.5, False)


def test_lists_and_details_that_disagree_are_a_fault(tmp_path: Path):
    submission(tmp_path, "20250101_a", ["b"])
    (tmp_path / "evaluation/verified/20250101_a/per_instance_details.json").write_text(json.dumps(DETAILS))
    (run,) = load_outcomes([tmp_path]).runs
    assert run.fault is not None
    assert "disagree on 2 instances, e.g. a" in run.fault


def test_a_copy_under_another_name_is_refused_and_the_record_with_costs_is_kept(experiments: Path, tmp_path: Path):
    copy = table(tmp_path / "mine.csv", "My agent", column(experiments, "20250101_a"))
    runs = load_outcomes([experiments, copy]).runs
    assert outcome_matrix(runs, None, IDS)[0].models == ("Agent B", "My agent")
    with pytest.raises(InputError, match="verdicts are those of 'My agent'"):
        outcome_matrix(runs, ["agent a"], IDS)


def test_two_names_in_one_file_are_two_runs(tmp_path: Path):
    resolved = np.arange(200) % 2
    rows = [f"{i},{name},{r}" for name in ("ant", "bee") for i, r in zip(IDS, resolved, strict=True)]
    path = tmp_path / "o.csv"
    path.write_text("instance_id,model,resolved\n" + "\n".join(rows) + "\n")
    assert outcome_matrix(load_outcomes([path]).runs, None, IDS)[0].models == ("ant", "bee")


def test_a_rerun_is_no_copy_and_neither_are_two_wrecks():
    rng = np.random.default_rng(1)
    first = (rng.random(500) < 0.7).astype(float)
    rerun = np.where(rng.random(500) < 0.05, 1 - first, first)
    assert not same_verdicts(first, rerun)
    assert same_verdicts(first, np.where(np.arange(500) < 3, 1 - first, first))
    wreck = np.zeros(500)
    wreck[:9] = 1
    assert not same_verdicts(wreck, wreck)


def test_auxiliary_runs_are_aligned_and_never_the_pools_own(experiments: Path, tmp_path: Path):
    pool = table(tmp_path / "pool.csv", "Mine", column(experiments, "20250101_a"))
    matrix, _ = outcome_matrix(load_outcomes([pool]).runs, None, IDS)
    some = matrix.take(np.arange(150, 50, -1))
    auxiliary, notes = auxiliary_matrix(load_outcomes([experiments, pool]).runs, some, benchmark=IDS)
    assert auxiliary is not None
    assert auxiliary.models == ("Agent B",)
    assert auxiliary.instances == some.instances
    assert np.array_equal(auxiliary.resolved[:, 0], column(experiments, "20250202_b")[150:50:-1])
    assert "1 auxiliary run," in notes[0]
    only, _ = auxiliary_matrix(load_outcomes([pool]).runs, some)
    assert only is None


def test_the_real_record_merges_into_one_pool(shared_data: Path):
    outcomes = shared_data / "outcomes"
    loaded = load_outcomes([outcomes / "leaderboards-2026-02-26.json", outcomes / "experiments"])
    sound = [run for run in loaded.runs if run.fault is None]
    assert len({run.folder for run in sound}) == len(sound)
    assert not any("3-7-sonnet-20250219" in str(run.folder) and "mini-v0" in str(run.folder) for run in sound)
    ids = [json.loads(line)["instance_id"] for line in (shared_data / "tasks/swebench_verified.jsonl").open()]
    matrix, _ = outcome_matrix(loaded.runs, ["4.5 opus (high", "gemini 3 flash"], ids)
    auxiliary, _ = auxiliary_matrix(loaded.runs, matrix)
    assert auxiliary is not None
    assert auxiliary.resolved.shape[1] > 150
    assert auxiliary.complete()


def test_a_model_is_known_by_its_words_and_a_run_by_its_day():
    assert model_words("GPT-5-2 (high reasoning)") == model_words("gpt-5.2")
    assert model_words("mini-SWE-agent + Claude Opus 4.6") == model_words("Claude 4.6 Opus")
    assert may_be_of("Claude 4.5 Opus (high reasoning)", "20251127_openhands_claude-opus-4-5")
    assert may_be_of("Claude 4.5 Opus (high reasoning)", "Claude 4.5 Opus medium (20251101)")
    assert not may_be_of("Claude 4.5 Opus", "Claude 4.5 Sonnet (high reasoning)")
    assert not may_be_of("GPT 5.2 Codex", "GPT-5.2 (2025-12-11)")
    assert run_date(RecordedRun("a", "f", {}, date="2026-02-17")) == "20260217"
    assert run_date(RecordedRun("a", "f", {}, folder="20251215_x_claude")) == "20251215"
    assert run_date(RecordedRun("a", "f", {}, folder="bash-only/a")) is None


def test_what_is_later_than_the_pool_does_not_inform_it():
    rng = np.random.default_rng(0)
    days = {"own": "2025-11-24", "early": "2025-09-29", "late": "2025-12-01", "whenever": None}
    runs = [
        RecordedRun(name, "f", {i: RecordedCell(bool(rng.random() < 0.5)) for i in IDS}, folder=name, date=day)
        for name, day in days.items()
    ]
    matrix, _ = outcome_matrix(runs, ["own"], IDS)
    last = latest_date(runs, matrix)
    assert last == "20251124"
    others, notes = auxiliary_matrix(runs, matrix, not_after=last)
    assert others is not None
    assert set(others.models) == {"early", "whenever"}
    assert "1 later than 20251124" in notes[0]
