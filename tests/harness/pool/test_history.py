"""A pool through time: models come by date, and what each changed is the difference to the pool without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.instances import read_problem_statements
from harness.data.rows import load_rows
from harness.errors import InputError
from harness.pool import history
from harness.pool.history import pool_history, render_history

IDS = [str(row["instance_id"]) for row in load_rows("sample")]


@pytest.fixture
def record(tmp_path: Path) -> str:
    """Four models of three months; the last resolves what no other does."""
    solved = {"first": range(0, 6), "second": range(3, 9), "third": range(0, 9), "last": range(9, 15)}
    dates = {"first": "2025-08-01", "second": "2025-08-20", "third": "2025-11-02", "last": "2026-02-03"}
    lines = ["instance_id,model,resolved,cost_usd,date"]
    lines += [
        f"{instance},{model},{int(k in solved[model])},0.5,{dates[model]}"
        for model in solved
        for k, instance in enumerate(IDS)
    ]
    path = tmp_path / "record.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_the_pool_grows_by_date_and_the_bound_with_it(record: str) -> None:
    found = pool_history([record], read_problem_statements("sample"))
    assert [(at.month, at.models, at.oracle) for at in found.steps] == [
        ("2025-08", 2, 9),
        ("2025-11", 3, 9),
        ("2026-02", 4, 15),
    ]
    last = found.steps[-1]
    assert (last.best, last.best_resolved) == ("third", 9)
    (newcomer,) = last.newcomers
    assert (newcomer.model, newcomer.resolved, newcomer.oracle_delta) == ("last", 6, 6)
    assert newcomer.routed_delta == pytest.approx(last.routed - _without_last(record))
    assert last.removed is not None
    assert "2026-02: what each new model changed" in render_history(found)


def _without_last(record: str) -> float:
    found = pool_history([record], read_problem_statements("sample"), pool=["first", "second", "third"])
    return found.steps[-1].routed


def test_months_and_records_that_do_not_fit_are_told(record: str, tmp_path: Path) -> None:
    statements = read_problem_statements("sample")
    assert [at.month for at in pool_history([record], statements, months=["2025-12"]).steps] == ["2025-12"]
    with pytest.raises(InputError, match="a month like 2025-11"):
        pool_history([record], statements, months=["November"])
    with pytest.raises(InputError, match="fewer than two models"):
        pool_history([record], statements, months=["2024-01"])
    with pytest.raises(InputError, match="fewer than two models are in the pool"):
        pool_history([record], statements, pool=["first"])
    odd = tmp_path / "odd.csv"
    odd.write_text(Path(record).read_text().replace("2025-11-02", "2025-13-45").replace("2025-08-20", "20250820"))
    found = pool_history([str(odd)], statements)
    assert [(at.month, at.models) for at in found.steps] == [("2025-08", 2), ("2026-02", 3)]
    assert any("third (2025-13-45)" in note for note in found.notes)
    undated = tmp_path / "undated.csv"
    undated.write_text("instance_id,model,resolved\n" + "".join(f"{i},m,1\n" for i in IDS))
    with pytest.raises(InputError, match="has a date"):
        pool_history([str(undated)], statements)


def test_the_seed_reaches_the_clusters(record: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    fit = history.fit_features
    monkeypatch.setattr(
        history, "fit_features", lambda p, *a, **k: (seeds.append(p.get_params().get("seed")), fit(p, *a, **k))[1]
    )
    pool_history([record], read_problem_statements("sample"), seed=7, months=["2025-08"])
    assert seeds[0] == 7


def test_the_leaderboards_pool_from_2025_08_to_2026_02(shared_data: Path) -> None:
    found = pool_history(
        [str(shared_data / "outcomes" / "leaderboards-2026-02-26.json")],
        read_problem_statements(shared_data / "tasks" / "swebench_verified.jsonl"),
        months=["2025-08", "2026-02"],
    )
    assert [at.best_resolved for at in found.steps] == [338, 384]
    assert found.steps[0].oracle < found.steps[1].oracle
    assert all(at.routed <= at.oracle for at in found.steps)
