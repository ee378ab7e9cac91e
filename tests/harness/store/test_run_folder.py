"""Two commands in one folder must not get into each other's way, whatever the folder is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.config import find_config, load_config, with_overrides
from harness.errors import ConfigError, InputError, RunLockedError
from harness.run.pipeline import run_folder
from harness.run.plan import plan
from harness.store.rows import Cell
from harness.store.run_folder import PATCH_FILE, TRAJECTORY_FILE, RunFolder, read_patch
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


def test_removing_the_lock_file_lets_no_second_process_in(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        (tmp_path / ".run.lock").unlink()
        with pytest.raises(RunLockedError), RunFolder(tmp_path / "run").locked():
            pass
        (folder.path / "note").touch()
        assert folder.archive() is not None
        (tmp_path / ".run.lock").unlink()
        with pytest.raises(RunLockedError), RunFolder(tmp_path / "run").locked():
            pass
    with RunFolder(tmp_path / "run").locked():
        pass


CELL = Cell("owner__repo-1", "model")


def with_attempt(folder: RunFolder, patch: bytes | None, trajectory: str = "") -> Path:
    cell_dir = folder.cell_dir(CELL)
    cell_dir.mkdir(parents=True)
    if patch is not None:
        (cell_dir / PATCH_FILE).write_bytes(patch)
    (cell_dir / TRAJECTORY_FILE).write_text(trajectory)
    return cell_dir / PATCH_FILE


@pytest.mark.parametrize("loss", ["gone", "empty", "another"])
def test_attempts_without_their_store_are_not_begun_anew(tmp_path: Path, loss: str) -> None:
    folder = RunFolder(tmp_path)
    folder.check_store()  # a new run
    patch = with_attempt(folder, b"diff")
    if loss == "empty":
        folder.store_path.touch()
    if loss == "another":
        Store(folder.store_path).close()
    with pytest.raises(InputError, match=r"bring back a copy of the store, or start anew with --fresh"):
        folder.check_store()
    assert patch.read_bytes() == b"diff"
    folder.store_path.unlink(missing_ok=True)
    with Store(folder.store_path) as store:
        store.plan({CELL: "key"})
    folder.check_store()


def test_a_folder_without_its_store_can_be_put_aside(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        with_attempt(folder, b"diff")
        aside = folder.archive()
    assert aside is not None
    assert (RunFolder(aside).cell_dir(CELL) / PATCH_FILE).read_bytes() == b"diff"


SUBMITTED = '{"info": {"exit_status": "Submitted", "submission": "diff --git a/x b/x"}, "messages": []}'
LIMIT = '{"info": {"exit_status": "LimitsExceeded", "submission": ""}, "messages": []}'


@pytest.mark.parametrize(
    ("patch", "trajectory", "restored"),
    [
        (b"whole", SUBMITTED, "whole"),
        (None, SUBMITTED, "diff --git a/x b/x"),
        (b"\xff\xfe", SUBMITTED, "diff --git a/x b/x"),
        (None, LIMIT, ""),
        (None, SUBMITTED[:40], None),
        (None, "[]", None),
    ],
)
def test_a_lost_patch_comes_back_from_the_trajectory(
    tmp_path: Path, patch: bytes | None, trajectory: str, restored: str | None
) -> None:
    folder = RunFolder(tmp_path)
    path = with_attempt(folder, patch, trajectory)
    assert folder.restore_patch(CELL) == (restored is not None)
    if restored is None:
        with pytest.raises(InputError, match=PATCH_FILE.replace(".", r"\.")):
            read_patch(folder, CELL)
        return
    assert read_patch(folder, CELL) == restored
    if patch == b"\xff\xfe":
        assert path.with_name("patch.diff.damaged").read_bytes() == patch, "nothing is overwritten"


@pytest.mark.parametrize(
    "content", [b"config: {dataset: [", b"\xff\xfe\x00", b"", b"config: 3\n", b"config: &a [*a]\n"]
)
def test_a_damaged_manifest_is_named_on_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.yaml") as refusal:
        RunFolder(tmp_path).read_manifest()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["../../victim", "/etc/passwd", "a/b", "..", "", "modèle: très", "-rf", ".hidden"])
def test_a_name_from_outside_stays_in_the_run_folder(tmp_path: Path, name: str) -> None:
    folder = RunFolder(tmp_path / "run")
    place = folder.cell_dir(Cell(name, name)).resolve()
    assert place.parent.parent == (folder.path / "instances").resolve()
    assert not place.name.startswith(("-", "."))
