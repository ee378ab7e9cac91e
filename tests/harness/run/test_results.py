"""Who is called a stand-in: what an entry of the pool says of itself, not the dataset it is tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config import find_config, load_config, with_overrides
from harness.data.instances import load_dataset
from harness.run.results import RunRecord
from harness.store.run_folder import RunFolder

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
