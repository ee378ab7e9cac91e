"""A run in the formats of other tools, read back with their own libraries."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import EnvironmentUnavailableError, InputError
from harness.export.tables import export_csv, export_parquet
from harness.grading.verdict import Verdict
from harness.importers import load_outcomes
from harness.run.results import results_again
from harness.run.run_record import RunRecord, read_record
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
LARGE, SMALL = "scripted-large", "scripted-small"
IDS = ["polyswe__tabula-101", "polyswe__spanset-303", "polyswe__billing-201"]
MISSING = (IDS[1], SMALL)


@pytest.fixture
def record(make_run: MakeRun) -> RunRecord:
    verdicts = {
        (IDS[0], LARGE): Verdict.RESOLVED,
        (IDS[1], LARGE): Verdict.TEST_TIMEOUT,
        (IDS[2], LARGE): Verdict.RESOLVED,
    }
    folder = make_run("friday", verdicts=verdicts, only=IDS, unfinished=[MISSING])
    broken = {"id": "d", "type": "function", "function": {"name": "x", "arguments": "{"}}
    call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "It fails \ud800"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call, broken],
        },
        {"role": "tool", "tool_call_id": "c", "content": "\x1b[31ma.py"},
        {"role": "exit", "content": "patch"},
    ]
    (folder.cell_dir(Cell(IDS[0], LARGE)) / "trajectory.json").write_text(json.dumps({"messages": messages}))
    (folder.cell_dir(Cell(IDS[1], LARGE)) / "trajectory.json").write_text("[" * 100_000)
    return read_record(folder.path)


def test_a_csv_is_the_runs_own_table(record: RunRecord, tmp_path: Path) -> None:
    export_csv(record, tmp_path / "friday.csv")
    results_again(record.folder.path)
    assert (tmp_path / "friday.csv").read_bytes() == (record.folder.path / "outcomes.csv").read_bytes()
    runs = {run.name: run for run in load_outcomes([str(tmp_path / "friday.csv")]).runs}
    assert [runs[LARGE].cells[i].resolved for i in IDS] == [1, 0, 1]


def test_parquet_holds_every_cell_with_types(record: RunRecord, tmp_path: Path) -> None:
    export_parquet(record, tmp_path / "friday.parquet")
    cells = {(row["instance_id"], row["model"]): row for row in pq.read_table(tmp_path / "friday.parquet").to_pylist()}
    assert len(cells) == 9
    won = cells[IDS[0], LARGE]
    assert (won["resolved"], won["attempt"], won["cost_usd"], won["verdict"]) == (True, 1, 3.0, "resolved")
    assert (cells[MISSING]["resolved"], cells[MISSING]["failure"]) == (None, "container")


def test_an_inspect_log_is_read_by_inspect(record: RunRecord, tmp_path: Path) -> None:
    log_module = pytest.importorskip("inspect_ai.log", reason="inspect_ai is not installed: polyswe[inspect]")
    from harness.export.inspect_log import export_inspect

    export_inspect(record, tmp_path / "logs")
    log = log_module.read_eval_log(str(tmp_path / "logs" / f"{LARGE}.eval"))
    assert (log.status, log.eval.metadata["model"], log.eval.dataset.samples) == ("success", LARGE, 3)
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(2 / 3)
    samples = {sample.id: sample for sample in log.samples}
    assert [samples[i].scores["swebench"].value for i in IDS] == [1, 0, 1]
    assert samples[IDS[1]].scores["swebench"].explanation == "test timeout"
    _, user, assistant, tool = samples[IDS[0]].messages
    assert (user.role, user.text) == ("user", "It fails ?")
    assert assistant.tool_calls[0].arguments == {"command": "ls"}
    assert assistant.tool_calls[1].parse_error == "JSONDecodeError"
    assert tool.tool_call_id == "c"
    assert samples[IDS[1]].messages == [], "a trajectory that cannot be read is none"
    assert sum(usage.total_cost for usage in log.stats.model_usage.values()) == pytest.approx(9.0)
    unfinished = log_module.read_eval_log(str(tmp_path / "logs" / f"{SMALL}.eval"))
    assert (unfinished.status, unfinished.results.completed_samples) == ("cancelled", 2)
    missing = next(sample for sample in unfinished.samples if sample.id == MISSING[0])
    assert missing.scores is None or missing.scores == {}
    assert "container" in missing.error.message


@pytest.mark.slow
def test_runs_of_mlflow_are_read_by_its_client(record: RunRecord, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: polyswe[mlflow]")
    from harness.export.mlflow_runs import export_mlflow

    export_mlflow(record, tmp_path / "mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name.startswith("polyswe")]
    runs = {run.data.params["model"]: run for run in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 3
    assert runs[LARGE].info.status == "FINISHED"
    large, small = runs[LARGE].data.metrics, runs[SMALL].data.metrics
    assert (large["resolved"], large["graded"], large["cost_usd"]) == (2, 3, 9)
    assert (small["cells"], small["graded"]) == (3, 2)
    assert runs[LARGE].data.tags["polyswe.run"] == "friday"
    assert [file.path for file in client.list_artifacts(runs[LARGE].info.run_id)] == ["outcomes.csv"]


def test_an_mlflow_server_that_does_not_answer_is_named_without_its_password(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed: polyswe[mlflow]")
    from harness.export.mlflow_runs import export_mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:hunter2@127.0.0.1:9/")  # nobody listens
    with pytest.raises(EnvironmentUnavailableError, match=r"MLflow at http://127\.0\.0\.1:9") as failed:
        export_mlflow(record, None)
    assert "hunter2" not in str(failed.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(InputError, match="needs --out"):
        export_mlflow(record, None)


@pytest.mark.parametrize(("to", "package"), [("inspect", "inspect_ai"), ("mlflow", "mlflow")])
def test_a_missing_extra_is_named_with_its_command(
    record: RunRecord, tmp_path: Path, to: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    command = ["export", str(record.folder.path), "--to", to, "--out", str(tmp_path / "out")]
    failed = CliRunner().invoke(app, command)
    assert isinstance(failed.exception, EnvironmentUnavailableError)
    assert f"pip install 'polyswe[{to}]'" in str(failed.exception)


def test_what_cannot_be_exported_is_refused(record: RunRecord, tmp_path: Path) -> None:
    for command, words in (
        (["export", str(record.folder.path), "--to", "csv"], "needs --out"),
        (["export", str(tmp_path / "nothing"), "--to", "csv", "--out", str(tmp_path / "x.csv")], "no run"),
    ):
        failed = CliRunner().invoke(app, command)
        assert isinstance(failed.exception, InputError)
        assert words in str(failed.exception)
