"""Two commands in one folder must not get into each other's way, whatever the folder is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.config import find_config, load_config, with_overrides
from harness.errors import ConfigError, RunLockedError
from harness.run.pipeline import run_folder
from harness.run.plan import plan
from harness.store.run_folder import RunFolder
from harness.store.store import Store


def test_a_folder_at_work_cannot_be_put_aside(tmp_path: Path) -> None:
    """Taking the folder from under a running process would mix two runs."""
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        Store(folder.store_path).close()
        assert folder.archive() is not None
        with pytest.raises(RunLockedError), RunFolder(tmp_path / "run").locked():
            pass


def test_putting_aside_keeps_everything(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        Store(folder.store_path).close()
        (folder.path / "outcomes.csv").write_text("kept")
        aside = folder.archive()
    assert aside is not None
    assert (aside / "outcomes.csv").read_text() == "kept"
    assert list(folder.path.iterdir()) == []


@pytest.mark.parametrize("name", ["my config.yaml", "läufe.yaml", "a(b).yaml", "UPPER.yaml"])
def test_any_file_name_makes_names_that_the_engine_takes(tmp_path: Path, name: str) -> None:
    folder = run_folder(load_config(find_config("sample")), tmp_path / name)
    assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]+", folder.label)


@pytest.mark.parametrize("run_id", ["../up", "a b", "", "x" * 65])
def test_a_run_id_that_is_no_plain_name_is_refused(run_id: str) -> None:
    with pytest.raises(ConfigError, match="run_id"):
        with_overrides(load_config(find_config("sample")), {"out.run_id": run_id})


def test_patience_with_providers_is_no_other_setting_but_a_limit_is() -> None:
    """A run may go on with more patience; it may not mix outcomes obtained under other limits."""
    from harness.data.instances import load_dataset

    config = load_config(find_config("sample"))
    dataset = load_dataset(config.dataset)

    def keys(**agent: object) -> dict[object, str]:
        return plan(config.model_copy(update={"agent": config.agent.model_copy(update=agent)}), dataset)

    patient = config.agent.retry.model_copy(update={"max_seconds": 5000})
    assert keys(retry=patient, start_timeout=1200.0) == keys()
    assert keys(step_limit=3) != keys()
