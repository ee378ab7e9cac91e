"""Recorded outcomes come in as they are published; faults are told, never silently averaged in."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import wait_none

from harness.errors import EnvironmentUnavailableError, InputError
from harness.importers import load_outcomes, outcome_matrix, source, unknown_verdicts, write_outcomes_csv
from router.outcomes import OutcomeMatrix


def row(name: str, folder: str | None, percent: float | None, resolved: dict[str, bool] | None) -> dict[str, Any]:
    details = resolved and {i: {"resolved": r, "cost": 0.5, "api_calls": 7} for i, r in resolved.items()}
    return {"name": name, "folder": folder, "resolved": percent, "instance_cost": 0.5, "per_instance_details": details}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A small leaderboards.json with the faults that the real one has."""
    opus = row("Opus", "f1", 50.0, {"a": True, "b": False})
    document = {
        "leaderboards": [
            {
                "name": "Verified",
                "results": [opus | {"name": "mini-SWE-agent + Opus"}, row("Closed", "f9", 80.0, None)],
            },
            {
                "name": "bash-only",
                "results": [
                    opus,
                    row("Sonnet 3.7", "f2", 52.8, {"a": False, "b": False}),
                    row("Sonnet 4", "f3", 50.3, {"a": True, "b": False}),
                    row("Half", "f4", 100.0, {"a": True}),
                ],
            },
            {"name": "Multilingual", "results": [row("Opus", "f5", 100.0, {"z": True})]},
        ]
    }
    path = tmp_path / "leaderboards.json"
    path.write_text(json.dumps(document))
    return path


def test_one_run_on_two_boards_is_one_run_under_its_own_name(board: Path):
    loaded = load_outcomes([board])
    assert [run.name for run in loaded.runs] == ["Opus", "Sonnet 3.7", "Sonnet 4", "Half", "Opus"]
    assert any("skipped 1 row without per-instance outcomes" in note for note in loaded.notes)


def test_runs_of_other_datasets_do_not_make_a_name_ambiguous(board: Path):
    matrix, _ = outcome_matrix(load_outcomes([board]).runs, ["opus"], ["a", "b"])
    assert matrix.models == ("Opus",)
    assert matrix.resolved[:, 0].tolist() == [1, 0]
    assert matrix.cost[:, 0].tolist() == [0.5, 0.5]
    assert matrix.calls[:, 0].tolist() == [7, 7]
    assert np.isnan(matrix.seconds).all()


def test_a_run_that_contradicts_its_published_rate_is_refused_by_name_and_left_out_otherwise(board: Path):
    runs = load_outcomes([board]).runs
    with pytest.raises(InputError, match=r"'Sonnet 3\.7' cannot be used: 52\.8 % was published, 0 of 2 = 0 %"):
        outcome_matrix(runs, ["sonnet 3.7"], ["a", "b"])
    assert outcome_matrix(runs, None, ["a", "b"])[0].models == ("Opus", "Sonnet 4")
    matrix, notes = outcome_matrix(runs, ["sonnet 3.7"], ["a", "b"], allow_faulty=True)
    assert matrix.models == ("Sonnet 3.7",)
    assert "contradicts itself" in notes[0]


def blanks(path: Path, missing: dict[str, int], n: int = 20) -> Path:
    """Models of n instances, each without its first so many verdicts."""
    rows = [f"i{k},{model},{'' if k < gaps else k % 2},0.5" for model, gaps in missing.items() for k in range(n)]
    path.write_text("instance_id,model,resolved,cost_usd\n" + "\n".join(rows) + "\n")
    return path


def test_a_model_that_lacks_a_few_verdicts_stays_in_the_default_pool(tmp_path: Path):
    runs = load_outcomes([blanks(tmp_path / "o.csv", {"ant": 0, "bee": 1, "cat": 4, "dog": 5})]).runs
    matrix, notes = outcome_matrix(runs, None, [f"i{k}" for k in range(20)])
    assert matrix.models == ("ant", "bee", "cat")
    assert any("left out of the pool, as they know fewer instances: dog (15 of 20)" in note for note in notes)
    assert unknown_verdicts(matrix) == [
        "bee: 1 of 20 verdicts is unknown (i0); it resolved 10 if they all failed, 11 if none did",
        "cat: 4 of 20 verdicts are unknown (i0, i1, i2 and 1 more); it resolved 8 if they all failed, 12 if none did",
    ]


def test_a_default_pool_of_one_model_is_refused_and_names_the_others(tmp_path: Path):
    runs = load_outcomes([blanks(tmp_path / "o.csv", {"ant": 0, "bee": 10, "cat": 12})]).runs
    with pytest.raises(InputError, match=r"only 'ant' knows 20 of 20 .* bee \(10 of 20\), cat \(8 of 20\).*--model"):
        outcome_matrix(runs, None, [f"i{k}" for k in range(20)])
    assert outcome_matrix(runs, ["ant", "cat"], [f"i{k}" for k in range(20)])[0].models == ("ant", "cat")


