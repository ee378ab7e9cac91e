"""Folders of finished attempts come in with their signals; a damaged or hostile file is one clear line."""

from __future__ import annotations

import gzip
import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import InputError
from harness.importers import finished, finished_files, load_outcomes, outcome_matrix
from harness.importers.finished import read_finished
from tests.harness.finished_folder import as_csv, write_finished, write_packed

RESOLVED = np.array([[1, 0, 1], [0, 0, 1]], dtype=np.float64)
FIXED = np.array([[[1, 0, 1], [0, 1, 0]], [[1, 1, 0], [0, 0, 0]]], dtype=np.float64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    broken = {0: {"alpha": ["t1", "t2", "t3"], "beta": [], "gold": ["t1"]}}
    return write_finished(tmp_path / "finished", RESOLVED, FIXED, missing=[(1, 0)], broken=broken)


def test_attempts_come_in_with_the_signals_that_policies_read(folder: Path) -> None:
    loaded = load_outcomes([folder])
    matrix, _ = outcome_matrix(loaded.runs, None, ["repo0__0", "repo1__1"])
    assert matrix.models == ("alpha", "beta", "gamma")
    assert matrix.resolved.tolist() == RESOLVED.tolist()
    assert np.isnan(matrix.cost).all()
    assert any("costs of these attempts are unknown" in note for note in loaded.notes)
    assert matrix.signals["tests_fixed"].tolist() == [[2, 1, 1], [0, 1, 0]]
    assert matrix.signals["patch_present"].tolist() == [[1, 1, 1], [0, 1, 1]]
    broken = matrix.signals["existing_broken"]
    assert broken[0, :2].tolist() == [3, 0]
    assert np.isnan(broken[0, 2])
    assert np.isnan(broken[1]).all()
    # of repo0__0, alpha and gamma are both resolved and hence alike; a missing patch is like nothing
    assert matrix.signals["patch_similarity@gamma"][0, :2].tolist() == [1, 0]
    assert math.isnan(matrix.signals["patch_agrees@alpha"][1, 1])
    assert math.isnan(matrix.signals["patch_agrees@alpha"][0, 0])


def test_a_test_that_passes_unpatched_shows_nothing(folder: Path) -> None:
    rows = [
        {"generator": "w", "instance_id": "repo0__0", "test": "t", "unpatched": unpatched, "alpha": 1, "beta": 0}
        for unpatched in (1, 0)
    ]
    write_packed(folder / "sbv_generated_tests.csv.gz", as_csv(rows))
    tests = read_finished(folder).tests
    assert tests is not None
    fixed = tests.fixed(2)
    assert fixed[0, :2].tolist() == [1, 0]
    assert np.isnan(fixed[:, 2]).all()  # gamma's patches were not run


def test_repeated_runs_of_a_model_are_one_run(folder: Path) -> None:
    attempts = [
        {"model": f"same_run{run}", "instance_id": "repo0__0", "patch": "x", "resolved": run % 2} for run in (2, 1, 3)
    ]
    write_packed(folder / "rep_patches.jsonl.gz", "".join(json.dumps(attempt) + "\n" for attempt in attempts))
    run = next(run for run in load_outcomes([folder]).runs if run.name == "same")
    assert [cells["repo0__0"].resolved for cells in (run.cells, *run.repeats)] == [True, False, True]


def test_an_ensemble_says_so(folder: Path) -> None:
    write_packed(folder / "sbv_features.csv.gz", as_csv([{"model": "beta", "kind": "ENSEMBLE of 4"}]))
    beta = load_outcomes([folder]).runs[1]
    assert beta.notes == ("beta is no single attempt: ENSEMBLE of 4",)


PACKED = ("sbv_patches.jsonl.gz", "sbv_features.csv.gz", "sbv_generated_tests.csv.gz")


@pytest.mark.parametrize("name", [*PACKED, "sbv_pairs.npz", "django_existing_tests.jsonl"])
@pytest.mark.parametrize("damage", ["cut", "noise", "text"])
def test_a_damaged_file_is_one_line_that_names_it(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "noise": b"\xff\x00" * 99, "text": b"hello\n"}[damage])
    with pytest.raises(InputError) as caught:
        load_outcomes([folder])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def attempt(**changed: object) -> str:
    return json.dumps({"model": "alpha", "instance_id": "repo0__0", "patch": "x", "resolved": "1"} | changed) + "\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (attempt(resolved="yes"), "resolved is 'yes'"),
        (attempt(resolved=[1]), "resolved is"),
        (attempt(patch={"a": 1}), "patch is no text"),
        (attempt(model=""), "no name"),
        (attempt(model="a\nb"), "no name"),
        (attempt(model="m" * 1000), "no name"),
        (attempt(instance_id=7), "no name"),
        (attempt() + attempt(), "line 2: a second attempt"),
        ("[" * 100_000 + "\n", "not valid JSON"),
        ('{"model": ' + "9" * 5000 + "}\n", "not valid JSON"),
        ("[]\n", "no object"),
        ('{"model": "alpha"}\n', "no instance_id, patch, resolved"),
        ("", "no attempts"),
        ("".join(attempt(model=f"m{k}") for k in range(51)), "51 models"),
    ],
)
def test_hostile_attempts_are_refused(folder: Path, text: str, complaint: str) -> None:
    write_packed(folder / "sbv_patches.jsonl.gz", text)
    with pytest.raises(InputError, match=complaint):
        load_outcomes([folder])


