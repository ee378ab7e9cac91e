"""Who is called a stand-in: what an entry of the pool says of itself, not the dataset it is tried on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from harness.config import find_config, load_config, with_overrides
from harness.data.instances import load_dataset
from harness.errors import ConfigError, InputError
from harness.importers import load_outcomes
from harness.run.results import results_again
from harness.run.run_record import RunRecord, read_record
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from tests.harness.conftest import MakeRun

REAL = {"api_base": "http://127.0.0.1:9/v1", "scripted": False}


@pytest.mark.parametrize(
    ("real", "scripted", "noted"),
    [
        ([], True, False),
        (["scripted-large"], False, True),
        (["scripted-small", "scripted-medium", "scripted-large"], False, False),
    ],
)
def test_a_real_model_on_the_sample_is_not_called_scripted(
    tmp_path: Path, real: list[str], scripted: bool, noted: bool
) -> None:
    changes = {f"pool.{name}.{key}": value for name in real for key, value in REAL.items()}
    config = with_overrides(load_config(find_config("sample")), changes)
    record = RunRecord(config, load_dataset(config.dataset), RunFolder(tmp_path), [], [], {})
    assert record.scripted == scripted
    notes = [note for note in record.notes if "stand-ins" in note]
    assert bool(notes) == noted
    if noted:
        assert "scripted-small, scripted-medium" in notes[0]
        assert "scripted-large" not in notes[0]


def test_settings_that_were_refused_later_do_not_make_a_run_unreadable(make_run: MakeRun) -> None:
    folder = make_run(only=["polyswe__billing-201"])
    record = folder.path / "run.yaml"
    content = yaml.safe_load(record.read_text())
    content["config"]["out"]["root"] = "$NO_SUCH/runs"
    content["config"]["pool"][0]["api_base"] = "localhost:8000/v1"
    record.write_text(yaml.safe_dump(content))
    assert len(read_record(folder.path).rows) == 3
    with pytest.raises(ConfigError, match=r"api_base must begin with http://.*NO_SUCH is not set"):
        with_overrides(read_record(folder.path).config, {})


def test_a_runs_table_of_outcomes_says_how_each_cell_ended_and_where_its_files_are(make_run) -> None:  # type: ignore[no-untyped-def]
    folder = make_run(
        only=["polyswe__billing-201", "polyswe__spanset-303"], unfinished=[("polyswe__billing-201", "scripted-large")]
    )
    results_again(folder.path)
    table = folder.path / "outcomes.csv"
    with table.open(newline="") as file:
        written = {(row["instance_id"], row["model"]): row for row in csv.DictReader(file)}
    with Store(folder.store_path, read_only=True) as store:
        rows = store.rows()
    assert len(written) == len(rows) == 6
    for row in rows:
        shown = written[row.instance_id, row.model]
        assert shown["verdict"] == (row.verdict or "")
        assert shown["failure"] == (row.failure or "")
        assert shown["exit_status"] == (row.exit_status or "")
        assert shown["prompt_tokens"] == ("" if row.prompt_tokens is None else str(row.prompt_tokens))
        assert float(shown["lost_cost_usd"]) == row.lost_cost_usd
        for column, name in (
            ("patch", "patch.diff"),
            ("trajectory", "trajectory.json"),
            ("test_output", "test_output.txt"),
        ):
            path = folder.cell_dir(row.cell) / name
            assert shown[column] == (str(path.relative_to(folder.path)) if path.exists() else "")
    runs = load_outcomes([table]).runs
    assert {run.name: sum(bool(cell.resolved) for cell in run.cells.values()) for run in runs} == {
        model: sum(row.verdict == "resolved" for row in rows if row.model == model)
        for model in {row.model for row in rows}
    }


def test_clusters_of_a_run_come_from_the_corpus_that_its_configuration_names(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    corpus = tmp_path / "corpus.jsonl"
    texts = ["Sort a list of numbers", "The server answers 500", "Parse a date", "Draw a tree", "Cache a page"]
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    changes = {"router.policy": ["cluster"], "router.corpus": str(corpus), "router.params": {"n_clusters": 5}}
    results = results_again(folder.path, part=lambda config: with_overrides(config, changes))
    assert "clusters are learned from 5 texts of corpus.jsonl" in results.notes
    corpus.write_text(
        json.dumps({"text": load_dataset(load_config(find_config("sample")).dataset).instances[0].problem_statement})
    )
    with pytest.raises(InputError, match="must not be learned from"):
        results_again(folder.path, part=lambda config: with_overrides(config, changes))