def test_another_denominator_is_a_note(board: Path):
    _, notes = outcome_matrix(load_outcomes([board]).runs, ["sonnet 4"], ["a", "b"])
    assert notes == [
        "Sonnet 4: 50.3 % was published, 1 of 2 = 50 % is recorded per instance; "
        "the published rate has another denominator"
    ]


def test_missing_cells_are_unknown_not_failed(board: Path):
    matrix, notes = outcome_matrix(load_outcomes([board]).runs, ["opus", "half"], ["a", "b", "c"])
    assert matrix.instances == ("a", "b")
    assert math.isnan(matrix.resolved[1, 1])
    assert any("1 of 3 instances has no outcome" in note for note in notes)


def test_outcomes_of_another_dataset_say_so(board: Path):
    with pytest.raises(InputError, match=r"recorded: a, ….*tasks: django-1"):
        outcome_matrix(load_outcomes([board]).runs, None, ["django-1"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "the file is empty"),
        ("<!DOCTYPE html><html>", "web page"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ('{"leaderboards": [{"name": "bash-on', r"not valid JSON \(line 1.*the file is damaged"),
        ('{"leaderboards": ' + "9" * 5000 + "}", r"not valid JSON \(a number that is too long"),
        ('{"rows": []}', "without a list 'leaderboards'"),
        ("[1, 2]", "without a list 'leaderboards'"),
        ('{"leaderboards": [{"name": "Lite"}]}', "board 'Lite' has no list 'results'"),
        ('{"leaderboards": [{"name": "Lite", "results": [{}]}]}', "row without a name"),
        ('{"leaderboards": [{"name": "Lite", "results": [{"name": "M"}]}]}', "no row has per_instance_details"),
        (
            '{"leaderboards": [{"name": "L", "results": '
            '[{"name": "M", "per_instance_details": {"i": {"resolved": "y"}}}]}]}',
            r"'M', i: resolved is 'y'",
        ),
        (
            '{"leaderboards": [{"name": "L", "results": '
            '[{"name": "M", "per_instance_details": {"i": {"resolved": true, "cost": -1}}}]}]}',
            r"'M', i: cost is -1",
        ),
        ("instance_id,model\na,M\n", "no column 'resolved'"),
        ("instance_id,model,resolved\n", "a header and no rows"),
        ("instance_id,model,resolved\na,M,1\nb,M\n", "line 3: not 3 columns"),
        ("instance_id,model,resolved\na,M,1,9\n", "line 2: not 3 columns"),
        ("instance_id,model,resolved\na,M,maybe\n", "line 2: resolved is 'maybe'"),
        ("instance_id,model,resolved\n,M,1\n", "line 2: blank instance_id"),
        ("instance_id,model,resolved,cost_usd\na,M,1,nan\n", "line 2: cost_usd is 'nan'"),
        ("instance_id,model,resolved\na,M,1\nb,M,1\na,M,0\n", "lines 2 and 4 are both a with 'M'"),
    ],
)
def test_unusable_files_are_named_with_what_is_wrong(tmp_path: Path, content: str, complaint: str):
    path = tmp_path / "outcomes"
    path.write_text(content)
    with pytest.raises(InputError, match=complaint) as caught:
        load_outcomes([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_not_text(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        load_outcomes([tmp_path / "nowhere.json"])
    with pytest.raises(InputError, match=r"folder without outcomes\.csv"):
        load_outcomes([tmp_path])
    (tmp_path / "table.parquet").write_bytes(b"PAR1\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        load_outcomes([tmp_path / "table.parquet"])
    with pytest.raises(InputError, match="no outcomes given"):
        load_outcomes([])


def test_csv_by_the_contract(tmp_path: Path):
    (tmp_path / "outcomes.csv").write_text(
        "\ufeffinstance_id, model, resolved, cost_usd, agent, colour\n"
        'a,"Opus, medium",1,0.5,mini,red\n'
        'b,"Opus, medium",,,mini,\n'
        "a,Other,False,,,\n"
    )
    loaded = load_outcomes([tmp_path])  # a run folder
    assert [(run.name, run.agent) for run in loaded.runs] == [("Opus, medium", "mini"), ("Other", None)]
    matrix, _ = outcome_matrix(loaded.runs, ["opus", "other"], ["a", "b"])
    assert matrix.resolved.tolist()[0] == [1, 0]
    assert matrix.instances == ("a",)  # b is unknown to both


def test_the_same_name_from_two_files_can_be_told_apart(tmp_path: Path):
    for name in ("monday", "sunday"):
        (tmp_path / f"{name}.csv").write_text(f"instance_id,model,resolved\na,Opus,{int(name == 'monday')}\n")
    runs = load_outcomes([tmp_path / "monday.csv", tmp_path / "sunday.csv"]).runs
    with pytest.raises(InputError, match="stands for 2 models"):
        outcome_matrix(runs, ["opus"], ["a"])
    matrix, _ = outcome_matrix(runs, ["opus monday", "opus sunday"], ["a"])
    assert matrix.resolved.tolist() == [[1, 0]]


amounts = st.floats(0, 1e6, allow_nan=False) | st.just(math.nan)
names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1).filter(lambda s: s == s.strip())


@given(
    st.lists(names, min_size=1, max_size=3, unique=True).flatmap(
        lambda models: st.tuples(
            st.just(models),
            st.lists(
                st.tuples(*[st.tuples(st.sampled_from([0.0, 1.0]), amounts, amounts, amounts) for _ in models]),
                min_size=1,
                max_size=4,
            ),
        )
    )
)
def test_a_written_matrix_reads_back_unchanged(tmp_path_factory: pytest.TempPathFactory, case: Any):
    models, cells = case
    values = np.array(cells, dtype=np.float64)
    matrix = OutcomeMatrix(tuple(f"i{k}" for k in range(len(cells))), tuple(models), *np.moveaxis(values, 2, 0))
    path = tmp_path_factory.mktemp("csv") / "outcomes.csv"
    write_outcomes_csv(matrix, path)
    runs = load_outcomes([path]).runs
    back, _ = outcome_matrix(runs, models, matrix.instances)
    assert (back.instances, back.models) == (matrix.instances, matrix.models)
    for field in ("resolved", "cost", "calls", "seconds"):
        np.testing.assert_array_equal(getattr(back, field), getattr(matrix, field))


class Board(BaseHTTPRequestHandler):
    """Answers each request with the next of the server's statuses, then 200."""

    def do_GET(self) -> None:
        statuses: list[int] = self.server.statuses  # type: ignore[attr-defined]
        self.server.requests += 1  # type: ignore[attr-defined]
        status = statuses.pop(0) if statuses else 200
        body = b"instance_id,model,resolved\na,M,1\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Board) as server:
        server.statuses, server.requests = [], 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_download_survives_a_hiccup_and_is_kept(server: ThreadingHTTPServer, tmp_path: Path):
    url = f"http://127.0.0.1:{server.server_port}/outcomes.csv"
    server.statuses[:] = [503]  # type: ignore[attr-defined]
    assert load_outcomes([url], cache=tmp_path).runs[0].name == "M"
    assert load_outcomes([url], cache=tmp_path).runs[0].name == "M"
    assert server.requests == 2  # type: ignore[attr-defined]


def test_a_wrong_address_is_not_asked_twice(server: ThreadingHTTPServer, tmp_path: Path):
    server.statuses[:] = [404]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="answers 404"):
        load_outcomes([f"http://127.0.0.1:{server.server_port}/"], cache=tmp_path)
    assert server.requests == 1  # type: ignore[attr-defined]


def test_offline_an_old_copy_is_used_and_none_is_a_fault(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(source, "FRESH_SECONDS", 0)
    monkeypatch.setattr(source._get.retry, "wait", wait_none())  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{server.server_port}/outcomes.csv"
    load_outcomes([url], cache=tmp_path)
    server.statuses[:] = [503] * source.ATTEMPTS  # type: ignore[attr-defined]
    assert "the copy of" in load_outcomes([url], cache=tmp_path).notes[0]
    server.statuses[:] = [503] * source.ATTEMPTS  # type: ignore[attr-defined]
    with pytest.raises(EnvironmentUnavailableError, match=r"cannot be downloaded.*give a path"):
        load_outcomes([url], cache=tmp_path / "empty")


@pytest.mark.parametrize(
    ("file", "runs", "faulty"),
    [
        ("leaderboards-2025-12-10.json", 25, ["Claude 3.7 Sonnet (20250219)"]),
        # the two Multilingual runs miss more resolved instances than their records lack
        ("leaderboards-2026-02-26.json", 53, ["Claude 3.7 Sonnet (20250219)", "Claude 4.6 Opus", "DeepSeek V3.2"]),
    ],
)
def test_the_published_boards(shared_data: Path, file: str, runs: int, faulty: list[str]):
    loaded = load_outcomes([shared_data / "outcomes" / file])
    assert len(loaded.runs) == runs
    assert [run.name for run in loaded.runs if run.fault] == faulty
    odd = {run.name for run in loaded.runs if any("denominator" in note for note in run.notes)}
    assert {"Claude 4 Sonnet (20250514)", "Llama 4 Maverick Instruct"} <= odd


def test_the_published_pool(shared_data: Path):
    path = shared_data / "outcomes" / "leaderboards-2025-12-10.json"
    runs = load_outcomes([path]).runs
    instances = list(runs[0].cells)
    matrix, notes = outcome_matrix(runs, ["opus medium", "gemini 3 pro", "4.5 sonnet"], instances)
    assert matrix.resolved.sum(axis=0).tolist() == [372, 371, 353]
    assert notes == []
    with pytest.raises(InputError, match="cannot be used"):
        outcome_matrix(runs, ["3.7 sonnet"], instances)


@pytest.mark.parametrize(("file", "models"), [("repeats_qwen3.5-27b.csv", 9), ("repeats_sonnet4.5_100tasks.csv", 7)])
def test_published_repeats(shared_data: Path, file: str, models: int):
    assert len(load_outcomes([shared_data / "outcomes" / file]).runs) == models