def test_a_file_that_unpacks_without_end_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_files.read_packed, "__defaults__", (1_000_000,))
    (folder / "sbv_patches.jsonl.gz").write_bytes(gzip.compress(b"\n" * 50_000_000))
    with pytest.raises(InputError, match="larger than 1000000 bytes"):
        load_outcomes([folder])


def test_more_attempts_or_tests_than_anybody_makes_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished, "MOST_TESTS", 3)
    with pytest.raises(InputError, match="more than 3 tests"):
        load_outcomes([folder])
    monkeypatch.setattr(finished, "MOST_ATTEMPTS", 5)
    with pytest.raises(InputError, match="more than 5 attempts"):
        load_outcomes([folder])


def npz(path: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def array(values: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    data = io.BytesIO()
    np.save(data, values, allow_pickle=allow_pickle)
    return data.getvalue()


@pytest.mark.parametrize(
    ("member", "data", "complaint"),
    [
        ("sim", array(np.array([print], dtype=object), allow_pickle=True), "not what its header says"),
        ("sim", array(np.ones((2, 3, 3, 2)))[:-8], "not what its header says"),
        ("sim", array(np.ones(3)).replace(b"(3,)", b"(9999999999999,)"), "not a whole|not what its header says"),
        ("sim", array(np.ones((2, 3, 3, 3))), "expected numbers"),
        ("sim", array(np.full((2, 3, 3, 2), np.nan)), "not from 0 to 1"),
        ("models", array(np.array(["alpha", "beta", "other"])), "not of the models"),
        ("features", array(np.array(["seq", "ident"])), "no feature 'seq' or 'eq'"),
    ],
)
def test_hostile_arrays_are_refused(folder: Path, member: str, data: bytes, complaint: str) -> None:
    npz(folder / "sbv_pairs.npz", lambda members: members.update({f"{member}.npy": data}))
    with pytest.raises(InputError, match=complaint):
        load_outcomes([folder])


def test_tests_and_existing_tests_must_belong_to_the_attempts(folder: Path) -> None:
    (folder / "django_existing_tests.jsonl").write_text('{"instance_id": "other__1", "res": {}}\n')
    with pytest.raises(InputError, match="not in sbv_patches"):
        load_outcomes([folder])
    (folder / "django_existing_tests.jsonl").write_text('{"instance_id": "repo0__0", "res": {"alpha": {"new": 3}}}\n')
    with pytest.raises(InputError, match="no list 'new'"):
        load_outcomes([folder])
    row = {"generator": "w", "instance_id": "other__1", "unpatched": 0, "alpha": 1}
    write_packed(folder / "sbv_generated_tests.csv.gz", as_csv([row]))
    with pytest.raises(InputError, match="no attempt at 'other__1'"):
        load_outcomes([folder])


def test_the_published_folder(shared_data: Path) -> None:
    source = shared_data / "finished"
    if not source.is_dir():
        pytest.skip(f"{source} is not there")
    found = read_finished(source)
    assert found.resolved.shape == (500, 13)
    assert found.tests is not None
    assert len(found.tests.row) == 4587
    assert len(found.tests.writers) == 3
    assert int(np.nansum(found.resolved[:, found.models.index("LiveSWE-Gem3")])) == 387
    assert found.existing is not None
    assert len(found.existing.row) == 32
